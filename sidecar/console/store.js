// What the page knows of the node, its tasks and its own connection, as folds of what came in. No clock, no page.

import { readModes } from "./modes.js";
import { restarts } from "./update.js";

/** Transitions of the node that the page remembers for its list. */
export const TRANSITIONS_MAX = 30;

/** Answers of `task.list` read in one go; a thousand tasks each. */
export const LIST_PAGES_MAX = 10;

/** Down for longer than this, with the public status silent too, is offline. */
export const OFFLINE_AFTER_MS = 10_000;

// Tasks: the list is asked for, events are merged into it by task.

export class Tasks {
  constructor() {
    this.byName = new Map();
    this.known = false; // a list has been received
    this.since = null; // events that came while a list was being asked for
  }

  asking() {
    this.since = [];
  }

  /** The tasks of all answers of `task.list`, and behind them the events that came meanwhile. */
  listed(tasks) {
    const old = this.byName;
    this.byName = new Map();
    for (const task of tasks) {
      const { modes, ...fields } = task;
      this.byName.set(task.task, { ...old.get(task.task), permissions: 0, ...fields, ...(modes === undefined ? {} : { modes: readModes(modes) }) });
    }
    this.known = true;
    const events = this.since ?? [];
    this.since = null;
    for (const event of events) this.apply(event);
  }

  apply(event) {
    if (event === null || typeof event !== "object" || typeof event.task !== "string") return;
    this.since?.push(event);
    if (event.type === "task.removed" || event.state === "missing") this.byName.delete(event.task);
    else {
      const { type, session, code, message, ...fields } = event;
      const before = this.byName.get(event.task);
      const read = Object.hasOwn(READS, type) ? READS[type](event) : {};
      // A channel begins with its last events again: those say nothing new of what the list already told.
      const told = event.at < (before?.updated_at ?? -Infinity);
      if (told && before.modes) delete read.modes;
      this.byName.set(event.task, { ...before, ...(told ? {} : fields), ...read });
    }
  }

  /** The mode of an agent's session that is on now, by whoever changed it. */
  mode(name, current) {
    const task = this.byName.get(name);
    if (task?.modes) this.byName.set(name, { ...task, modes: { ...task.modes, current } });
  }

  get(name) {
    return this.byName.get(name) ?? null;
  }

  /** Prompts that wait in a task: the list names them, events count them. */
  static waiting({ queued }) {
    return Array.isArray(queued) ? queued.length : Number(queued) || 0;
  }

  /** Whether its agent waits for a person's answer. */
  static asks({ permissions }) {
    return Number(permissions) > 0;
  }

  sorted() {
    return [...this.byName.values()].sort((one, other) => one.task.localeCompare(other.task, undefined, { numeric: true }));
  }
}

/** What an event says beside the fields that it shares with the list. */
const READS = {
  "task.ready": ({ session }) => ({ trouble: null, ...(session?.modes === undefined ? {} : { modes: readModes(session.modes) }) }),
  "task.error": ({ code, message }) => ({ trouble: { name: String(code ?? ""), message: String(message ?? "") } }),
  "task.opened": () => ({ trouble: null }),
  "turn.started": () => ({ trouble: null }),
};

// The node.

export class NodeState {
  constructor() {
    this.state = null;
    this.active = null;
    this.update = null;
    this.mode = null; // how the update will switch
    this.due = null; // when the update's state ends by this page's clock
    this.transitions = []; // {state, slot, epoch, at}, newest last
  }

  /** An event of channel `node`; `at` is when it came, for the list of transitions. Answers whether the state changed. */
  apply(event, at) {
    if (event === null || typeof event !== "object") return false;
    const before = this.state;
    if (typeof event.state === "string") this.state = event.state;
    if (event.active !== undefined) this.active = event.active;
    if (event.update !== undefined) this.updated(event.update, at);
    if (event.transition_mode !== undefined) this.mode = event.transition_mode;
    const changed = this.state !== before;
    if (changed) {
      this.transitions.push({ state: this.state, slot: this.active?.slot, epoch: this.active?.epoch, at: event.at ?? at });
      this.transitions.splice(0, this.transitions.length - TRANSITIONS_MAX);
    }
    return changed;
  }

  /** The public status says less, but is there when the socket is not. `at` is when it came. */
  applyPublic(status, at) {
    if (status === null || typeof status !== "object") return;
    if (status.update) this.updated({ ...this.update, ...status.update }, at);
    if (status.transition_mode !== undefined) this.mode = status.transition_mode;
    if (typeof status.runtime?.state === "string") this.publicState = status.runtime.state;
  }

  /** The seconds left are the node's, so that its clock and this one need not agree; an event's own are of its time. */
  updated(update, at) {
    const changed = this.update?.state_until !== update?.state_until;
    this.update = update;
    const left = update?.state_left_sec;
    if (Number.isFinite(left)) this.due = at + left * 1000;
    else if (changed) this.due = Number.isFinite(update?.state_until) ? update.state_until : null;
  }
}

// The connection, as people need it told.

/**
 * One word for the top of the page, from facts: the session's phase, since when the socket is down (null = up), the
 * time, whether the public status answered last, and the node's own state. The node's transitions are never "offline":
 * offline is a socket that is down for a while and a public status that does not answer either.
 */
export function connectionLabel({ phase, downSince, now, publicAnswers, everConnected, nodeState, update = null }) {
  if (phase === "ended") return "signed-out";
  if (phase === "connected") return NODE_LABELS.has(nodeState) ? nodeState : "connected";
  if (restarts(update, downSince, now)) return "restarting";
  if (downSince !== null && now - downSince >= OFFLINE_AFTER_MS && publicAnswers === false) return "offline";
  return everConnected ? "reconnecting" : "connecting";
}

const NODE_LABELS = new Set(["starting", "running", "switching", "settling", "degraded", "stopping"]);
