// A conversation as the fold of its channel's events. The same events give the same turns, live or after a reload.

import { Screen } from "./screen.js";
import { describeUpdate } from "./agent.js";

/** Output text kept over all turns of a conversation; past it the oldest turns keep their line and lose their output. */
export const CONVERSATION_CHARS = 96 * 1024 * 1024;

export class Conversation {
  constructor(task) {
    this.task = task;
    this.turns = new Map(); // turn id -> turn, in the order they were first heard of
    this.truncated = false; // something before the first event shown is gone
    this.missing = 0; // events that could not be had, in a hole
    this.events = 0;
    this.loaded = false; // the channel has answered: an empty conversation is empty
  }

  /** Folds one event. Answers what it changed: {turn, kind} with kind `turn`, `output`, `history` or `none`. */
  apply(event) {
    this.events += 1;
    if (event === null || typeof event !== "object") return none;
    if (event.type === "truncated") return this.cut(event);
    if (typeof event.turn !== "string" && typeof event.turn !== "number") return none;
    const turn = this.turn(String(event.turn));
    const fold = FOLDS[event.type];
    return fold ? { turn, kind: fold(turn, event) } : none;
  }

  turn(id) {
    if (!this.turns.has(id)) {
      this.turns.set(id, { id, text: null, state: "unknown", stopReason: null, exitCode: null, message: null, screen: new Screen(), stderr: false, cut: false, startedAt: null, sealedAt: null });
    }
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

  /** Lets go of the oldest ended turns' output beyond the bound; answers the turns changed. */
  limit(maxChars = CONVERSATION_CHARS) {
    let chars = 0;
    for (const turn of this.turns.values()) chars += turn.screen.chars;
    const changed = [];
    for (const turn of this.turns.values()) {
      if (chars <= maxChars) break;
      if (turn.state !== "sealed" || turn.screen.chars === 0) continue;
      chars -= turn.screen.chars;
      turn.screen = new Screen();
      changed.push(turn);
    }
    return changed;
  }
}

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
  "turn.update": (turn, { update }) => {
    const began = seenRunning(turn);
    describeUpdate(turn.screen, update);
    return began ? "turn" : "output";
  },
  "turn.skip": () => "none",
  "turn.dequeued": (turn) => seal(turn, "dequeued", null, null, null),
  "turn.sealed": (turn, event) => seal(turn, event.stop_reason ?? "end_turn", event.exit_code, event.message ?? event.reason, event.at),
};

/** Output of a turn whose start is no longer kept shows that it runs. */
function seenRunning(turn) {
  if (turn.state !== "unknown") return false;
  turn.state = "running";
  turn.cut = true;
  return true;
}

function seal(turn, stopReason, exitCode, message, at) {
  turn.neverRan = turn.state === "queued";
  turn.state = "sealed";
  turn.sealedAt = at ?? null;
  turn.stopReason = String(stopReason);
  turn.exitCode = Number.isInteger(exitCode) ? exitCode : null;
  turn.message = typeof message === "string" ? message : null;
  return "turn";
}
