// The page's client: a session on a transport, commands as promises, command ids, and the public status.

import { Session } from "./session.js";
import { Transport } from "./transport.js";
import { uuidv7 } from "./uuid.js";

/** How long the public status may take before it counts as silent. */
const STATUS_WITHIN_MS = 3_000;

export class Client {
  /** `handlers` as for Transport: connected, lost, ended, subscribed, publication, gap, restarted, refused. */
  constructor(token, handlers) {
    this.waiting = new Map(); // key -> {resolve, held}
    this.nextKey = 1;
    this.session = new Session({ token, isMarker: (data) => data?.type === "truncated" });
    this.transport = new Transport(socketUrl(), this.session, {
      ...handlers,
      answer: ({ key, error, data }) => this.answered(key, { error: error ?? null, data: data ?? null }),
      held: ({ key }) => this.waiting.get(key)?.held(),
    });
  }

  start() {
    this.transport.start();
  }

  stop() {
    this.transport.stop();
    for (const { resolve } of this.waiting.values()) resolve({ error: { code: 0, name: null, message: "signed out", temporary: false }, data: null });
    this.waiting.clear();
  }

  get phase() {
    return this.session.phase;
  }

  /** A read: {error, data}. */
  read(method, data) {
    return this.call(method, data, () => {});
  }

  /** A command that changes something: done once, however often it is sent. `held` is called if it has to wait. */
  write(method, data, held = () => {}) {
    const id = uuidv7(Date.now(), crypto.getRandomValues(new Uint8Array(10)));
    return this.call(method, { ...data, command_id: id }, held);
  }

  call(method, data, held) {
    const key = this.nextKey++;
    return new Promise((resolve) => {
      this.waiting.set(key, { resolve, held });
      this.transport.call(key, method, data);
    });
  }

  answered(key, outcome) {
    const waiting = this.waiting.get(key);
    this.waiting.delete(key);
    waiting?.resolve(outcome);
  }
}

/** `ws` beside this page, whatever path it is served under. */
function socketUrl() {
  const url = new URL("ws", location.origin + location.pathname.replace(/[^/]*$/, ""));
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** What the node tells anybody, or null when it does not answer. */
export async function publicStatus() {
  try {
    const reply = await fetch("supervisor/public/update-status", { cache: "no-store", signal: AbortSignal.timeout(STATUS_WITHIN_MS) });
    return reply.ok ? await reply.json() : null;
  } catch {
    return null;
  }
}
