// A screen as elements: chunks within the window, pieces within a chunk, styled runs within a piece. Only what a
// frame changed is touched.

import { el } from "./dom.js";
import { atEnd, earlier, later, staying } from "./window.js";

const LINE_PX = 19.5; // estimate for chunks that were never drawn; the browser remembers the real height afterwards

export class OutputView {
  /** `moved` is called when a person asked for another part of the output. */
  constructor(body, screen, moved) {
    this.moved = moved;
    this.window = { first: 0, last: 0 };
    this.drawn = new Map(); // chunk number -> {element, pieces}
    this.note = el("p", { className: "note", hidden: true });
    this.list = el("div");
    this.earlierButton = this.button("Show earlier output", earlier);
    this.laterButton = this.button("Show later output", later);
    body.replaceChildren(this.note, this.earlierButton, this.list, this.laterButton);
    this.screen = screen;
  }

  button(label, move) {
    const onclick = () => {
      this.window = move(this.window, this.range());
      this.moved();
    };
    return el("button", { type: "button", className: "more link", hidden: true, onclick }, label);
  }

  range() {
    return { kept: this.screen.dropped, end: this.screen.dropped + this.screen.chunks.length };
  }

  /** Whether the newest line is in the page. */
  complete() {
    return this.window.last >= this.range().end;
  }

  size() {
    return this.drawn.size;
  }

  render(following) {
    const range = this.range();
    this.window = following ? atEnd(range) : staying(this.window, range);
    for (const piece of this.screen.takeTouched()) {
      const chunk = this.drawn.get(piece.chunk.number);
      if (chunk) this.drawPiece(chunk, piece);
    }
    this.place();
    this.earlierButton.hidden = this.window.first <= range.kept;
    this.laterButton.hidden = this.window.last >= range.end;
    this.note.hidden = this.screen.dropped === 0;
    if (this.screen.dropped > 0) {
      this.note.textContent = `The first ${this.screen.droppedLines.toLocaleString()} lines are too much for this page; “holdfast task attach” shows them.`;
    }
  }

  /** The element of a chunk, brought into the page; null where it is no longer kept. */
  reveal(number) {
    const range = this.range();
    if (number < range.kept || number >= range.end) return null;
    if (number < this.window.first || number >= this.window.last) {
      this.window = staying({ first: Math.max(range.kept, number - 5), last: 0 }, range);
      this.render(false);
    }
    return this.drawn.get(number)?.element ?? null;
  }

  /** Brings the list to the window: takes out what lies outside, draws what is missing. */
  place() {
    const { first, last } = this.window;
    for (const [number, { element }] of this.drawn) {
      if (number >= first && number < last) continue;
      element.remove();
      this.drawn.delete(number);
    }
    let before = this.list.lastElementChild;
    for (let number = last - 1; number >= first; number--) {
      const chunk = this.drawn.get(number) ?? this.drawChunk(number);
      if (chunk.element !== before) this.list.insertBefore(chunk.element, before ? before.nextSibling : this.list.firstChild);
      before = chunk.element.previousElementSibling;
      if (number === first) break;
    }
  }

  drawChunk(number) {
    const source = this.screen.chunks[number - this.screen.dropped];
    const chunk = { element: el("div", { className: "chunk" }), pieces: new Map() };
    chunk.element.style.containIntrinsicBlockSize = `auto ${Math.max(1, source.lines) * LINE_PX}px`;
    for (const piece of source.pieces) this.drawPiece(chunk, piece);
    this.drawn.set(number, chunk);
    return chunk;
  }

  drawPiece(chunk, piece) {
    let view = chunk.pieces.get(piece);
    if (!view) {
      const element = el("div", { className: "piece", data: { stream: piece.stream } });
      view = { element, runs: 0, generation: piece.generation, open: null };
      chunk.pieces.set(piece, view);
      chunk.element.append(element);
    }
    if (view.generation !== piece.generation) {
      view.element.replaceChildren();
      Object.assign(view, { runs: 0, generation: piece.generation, open: null });
    }
    view.open?.remove();
    view.open = null;
    for (; view.runs < piece.runs.length; view.runs++) appendRun(view.element, piece.runs[view.runs]);
    if (piece.open) {
      view.open = el("span");
      for (const run of piece.open.runs) appendRun(view.open, run);
      view.element.append(view.open);
    }
  }
}

/** Plain text joins the text before it: a thousand short events are one node. */
function appendRun(parent, { text, style }) {
  const last = parent.lastChild;
  if (style !== null) parent.append(styled(text, style));
  else if (last?.nodeType === Node.TEXT_NODE) last.appendData(text);
  else parent.append(text);
}

function styled(text, style) {
  const span = el("span", { className: classes(style) }, text);
  const fg = style.inverse ? style.bg : style.fg;
  const bg = style.inverse ? style.fg : style.bg;
  if (typeof bg === "string") {
    span.style.backgroundColor = bg;
    span.style.color = isLight(bg) ? "#000" : "#fff";
  }
  if (typeof fg === "string") span.style.color = fg;
  return span;
}

function classes(style) {
  const names = [];
  for (const [flag, name] of FLAGS) if (style[flag]) names.push(name);
  const fg = style.inverse ? style.bg : style.fg;
  const bg = style.inverse ? style.fg : style.bg;
  if (typeof bg === "number") names.push(`g${bg}`);
  else if (style.inverse && bg === null) names.push("gx");
  if (typeof fg === "number") names.push(`f${fg}`);
  else if (fg === null && typeof bg === "number") names.push("on");
  return names.join(" ");
}

const FLAGS = [["bold", "b"], ["dim", "d"], ["italic", "i"], ["underline", "u"], ["strike", "s"], ["hidden", "h"]];

function isLight(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
  return red * 0.299 + green * 0.587 + blue * 0.114 > 140;
}
