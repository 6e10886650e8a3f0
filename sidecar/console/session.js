// One browser session as a machine without I/O: what the socket did and what time it is go in, actions come out.
// The transport runs the actions and asks `deadline` when to call `due` next.
//
//   idle -> dialing -> opening -> connected -> waiting (backoff) -> dialing ...
//                                    any of them -> ended (a code that forbids another try)

import {
  COMMAND_MAX_BYTES, ProtocolError, TOKEN_EXPIRED, UNRECOVERABLE_POSITION,
  decode, encode, isPing, isResent, mayReconnect, mayResubscribe, readError,
} from "./protocol.js";

/** Dialling and the connect reply together; the server itself allows 10 s. */
export const CONNECT_WITHIN_MS = 10_000;
/** Silence beyond the server's ping interval before the socket is given up (its own pong deadline is 8 s). */
export const PING_GRACE_MS = 10_000;
/** Backoff between dials: doubling from the first to the last, half of it jitter. */
export const BACKOFF_FIRST_MS = 250;
export const BACKOFF_LAST_MS = 15_000;
/** Backoff of a command or subscription that was answered "try again". */
export const RETRY_FIRST_MS = 250;
export const RETRY_LAST_MS = 4_000;
/** A command that is still without an outcome after this long is given back to the person. */
export const CALL_GIVE_UP_MS = 120_000;
/** Unanswered commands; the server reads no further past 32. */
export const CALLS_MAX = 32;
/** How often a gap is repaired by subscribing again before it is accepted and told. */
export const GAP_REPAIRS_MAX = 2;

const backoff = (first, last, attempt, random) =>
  Math.min(last, first * 2 ** Math.min(attempt, 16)) * (0.5 + random / 2);

export class Session {
  /** `isMarker(data)`: a publication that stands for a range of offsets that is gone (`truncated`). */
  constructor({ token, isMarker = () => false }) {
    this.token = token;
    this.isMarker = isMarker;
    this.phase = "idle";
    this.attempt = 0;
    this.wakeAt = null;
    this.pingMs = 25_000;
    this.nextId = 1;
    this.sent = new Map(); // reply id -> {kind, channel | key}
    this.subs = new Map(); // channel -> subscription
    this.calls = new Map(); // key -> call, in the order they were made
    this.frames = []; // commands of this turn of the loop
    this.out = [];
  }

  // What people want.

  connect(now) {
    if (this.phase === "idle" || this.phase === "waiting") this.dial(now);
    return this.drain();
  }

  /** Asks for a channel from `position` (the beginning when none is given). */
  subscribe(channel, position = { offset: 0, epoch: "" }) {
    if (!this.subs.has(channel)) {
      this.subs.set(channel, { channel, ...position, state: "wanted", anyNext: false, repairs: 0, attempt: 0, retryAt: null });
      if (this.phase === "connected") this.sendSubscribe(this.subs.get(channel));
    }
    return this.drain();
  }

  unsubscribe(channel) {
    const sub = this.subs.get(channel);
    this.subs.delete(channel);
    if (sub && this.phase === "connected" && (sub.state === "asked" || sub.state === "live")) {
      this.sendCommand({ kind: "unsubscribe", channel }, { unsubscribe: { channel } });
    }
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
    if (this.phase === "connected") {
      for (const call of this.calls.values()) sooner(call.retryAt);
      for (const sub of this.subs.values()) sooner(sub.retryAt);
    }
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
    if (this.phase === "connected") {
      for (const sub of this.subs.values()) {
        if (sub.retryAt !== null && now >= sub.retryAt) this.sendSubscribe(sub);
      }
    }
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
    this.wakeAt = now + backoff(BACKOFF_FIRST_MS, BACKOFF_LAST_MS, this.attempt, random);
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
    for (const sub of this.subs.values()) {
      if (sub.state !== "refused") sub.state = "wanted";
      sub.retryAt = null;
    }
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
    else if (asked.kind === "subscribe") this.subscribeReply(asked, reply.subscribe ?? {}, error, now, random);
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
    for (const sub of this.subs.values()) if (sub.state === "wanted") this.sendSubscribe(sub);
    for (const call of this.calls.values()) this.sendCall(call);
  }

