// What a turn has written, as lines to show. Streams are interleaved in the order of arrival, each with a parser and
// an unfinished line of its own, so that a warning in the middle of a progress bar spoils neither.
//
// Lines lie in chunks (the unit that the page adds, hides and drops), within a chunk in pieces of one stream each.

import { AnsiParser } from "./ansi.js";
import { Line } from "./line.js";

/** A chunk is full at either; big enough that 100,000 lines are some hundred elements. */
export const CHUNK_LINES = 200;
export const CHUNK_CHARS = 32 * 1024;
/** An unfinished line is redrawn whole; past this it is taken as written, without a line's end. */
export const OPEN_LINE_CHARS = 4096;
/** Text kept per turn; past this the oldest chunks go, and the page says so. */
export const SCREEN_CHARS = 48 * 1024 * 1024;

export class Screen {
  constructor({ maxChars = SCREEN_CHARS } = {}) {
    this.maxChars = maxChars;
    this.chunks = []; // {number, pieces, lines, chars}
    this.dropped = 0; // chunks no longer kept; numbers go on
    this.droppedLines = 0;
    this.lines = 0;
    this.chars = 0;
    this.streams = new Map();
    this.touched = new Set(); // pieces changed since the view last looked
  }

  /** Text of `stream`, cut anywhere. */
  feed(stream, text) {
    const writer = this.writer(stream);
    writer.parser.feed(text, writer);
    this.limit();
  }

  writer(stream) {
    if (!this.streams.has(stream)) this.streams.set(stream, new Writer(this, stream));
    return this.streams.get(stream);
  }

  /** The piece that a new line of `stream` goes to. */
  pieceFor(stream) {
    let chunk = this.chunks[this.chunks.length - 1];
    if (!chunk || chunk.lines >= CHUNK_LINES || chunk.chars >= CHUNK_CHARS) {
      if (chunk) compact(chunk);
      chunk = { number: this.dropped + this.chunks.length, pieces: [], lines: 0, chars: 0 };
      this.chunks.push(chunk);
    }
    let piece = chunk.pieces[chunk.pieces.length - 1];
    if (!piece || piece.stream !== stream || piece.open) {
      piece = { stream, chunk, runs: [], open: null, generation: 0 };
      chunk.pieces.push(piece);
    }
    return piece;
  }

  /** Moves a piece's open line to what is written for good. */
  settle(piece, ending) {
    const { runs } = piece.open;
    if (ending) {
      const last = runs[runs.length - 1];
      if (last?.style === null) last.text += ending;
      else runs.push({ text: ending, style: null });
      piece.chunk.lines += 1;
      this.lines += 1;
    }
    const chars = piece.open.length + ending.length;
    piece.runs.push(...runs);
    piece.open = null;
    piece.chunk.chars += chars;
    this.chars += chars;
    this.touched.add(piece);
  }

  limit() {
    while (this.chars > this.maxChars && this.chunks.length > 1 && this.chunks[0].pieces.every((piece) => !piece.open)) {
      const chunk = this.chunks.shift();
      for (const piece of chunk.pieces) this.touched.delete(piece); // nobody may be looking for long
      this.dropped += 1;
      this.droppedLines += chunk.lines;
      this.chars -= chunk.chars;
    }
  }

  /** The pieces changed since the last call. */
  takeTouched() {
    const touched = this.touched;
    this.touched = new Set();
    return touched;
  }

  /** All that is kept, as plain text, of one stream or of all. */
  text(stream = null) {
    const parts = [];
    for (const { pieces } of this.chunks) {
      for (const piece of pieces) {
        if (stream !== null && piece.stream !== stream) continue;
        for (const run of piece.runs) parts.push(run.text);
        for (const run of piece.open?.runs ?? []) parts.push(run.text);
      }
    }
    return parts.join("");
  }
}

/** One stream's pen: the sink of its parser. */
class Writer {
  constructor(screen, stream) {
    this.screen = screen;
    this.stream = stream;
    this.parser = new AnsiParser();
    this.piece = null; // where the open line is
  }

  line() {
    if (!this.piece) {
      this.piece = this.screen.pieceFor(this.stream);
      this.piece.open = new Line();
    }
    this.screen.touched.add(this.piece);
    return this.piece.open;
  }

  text(text, style) {
    const line = this.line();
    line.write(text, style);
    if (line.length > OPEN_LINE_CHARS && line.cursor === line.length) this.settle("");
  }

  newline() {
    this.line();
    this.settle("\n");
  }

  settle(ending) {
    this.screen.settle(this.piece, ending);
    this.piece = null;
  }

  carriageReturn() {
    this.piece?.open.moveTo(0);
  }

  backspace() {
    if (this.piece) this.piece.open.moveTo(this.piece.open.cursor - 1);
  }

  column(index) {
    this.line().moveTo(index);
  }

  forward(count) {
    const line = this.line();
    line.moveTo(line.cursor + count);
  }

  eraseLine(mode) {
    if (this.piece) this.line().erase(mode);
  }
}

/** Joins the runs of a full chunk: what 200 short events left becomes a few strings. */
function compact(chunk) {
  for (const piece of chunk.pieces) {
    const joined = [];
    for (let at = 0; at < piece.runs.length; ) {
      const style = piece.runs[at].style;
      let end = at + 1;
      while (end < piece.runs.length && piece.runs[end].style === style) end++;
      joined.push({ text: piece.runs.slice(at, end).map((run) => run.text).join(""), style });
      at = end;
    }
    piece.runs = joined;
    piece.generation += 1; // a view that counted runs starts over
  }
}
