// Search in what the page does not have and the node still has, the newest first: pieces of `conversation.history` go
// in, excerpts come out.

import { normal } from "./find.js";
import { Stretch } from "./stretch.js";

/** Pieces (of at most 256 KiB each) read in one go; more at the press of a button. */
export const PIECES_MAX = 64;
/** Excerpts listed. */
export const EXCERPTS_MAX = 100;
/** Turns looked through in one stretch: what was found in it is listed when it was read. */
const STRETCH = Object.freeze({ turns: 50, max_bytes: 1024 * 1024 });
/** Text around a place. */
const AROUND_CHARS = 60;
/** Streams whose unfinished end is kept between pieces. */
const TAILS_MAX = 64;

export class Older {
  /** `before` {epoch, offset}: what lies before that event is looked through. */
  constructor(text, before) {
    this.query = normal(text);
    this.before = before;
    this.excerpts = []; // {turn, before, match, after, nth}
    this.pieces = 0;
    this.ended = before.offset <= 1;
    this.back = null; // the turn to which all was looked through
    this.begin();
  }

  begin() {
    this.stretch = null;
    this.found = []; // in this stretch, in order
    this.first = null; // its first turn
    this.counts = new Map(); // turn -> excerpts of it
    this.tails = new Map(); // turn and stream -> the end of what was looked through
  }

  get full() {
    return this.excerpts.length + this.found.length >= EXCERPTS_MAX;
  }

  /** What to ask `conversation.history` next, or null where there is nothing more to ask for. */
  next(conversation) {
    if (this.ended || this.full) return null;
    this.stretch ??= new Stretch(conversation, this.before, STRETCH);
    return this.stretch.next();
  }

  /** An answer of `conversation.history`; `lacks(turn, prompt)` says whether the page lacks a part of that turn, or its prompt. */
  piece(data, lacks) {
    this.pieces += 1;
    const { stretch } = this;
    for (const publication of stretch.take(data)) this.event(publication.data, lacks);
    if (!stretch.done && !this.full) return;
    this.flush();
    if (stretch.done) {
      this.before = { epoch: this.before.epoch, offset: stretch.after + 1 };
      this.ended = stretch.failed || !stretch.more; // a history that was cut meanwhile is another one
      this.back = this.first ?? this.back;
    }
    this.begin();
  }

  /** Lists what was found so far, also where the search stops in the middle of a long turn. */
  flush() {
    this.excerpts.push(...this.found.reverse());
    this.found = [];
  }

  event(event, lacks) {
    const said = saidBy(event);
    if (said === null) return;
    const turn = String(event.turn);
    if (said.stream === "ask") this.first ??= turn;
    if (!lacks(turn, said.stream === "ask")) return;
    const key = `${turn}\n${said.stream}`;
    const tail = this.tails.get(key) ?? "";
    const text = tail + said.text;
    this.look(turn, text, tail.length);
    this.tails.delete(key);
    this.tails.set(key, text.slice(-(this.query.length - 1 + AROUND_CHARS)));
    if (this.tails.size > TAILS_MAX) this.tails.delete(this.tails.keys().next().value);
  }

  /** Places that end behind `known`, the part that was looked through before. */
  look(turn, text, known) {
    const where = normal(text);
    const from = Math.max(0, known - this.query.length + 1);
    for (let at = where.indexOf(this.query, from); at >= 0 && !this.full; at = where.indexOf(this.query, at + this.query.length)) {
      const end = at + this.query.length;
      const nth = this.counts.get(turn) ?? 0;
      this.counts.set(turn, nth + 1);
      this.found.push({ turn, nth, before: line(text.slice(Math.max(0, at - AROUND_CHARS), at)), match: text.slice(at, end), after: line(text.slice(end, end + AROUND_CHARS)) });
    }
  }
}

const line = (text) => text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, "").replace(/\s+/g, " ");

function saidBy(event) {
  if (event === null || typeof event !== "object") return null;
  if (event.type === "turn.started") return { stream: "ask", text: typeof event.text === "string" ? event.text : "" };
  if (event.type === "turn.output" && typeof event.text === "string") return { stream: String(event.stream), text: event.text };
  const { update } = event;
  if (event.type !== "turn.update" || update === null || typeof update !== "object") return null;
  if (update.content?.type === "text" && typeof update.content.text === "string") return { stream: update.sessionUpdate, text: update.content.text };
  return typeof update.title === "string" ? { stream: `tool ${update.toolCallId}`, text: `${update.title}\n` } : null;
}
