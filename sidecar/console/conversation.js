// A conversation as the fold of its channel's events. The same events give the same turns, live or after a reload.

import { foldUpdate, newAgent } from "./agent.js";
import { answerOf, newPermission, toolOf } from "./permission.js";
import { Screen } from "./screen.js";
import { Steps } from "./steps.js";
import { mergeUsage, readUsage } from "./usage.js";

/** Text kept over all turns of a conversation; past it the oldest turns keep their line and lose their output. */
export const CONVERSATION_CHARS = 96 * 1024 * 1024;

export class Conversation {
  constructor(task) {
    this.task = task;
    this.turns = new Map(); // turn id -> turn, in the order they were first heard of
    this.agent = newAgent();
    this.truncated = false; // something before the first event shown is gone
    this.missing = 0; // events that could not be had, in a hole
    this.events = 0;
    this.offset = 0; // of the last event folded
    this.loaded = false; // the channel has answered: an empty conversation is empty
  }

  /**
   * Folds one event, each offset once. Answers what it changed: {turn, kind} with kind `turn`, `output`, `history` or
   * `none`.
   */
  apply(event, offset) {
    if (offset !== undefined) {
      if (offset <= this.offset) return none;
      this.offset = offset;
    }
    this.events += 1;
    if (event === null || typeof event !== "object") return none;
    if (event.type === "truncated") return this.cut(event);
    if (typeof event.turn !== "string" && typeof event.turn !== "number") return none;
    // A prompt that was taken back and had been queued before what the page has: it is not what ends here.
    const takenBack = event.type === "turn.sealed" && !this.turns.has(String(event.turn)) && this.running() !== null;
    const turn = this.turn(String(event.turn));
    if (takenBack) turn.state = "queued";
    return Object.hasOwn(FOLDS, event.type) ? { turn, kind: FOLDS[event.type](turn, event, this.agent) } : none;
  }

  /** Puts what was before its own first event in front of it. */
  prepend(older) {
    for (const [id, turn] of this.turns) {
      const before = older.turns.get(id);
      if (before && turn.text === null) turn.text = before.text;
      older.turns.delete(id);
    }
    this.turns = new Map([...older.turns, ...this.turns]);
    this.events += older.events;
    this.missing += older.missing;
    this.truncated ||= older.truncated;
    const { agent } = this;
    if (agent.commands.length === 0) agent.commands = older.agent.commands;
    agent.usage ??= older.agent.usage;
    agent.title ??= older.agent.title;
  }

  turn(id) {
    if (!this.turns.has(id)) this.turns.set(id, newTurn(id));
    return this.turns.get(id);
  }

  /** The node no longer has a range of events: older turns, or a part of the turn it names. */
  cut(event) {
    const turn = this.turns.get(String(event.turn)) ?? null;
    if (turn === null) this.truncated = true;
    else turn.cut = true;
    return { turn, kind: "turn" };
  }

  /** Events `from`..`to` will never come. */
  hole(from, to) {
    if (this.events === 0) this.truncated = true;
    else this.missing += to - from + 1;
  }

  running() {
    let found = null;
    for (const turn of this.turns.values()) if (turn.state === "running") found = turn;
    return found;
  }

  queued() {
    return [...this.turns.values()].filter((turn) => turn.state === "queued");
  }

  /** Turns that are shown: all but those that only wait. */
  shown() {
    return [...this.turns.values()].filter((turn) => turn.state !== "queued");
  }

  /** Permissions that wait for a person, in the running turn. */
  pending() {
    return this.running()?.steps.pending() ?? [];
  }

  /** Whether the page let go of output that the node still has. */
  lossy() {
    return [...this.turns.values()].some((turn) => turn.lost || turn.screen.dropped > 0 || turn.steps.dropped > 0);
  }

  /** Whether the page let go of the output of a turn: it would of what came before it, too. */
  full() {
    return [...this.turns.values()].some((turn) => turn.lost);
  }

  /** Lets go of the oldest ended turns' output beyond the bound; answers the turns changed. */
  limit(maxChars = CONVERSATION_CHARS) {
    let chars = 0;
    for (const turn of this.turns.values()) chars += weight(turn);
    const changed = [];
    for (const turn of this.turns.values()) {
      if (chars <= maxChars) break;
      if (turn.state !== "sealed" || weight(turn) === 0) continue;
      chars -= weight(turn);
      turn.screen = new Screen();
      turn.steps = new Steps();
      turn.lost = true;
      changed.push(turn);
    }
    return changed;
  }
}