  subscribeReply(asked, result, error, now, random) {
    const sub = this.subs.get(asked.channel);
    if (!sub || sub !== asked.sub || sub.state !== "asked") return;
    if (error) return this.subscribeRefused(sub, error, now, random);
    const fromStart = sub.offset === 0 && sub.epoch === "";
    const lost = result.was_recovering === true && result.recovered !== true;
    if (lost && !fromStart) return this.startOver(sub);
    sub.state = "live";
    sub.attempt = 0;
    sub.epoch = result.epoch ?? "";
    // Asked from the very beginning, what comes first is the first that is still kept.
    sub.anyNext = fromStart;
    this.out.push({ type: "subscribed", channel: sub.channel, complete: !lost });
    for (const publication of result.publications ?? []) this.publication(sub, publication);
    if (lost && Number.isFinite(result.offset)) sub.offset = Math.max(sub.offset, result.offset);
  }

  subscribeRefused(sub, error, now, random) {
    if (error.code === UNRECOVERABLE_POSITION) return this.startOver(sub);
    if (error.temporary) {
      sub.state = "wanted";
      sub.retryAt = now + backoff(RETRY_FIRST_MS, RETRY_LAST_MS, sub.attempt++, random);
    } else {
      sub.state = "refused";
      this.out.push({ type: "refused", channel: sub.channel, error });
    }
  }

  callReply(key, result, error, now, random) {
    const call = this.calls.get(key);
    if (!call) return;
    if (error && isResent(error)) {
      call.retryAt = now + backoff(RETRY_FIRST_MS, RETRY_LAST_MS, call.attempt++, random);
      if (!call.pending) this.out.push({ type: "held", key, error });
      call.pending = true;
      return;
    }
    this.calls.delete(key);
    this.answer(key, error ? { error } : { data: result.data ?? {} });
  }

  push(push, now, random) {
    const sub = this.subs.get(push.channel);
    if (push.disconnect) {
      const { code = 3000, reason = "" } = push.disconnect;
      if (mayReconnect(code)) return this.lose(1000, reason, now, random);
      this.out.push({ type: "close", code: 1000, reason: "" });
      this.end(code, reason);
    } else if (sub && push.pub) {
      if (sub.state === "live") this.publication(sub, push.pub);
    } else if (sub && push.unsubscribe) {
      const { code = 2500, reason = "" } = push.unsubscribe;
      if (mayResubscribe(code)) return this.sendSubscribe(sub);
      sub.state = "refused";
      this.out.push({ type: "refused", channel: sub.channel, error: { code, name: null, message: reason, temporary: false } });
    }
  }

  // Channels: every offset once, in order.

  publication(sub, { offset, data }) {
    if (offset === undefined) return this.publish(sub, data);
    if (sub.state !== "live" || offset <= sub.offset) return;
    const expected = sub.offset + 1;
    if (offset > expected && !this.isMarker(data)) {
      if (!sub.anyNext && sub.repairs < GAP_REPAIRS_MAX) return this.repair(sub);
      this.out.push({ type: "gap", channel: sub.channel, from: expected, to: offset - 1 });
    }
    sub.offset = offset;
    sub.anyNext = false;
    sub.repairs = 0;
    this.publish(sub, data);
  }

  publish(sub, data) {
    this.out.push({ type: "publication", channel: sub.channel, offset: sub.offset, data });
  }

  /** A hole: ask again from the last event seen. */
  repair(sub) {
    sub.repairs += 1;
    this.sendCommand({ kind: "unsubscribe", channel: sub.channel }, { unsubscribe: { channel: sub.channel } });
    this.sendSubscribe(sub);
  }

  /** The position is gone: what was shown is void, and the channel is read from what is still there. */
  startOver(sub) {
    sub.offset = 0;
    sub.epoch = "";
    sub.repairs = 0;
    this.out.push({ type: "restarted", channel: sub.channel });
    this.sendCommand({ kind: "unsubscribe", channel: sub.channel }, { unsubscribe: { channel: sub.channel } });
    this.sendSubscribe(sub);
  }

  // Sending.

  sendSubscribe(sub) {
    sub.state = "asked";
    sub.retryAt = null;
    const { channel, offset, epoch } = sub;
    this.sendCommand({ kind: "subscribe", channel, sub }, { subscribe: { channel, recover: true, offset, epoch } });
  }

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
