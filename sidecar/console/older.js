// Search in what the page let go of and the node still has: pieces of `conversation.history` go in, excerpts come out.

import { normal } from "./find.js";

/** Pieces (of at most 256 KiB each) read in one go; more at the press of a button. */
export const PIECES_MAX = 64;
/** Excerpts listed. */
export const EXCERPTS_MAX = 100;
/** Text around a place. */
const AROUND_CHARS = 60;
/** Streams whose unfinished end is kept between pieces. */
const TAILS_MAX = 64;

export class Older {
  constructor(text) {
    this.query = normal(text);
    this.position = { epoch: "", offset: 0 };
    this.excerpts = []; // {turn, before, match, after}
    this.pieces = 0;
    this.ended = false;
    this.tails = new Map(); // turn and stream -> the end of what was looked through
  }

  get full() {
    return this.excerpts.length >= EXCERPTS_MAX;
  }

  /** What to ask `conversation.history` next, or null where there is nothing more to ask for. */
  next(conversation) {
    return this.ended || this.full ? null : { conversation, since: this.position };
  }

  /** An answer of `conversation.history`; `isGone(turn)` says whether the page lacks a part of that turn. */
  piece({ epoch, offset, publications, recovered }, isGone) {
    this.pieces += 1;
    if (recovered === false && this.position.offset > 0) {
      this.ended = true; // the history was cut meanwhile: what is left is another one
      return;
    }
    for (const publication of publications ?? []) {
      this.position = { epoch: epoch ?? "", offset: publication.offset };
      this.event(publication.data, isGone);
    }
    this.ended = (publications ?? []).length === 0 || this.position.offset >= offset;
  }

  event(event, isGone) {
    const said = saidBy(event);
    if (said === null || !isGone(String(event.turn))) return;
    const key = `${event.turn}\n${said.stream}`;
    const tail = this.tails.get(key) ?? "";
    const text = tail + said.text;
    this.look(String(event.turn), text, tail.length);
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
      this.excerpts.push({ turn, before: line(text.slice(Math.max(0, at - AROUND_CHARS), at)), match: text.slice(at, end), after: line(text.slice(end, end + AROUND_CHARS)) });
    }
  }
}

const line = (text) => text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, "").replace(/\s+/g, " ");

function saidBy(event) {
  if (event === null || typeof event !== "object") return null;
  if (event.type === "turn.output" && typeof event.text === "string") return { stream: String(event.stream), text: event.text };
  const { update } = event;
  if (event.type !== "turn.update" || update === null || typeof update !== "object") return null;
  if (update.content?.type === "text" && typeof update.content.text === "string") return { stream: update.sessionUpdate, text: update.content.text };
  return typeof update.title === "string" ? { stream: `tool ${update.toolCallId}`, text: `${update.title}\n` } : null;
}