const weight = ({ screen, steps }) => screen.chars + steps.chars;

const newTurn = (id) => ({
  id, text: null, state: "unknown", stopReason: null, exitCode: null, message: null, code: null, usage: null, screen: new Screen(),
  steps: new Steps(), stderr: false, cut: false, lost: false, startedAt: null, sealedAt: null,
});

const none = Object.freeze({ turn: null, kind: "none" });

const FOLDS = {
  "turn.queued": (turn, { text }) => {
    if (turn.state === "unknown") turn.state = "queued";
    turn.text = text ?? turn.text;
    return "turn";
  },
  "turn.started": (turn, { text, at }) => {
    turn.state = "running";
    turn.startedAt = at ?? null;
    turn.text = text ?? turn.text;
    return "turn";
  },
  "turn.output": (turn, { stream, text }) => {
    const began = seenRunning(turn);
    const name = stream === "stderr" ? "stderr" : "stdout";
    const first = name === "stderr" && !turn.stderr;
    turn.stderr ||= first;
    if (typeof text === "string" && text !== "") turn.screen.feed(name, text);
    return began || first ? "turn" : "output";
  },
  "turn.update": (turn, event, agent) => {
    const { update } = event;
    const began = seenRunning(turn);
    const [steps, usage] = [turn.steps.list.length, agent.usage];
    foldUpdate(turn.steps, agent, update);
    if (agent.usage !== usage) turn.usage = mergeUsage(turn.usage, readUsage(update));
    noteTooLong(turn, event);
    return began || (steps === 0 && turn.steps.list.length > 0) ? "turn" : "output";
  },
  "permission.requested": (turn, event) => {
    const began = seenRunning(turn);
    const request = String(event.request);
    if (turn.steps.permissions.has(request)) return "none";
    const known = turn.steps.tools.get(toolOf(event)) ?? null;
    turn.steps.permissions.set(request, turn.steps.add(newPermission(request, event, known)));
    return began ? "turn" : "output";
  },
  "permission.answered": (turn, event) => {
    const step = turn.steps.permissions.get(String(event.request));
    if (!step) return "none";
    step.answer = answerOf(event);
    step.asking = null;
    turn.steps.touch(step);
    return "output";
  },
  "turn.skip": (turn, event) => {
    if (event.reason !== "too_long") return "none";
    const began = seenRunning(turn) || turn.steps.list.length === 0;
    noteTooLong(turn, event);
    return began ? "turn" : "output";
  },
  "session.lost": (turn) => {
    seenRunning(turn);
    turn.steps.note("lost", "The agent has begun anew. It does not know what was said before.");
    return "turn";
  },
  "turn.dequeued": (turn) => seal(turn, { stop_reason: "dequeued" }),
  "turn.sealed": (turn, event, agent) => {
    agent.usage = mergeUsage(agent.usage, readUsage(event.usage));
    return seal(turn, event);
  },
};

/** What the node did not pass on, since it is too long: a message, or all of one but what is short. */
function noteTooLong(turn, { type, reason, bytes }) {
  if (reason !== "too_long") return;
  const what = type === "turn.update" ? "The rest of a message" : "A message";
  turn.steps.note("long", `${what}${Number.isFinite(bytes) ? ` of ${bytes.toLocaleString("en")} bytes` : ""} is not shown: it is too long`);
}

/** Output of a turn whose start is no longer kept shows that it runs. */
function seenRunning(turn) {
  if (turn.state !== "unknown") return false;
  turn.state = "running";
  turn.cut = true;
  return true;
}

function seal(turn, { stop_reason: stopReason = "end_turn", exit_code: exitCode, detail, message, reason, code, usage, at }) {
  turn.neverRan = turn.state === "queued";
  turn.state = "sealed";
  turn.sealedAt = at ?? null;
  turn.stopReason = String(stopReason);
  turn.exitCode = Number.isInteger(exitCode) ? exitCode : null;
  turn.message = [detail, message, reason].find((text) => typeof text === "string" && text !== "") ?? null;
  turn.code = typeof code === "string" && code !== "" ? code : null;
  turn.usage = mergeUsage(turn.usage, readUsage(usage));
  for (const step of turn.steps.list) if (isOpen(step)) turn.steps.touch(step);
  return "turn";
}

/** What is shown otherwise once its turn is over. */
const isOpen = (step) => step.kind === "text" || (step.kind === "permission" && step.answer === null) || (step.kind === "tool" && (step.status === "pending" || step.status === "in_progress"));
