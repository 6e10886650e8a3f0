// A stretch of a conversation's history, read backwards from a position by whole turns: answers of
// `conversation.history` go in, its events come out in order.

/** Events of one answer; the node gives no more. */
const EVENTS_MAX = 1000;

export class Stretch {
  /** The turns before the event at `before` {epoch, offset}, within `bounds` {turns, max_events?, max_bytes?}. */
  constructor(conversation, before, bounds) {
    this.conversation = conversation;
    this.before = before;
    this.bounds = bounds;
    this.position = null; // of the last event that came
    this.after = null; // the offset before the first event
    this.more = false; // there is more before it
    this.done = false;
    this.failed = false; // the history is another one by now
  }

  /** What to ask next, or null where all of it has come. */
  next() {
    if (this.done) return null;
    const { conversation, before, bounds, position } = this;
    if (position === null) return { conversation, last: { ...bounds, before } };
    return { conversation, since: position, limit: Math.min(EVENTS_MAX, before.offset - 1 - position.offset) };
  }

  /** Takes an answer; its publications {offset, data}. */
  take({ epoch = "", since, more, recovered, publications = [] }) {
    const asked = this.position === null;
    if (recovered === false || (asked && !Number.isFinite(since?.offset))) {
      this.done = this.failed = true;
      return [];
    }
    if (asked) [this.position, this.after, this.more] = [{ epoch, offset: since.offset }, since.offset, more === true];
    const ours = publications.filter(({ offset }) => offset < this.before.offset);
    if (ours.length > 0) this.position = { epoch, offset: ours.at(-1).offset };
    this.done = ours.length === 0 || this.position.offset >= this.before.offset - 1;
    return ours;
  }
}
