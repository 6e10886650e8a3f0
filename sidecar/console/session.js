// One browser session as a machine without I/O: what the socket did and what time it is go in, actions come out.
// The transport runs the actions and asks `deadline` when to call `due` next.
//
//   idle -> dialing -> opening -> connected -> waiting (backoff) -> dialing ...
//                                    any of them -> ended (a code that forbids another try)

import { backoff } from "./backoff.js";
import { Channels } from "./channels.js";
import { COMMAND_MAX_BYTES, ProtocolError, TOKEN_EXPIRED, decode, encode, isPing, isResent, mayReconnect, readError } from "./protocol.js";

/** Dialling and the connect reply together; the server itself allows 10 s. */
export const CONNECT_WITHIN_MS = 10_000;
/** Silence beyond the server's ping interval before the socket is given up (its own pong deadline is 8 s). */
export const PING_GRACE_MS = 10_000;
/** A command that is still without an outcome after this long is given back to the person. */
export const CALL_GIVE_UP_MS = 120_000;
/** Unanswered commands; the server reads no further past 32. */
export const CALLS_MAX = 32;
export class Session {
  /** `isMarker(data)`: a publication that stands for a range of offsets that is gone (`truncated`). */
  constructor({ token, isMarker = () => false }) {
    this.token = token;
    this.phase = "idle";
    this.attempt = 0;
    this.wakeAt = null;
    this.pingMs = 25_000;
    this.nextId = 1;
    this.sent = new Map(); // reply id -> {kind, channel | key}
    this.calls = new Map(); // key -> call, in the order they were made
    this.frames = []; // commands of this turn of the loop
    this.out = [];
    this.channels = new Channels({
      send: (asked, command) => this.sendCommand(asked, command),
      emit: (action) => this.out.push(action),
      isMarker,
    });
  }

  // What people want.

  connect(now) {
    if (this.phase === "idle" || this.phase === "waiting") this.dial(now);
    return this.drain();
  }

  /** Asks for a channel from `position` (the beginning when none is given). With `once` it is left where its history is another one by then; else it is read from its beginning. */
  subscribe(channel, position = { offset: 0, epoch: "" }, once = false) {
    this.channels.want(channel, position, once);
    return this.drain();
  }

  unsubscribe(channel) {
    this.channels.leave(channel);
    return this.drain();
  }

  /** A command. Its answer comes as one `answer` action with this `key`, whatever happens to the socket meanwhile. */
  call(key, method, data, now) {
    if (this.calls.size >= CALLS_MAX) {
      this.answer(key, { error: { code: 0, name: "BUSY", message: "too many commands are still unanswered", temporary: true } });
    } else if (JSON.stringify(data).length > COMMAND_MAX_BYTES) {
      this.answer(key, { error: { code: 0, name: "INVALID_REQUEST", message: "the command is too long to be sent", temporary: false } });
    } else {
      const call = { key, method, data, since: now, attempt: 0, retryAt: null, pending: false };
      this.calls.set(key, call);
      if (this.phase === "connected") this.sendCall(call);
    }
    return this.drain();
  }

  // What the socket did.

  opened(now) {
    if (this.phase === "dialing") {
      this.phase = "opening";
      this.sendCommand({ kind: "connect" }, { connect: { token: this.token, name: "holdfast-console" } });
    }
    return this.drain();
  }

  received(text, now, random) {
    if (this.phase !== "opening" && this.phase !== "connected") return this.drain();
    try {
      for (const reply of decode(text)) this.reply(reply, now, random);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.lose(4001, error.message, now, random);
    }
    if (this.phase === "connected") this.wakeAt = now + this.pingMs + PING_GRACE_MS;
    return this.drain();
  }

  closed(code, reason, now, random) {
    if (this.phase !== "idle" && this.phase !== "waiting" && this.phase !== "ended") {
      if (mayReconnect(code)) this.wait(now, random);
      else this.end(code, reason);
    }
    return this.drain();
  }

  // Time.

  /** When `due` is to be called next, or null. */
  deadline() {
    let at = this.wakeAt;
    const sooner = (time) => {
      if (time !== null && (at === null || time < at)) at = time;
    };
    for (const call of this.calls.values()) sooner(call.since + CALL_GIVE_UP_MS);
    if (this.phase === "connected") for (const call of this.calls.values()) sooner(call.retryAt);
    for (const time of this.channels.deadlines()) sooner(time);
    return at;
  }

