// A permission that an agent asks for: what for, what may be chosen, and what was chosen by whom.

import { mergeTool, newTool, toolTitle } from "./tool.js";
import { visible } from "./visible.js";

/** Buttons of one card. */
export const OPTIONS_MAX = 20;

/** The tool call that a request is about. */
export const toolOf = (event) => String(event.tool_call?.toolCallId ?? "");

/** A `permission.requested` as a step. The request may say of its call only what is new; `known` is what was said before. */
export function newPermission(request, event, known = null) {
  const tool = { ...newTool(toolOf(event)), ...known, kind: "tool" };
  if (event.tool_call !== null && typeof event.tool_call === "object") mergeTool(tool, event.tool_call, true);
  return { kind: "permission", request, tool, options: optionsOf(event.options), answer: null, asking: null, lost: false };
}

function optionsOf(options) {
  if (!Array.isArray(options)) return [];
  const named = options.filter((option) => typeof option?.optionId === "string").slice(0, OPTIONS_MAX);
  return named.map(({ optionId, name, kind }) => ({ id: optionId, name: visible(typeof name === "string" && name !== "" ? name : optionId), kind: String(kind ?? "") }));
}

/** A `permission.answered` as what a card keeps. */
export function answerOf(event) {
  return { outcome: event.outcome === "selected" ? "selected" : "cancelled", option: event.option_id ?? null, by: typeof event.by === "string" ? event.by : null };
}

/** Whether an option allows, by its kind; null where that is not said. */
export const allows = ({ kind }) => (kind.startsWith("allow") ? true : kind.startsWith("reject") ? false : null);

/** What an answered card says: {text, tone}; null while it waits. `ended`: its turn is over. */
export function answerText(step, ended) {
  const { answer, lost, options } = step;
  if (answer === null) return ended ? { text: "Not answered: the turn ended before.", tone: "quiet" } : null;
  const chosen = options.find(({ id }) => id === answer.option);
  const by = answer.by === null ? "" : ` by ${answer.by}`;
  const first = lost ? "Somebody else answered first. " : "";
  if (answer.outcome === "cancelled") return { text: `${first}Cancelled${by}: nothing was chosen.`, tone: "warn" };
  const word = { true: "Allowed", false: "Rejected", null: "Answered" }[chosen ? allows(chosen) : null];
  return { text: `${first}${word}${by}: ${chosen?.name ?? answer.option ?? "?"}`, tone: word === "Rejected" ? "warn" : "good" };
}

export const permissionTitle = (step) => toolTitle(step.tool);
