// The channels of a session: what is subscribed, up to which offset it was seen, and what is to be done about holes.
// Every offset is passed on once and in order; where that cannot be, `gap` or `restarted` says so.

import { UNRECOVERABLE_POSITION, mayResubscribe } from "./protocol.js";
import { backoff } from "./backoff.js";

/** How often a gap is repaired by subscribing again before it is accepted and told. */
export const GAP_REPAIRS_MAX = 2;

export class Channels {
  /** `send(asked, command)` sends a command, `emit(action)` tells the page; `isMarker` as in Session. */
  constructor({ send, emit, isMarker }) {
    this.send = send;
    this.emit = emit;
    this.isMarker = isMarker;
    this.subs = new Map(); // channel -> {channel, offset, epoch, state: wanted | asked | live | refused, ...}
    this.connected = false;
  }

  /** Asks for a channel from `position`, once. Where its history is another one by then, it is read from its beginning, or with `once` left. */
  want(channel, position, once) {
    if (this.subs.has(channel)) return;
    const sub = { channel, ...position, once, state: "wanted", anyNext: false, repairs: 0, attempt: 0, retryAt: null };
    this.subs.set(channel, sub);
    if (this.connected) this.ask(sub);
  }

  leave(channel) {
    const sub = this.subs.get(channel);
    this.subs.delete(channel);
    if (sub && this.connected && (sub.state === "asked" || sub.state === "live")) this.sendLeave(channel);
  }

  online() {
    this.connected = true;
    for (const sub of this.subs.values()) if (sub.state === "wanted") this.ask(sub);
  }

  offline() {
    this.connected = false;
    for (const sub of this.subs.values()) {
      if (sub.state !== "refused") sub.state = "wanted";
      sub.retryAt = null;
    }
  }

  deadlines() {
    return this.connected ? [...this.subs.values()].map(({ retryAt }) => retryAt) : [];
  }

  due(now) {
    if (!this.connected) return;
    for (const sub of this.subs.values()) if (sub.retryAt !== null && now >= sub.retryAt) this.ask(sub);
  }

  reply(asked, result, error, now, random) {
    const sub = this.subs.get(asked.channel);
    if (!sub || sub !== asked.sub || sub.state !== "asked") return;
    if (error) return this.refused(sub, error, now, random);
    const fromStart = sub.offset === 0 && sub.epoch === "";
    const lost = result.was_recovering === true && result.recovered !== true;
    if (lost && !fromStart) return this.startOver(sub);
    sub.state = "live";
    sub.attempt = 0;
    sub.epoch = result.epoch ?? "";
    // Asked from the very beginning, what comes first is the first that is still kept.
    sub.anyNext = fromStart;
    this.emit({ type: "subscribed", channel: sub.channel, complete: !lost });
    for (const publication of result.publications ?? []) this.publication(sub, publication);
    if (lost && Number.isFinite(result.offset)) sub.offset = Math.max(sub.offset, result.offset);
  }

  refused(sub, error, now, random) {
    if (error.code === UNRECOVERABLE_POSITION) return this.startOver(sub);
    if (error.temporary) {
      sub.state = "wanted";
      sub.retryAt = now + backoff.retry(sub.attempt++, random);
    } else {
      sub.state = "refused";
      this.emit({ type: "refused", channel: sub.channel, error });
    }
  }

  push(push) {
    const sub = this.subs.get(push.channel);
    if (!sub) return;
    if (push.pub) {
      if (sub.state === "live") this.publication(sub, push.pub);
    } else if (push.unsubscribe) {
      const { code = 2500, reason = "" } = push.unsubscribe;
      if (mayResubscribe(code)) return this.ask(sub);
      sub.state = "refused";
      this.emit({ type: "refused", channel: sub.channel, error: { code, name: null, message: reason, temporary: false } });
    }
  }

  publication(sub, { offset, data }) {
    if (offset === undefined) return this.publish(sub, data);
    if (sub.state !== "live" || offset <= sub.offset) return;
    const expected = sub.offset + 1;
    if (offset > expected && !this.isMarker(data)) {
      if (!sub.anyNext && sub.repairs < GAP_REPAIRS_MAX) return this.repair(sub);
      this.emit({ type: "gap", channel: sub.channel, from: expected, to: offset - 1 });
    }
    sub.offset = offset;
    sub.anyNext = false;
    sub.repairs = 0;
    this.publish(sub, data);
  }

  publish(sub, data) {
    this.emit({ type: "publication", channel: sub.channel, offset: sub.offset, data });
  }

  /** A hole: ask again from the last event seen. */
  repair(sub) {
    sub.repairs += 1;
    this.sendLeave(sub.channel);
    this.ask(sub);
  }

  /** The position is gone: what was shown is void, and the channel is read from what is still there. */
  startOver(sub) {
    sub.offset = 0;
    sub.epoch = "";
    sub.repairs = 0;
    if (sub.once) this.subs.delete(sub.channel);
    this.emit({ type: "restarted", channel: sub.channel });
    this.sendLeave(sub.channel);
    if (!sub.once) this.ask(sub);
  }

  ask(sub) {
    sub.state = "asked";
    sub.retryAt = null;
    const { channel, offset, epoch } = sub;
    this.send({ kind: "subscribe", channel, sub }, { subscribe: { channel, recover: true, offset, epoch } });
  }

  sendLeave(channel) {
    this.send({ kind: "unsubscribe", channel }, { unsubscribe: { channel } });
  }
}