  due(now, random) {
    if (this.wakeAt !== null && now >= this.wakeAt) this.overdue(now, random);
    for (const call of [...this.calls.values()]) {
      if (now >= call.since + CALL_GIVE_UP_MS) {
        this.calls.delete(call.key);
        this.answer(call.key, { error: { code: 0, name: "OUTCOME_PENDING", message: "no answer yet", temporary: true } });
      } else if (this.phase === "connected" && call.retryAt !== null && now >= call.retryAt) {
        this.sendCall(call);
      }
    }
    this.channels.due(now);
    return this.drain();
  }

  overdue(now, random) {
    if (this.phase === "waiting") this.dial(now);
    else if (this.phase === "connected") this.lose(4000, "the server is silent", now, random);
    else this.lose(4000, "no answer to the connect", now, random);
  }

  // The connection.

  dial(now) {
    this.phase = "dialing";
    this.wakeAt = now + CONNECT_WITHIN_MS;
    this.out.push({ type: "dial" });
  }

  lose(code, reason, now, random) {
    this.out.push({ type: "close", code, reason });
    this.wait(now, random);
  }

  wait(now, random) {
    this.phase = "waiting";
    this.disconnected();
    this.wakeAt = now + backoff.dial(this.attempt, random);
    this.attempt += 1;
    this.out.push({ type: "lost", attempt: this.attempt, retryAt: this.wakeAt });
  }

  end(code, reason) {
    this.phase = "ended";
    this.disconnected();
    this.wakeAt = null;
    this.out.push({ type: "ended", code, reason });
  }

  disconnected() {
    this.frames = [];
    this.sent.clear();
    this.channels.offline();
    for (const call of this.calls.values()) call.retryAt = null;
  }

  // Replies.

  reply(reply, now, random) {
    if (isPing(reply)) {
      if (this.pong) this.frames.push({});
      return;
    }
    if (reply.push) return this.push(reply.push, now, random);
    const asked = this.sent.get(reply.id);
    if (!asked) return;
    this.sent.delete(reply.id);
    const error = reply.error ? readError(reply.error) : null;
    if (asked.kind === "connect") this.connectReply(reply.connect, error, now, random);
    else if (asked.kind === "subscribe") this.channels.reply(asked, reply.subscribe ?? {}, error, now, random);
    else if (asked.kind === "call") this.callReply(asked.key, reply.rpc ?? {}, error, now, random);
  }

  connectReply(result, error, now, random) {
    if (error && (error.code === TOKEN_EXPIRED || !error.temporary)) {
      this.out.push({ type: "close", code: 1000, reason: "" });
      return this.end(error.code, error.message);
    }
    if (error) return this.lose(4002, error.message, now, random);
    this.phase = "connected";
    this.attempt = 0;
    this.pong = result?.pong === true;
    if (Number.isFinite(result?.ping) && result.ping > 0) this.pingMs = result.ping * 1000;
    this.out.push({ type: "connected", client: result?.client ?? "", version: result?.version ?? "" });
    this.channels.online();
    for (const call of this.calls.values()) this.sendCall(call);
  }

  callReply(key, result, error, now, random) {
    const call = this.calls.get(key);
    if (!call) return;
    if (error && isResent(error, call.data.command_id === undefined)) {
      call.retryAt = now + backoff.retry(call.attempt++, random);
      if (!call.pending) this.out.push({ type: "held", key, error });
      call.pending = true;
      return;
    }
    this.calls.delete(key);
    this.answer(key, error ? { error } : { data: result.data ?? {} });
  }

  push(push, now, random) {
    if (!push.disconnect) return this.channels.push(push);
    const { code = 3000, reason = "" } = push.disconnect;
    if (mayReconnect(code)) return this.lose(1000, reason, now, random);
    this.out.push({ type: "close", code: 1000, reason: "" });
    this.end(code, reason);
  }

  // Sending.

  sendCall(call) {
    call.retryAt = null;
    this.sendCommand({ kind: "call", key: call.key }, { rpc: { method: call.method, data: call.data } });
  }

  sendCommand(asked, command) {
    const id = this.nextId++;
    this.sent.set(id, asked);
    this.frames.push({ id, ...command });
  }

  answer(key, outcome) {
    this.out.push({ type: "answer", key, ...outcome });
  }

  drain() {
    if (this.frames.length > 0) {
      this.out.push({ type: "send", text: encode(this.frames) });
      this.frames = [];
    }
    const actions = this.out;
    this.out = [];
    return actions;
  }
}
