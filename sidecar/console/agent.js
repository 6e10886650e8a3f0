// Session updates of an agent (ACP) folded into a turn's steps, and into what the conversation knows of its agent.

import { contentText, mergeTool, newTool } from "./tool.js";
import { mergeUsage, readUsage } from "./usage.js";

/** Entries of a plan, and commands an agent offers. */
export const PLAN_MAX = 200;
export const COMMANDS_MAX = 200;

/** What a conversation knows of its agent beside its turns. */
export const newAgent = () => ({ commands: [], mode: null, modes: 0, usage: null, title: null });

/** Folds one `session/update` into `steps` and `agent`. Kinds to come are one grey line each. */
export function foldUpdate(steps, agent, update) {
  if (update === null || typeof update !== "object") return;
  const kind = update.sessionUpdate;
  if (Object.hasOwn(UPDATES, kind)) UPDATES[kind](steps, update, agent);
  else steps.note("unknown", typeof kind === "string" && kind !== "" ? kind.slice(0, 100) : "(no kind)");
}

const says = (voice) => (steps, { content, messageId }) => steps.say(voice, contentText(content), typeof messageId === "string" ? messageId : null);

const UPDATES = {
  agent_message_chunk: says("message"),
  agent_thought_chunk: says("thought"),
  user_message_chunk: says("user"),
  tool_call: (steps, update) => report(steps, update, true),
  tool_call_update: (steps, update) => report(steps, update, false),
  plan: (steps, { entries }) => plan(steps, entries),
  available_commands_update: (_steps, { availableCommands }, agent) => {
    agent.commands = commandsOf(availableCommands);
  },
  current_mode_update: (steps, { currentModeId }, agent) => {
    if (typeof currentModeId !== "string") return;
    agent.mode = currentModeId;
    agent.modes += 1;
    steps.note("mode", currentModeId);
  },
  usage_update: (_steps, update, agent) => {
    agent.usage = mergeUsage(agent.usage, readUsage(update));
  },
  session_info_update: (_steps, { title }, agent) => {
    if (typeof title === "string" || title === null) agent.title = title;
  },
};

function report(steps, update, begins) {
  const id = String(update.toolCallId ?? "");
  let tool = steps.tools.get(id);
  if (!tool) {
    tool = newTool(id);
    mergeTool(tool, update, begins);
    steps.tools.set(id, steps.add(tool));
  } else {
    mergeTool(tool, update, begins);
    steps.touch(tool);
  }
}

/** A plan comes whole each time and takes the place of the one before. */
function plan(steps, entries) {
  const list = (Array.isArray(entries) ? entries : []).slice(0, PLAN_MAX).map((entry) => ({
    text: String(entry?.content ?? ""), status: String(entry?.status ?? "pending"), priority: String(entry?.priority ?? ""),
  }));
  if (steps.plan) {
    steps.plan.entries = list;
    steps.touch(steps.plan);
  } else {
    steps.plan = steps.add({ kind: "plan", entries: list });
  }
}

function commandsOf(commands) {
  const named = (Array.isArray(commands) ? commands : []).filter((command) => typeof command?.name === "string");
  return named.slice(0, COMMANDS_MAX).map(({ name, description, input }) => ({
    name: name.replace(/^\//, ""), description: String(description ?? ""), hint: typeof input?.hint === "string" ? input.hint : null,
  }));
}

/** How far a plan is: {done, all, current}. */
export function planProgress({ entries }) {
  const done = entries.filter(({ status }) => status === "completed").length;
  const current = entries.find(({ status }) => status === "in_progress") ?? entries.find(({ status }) => status !== "completed");
  return { done, all: entries.length, current: current?.text ?? null };
}
