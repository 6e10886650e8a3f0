// A screen as elements: chunks within the window, pieces within a chunk, styled runs within a piece. Only what a
// frame changed is touched.

import { el } from "./dom.js";
import { WindowView } from "./view-window.js";

const LINE_PX = 19.5; // estimate for chunks that were never drawn; the browser remembers the real height afterwards

export class OutputView {
  /** `moved` is called when a person asked for another part of the output. */
  constructor(body, screen, moved) {
    this.window = new WindowView("output", () => this.range(), moved);
    this.drawn = new Map(); // chunk number -> {element, pieces}
    this.note = el("p", { className: "note", hidden: true });
    this.list = el("div");
    body.replaceChildren(this.note, this.window.earlier, this.list, this.window.later);
    this.screen = screen;
  }

  range() {
    return { kept: this.screen.dropped, end: this.screen.dropped + this.screen.chunks.length };
  }

  complete() {
    return this.window.complete();
  }

  size() {
    return this.drawn.size;
  }

  render(following) {
    this.window.settle(following);
    for (const piece of this.screen.takeTouched()) {
      const chunk = this.drawn.get(piece.chunk.number);
      if (chunk) this.drawPiece(chunk, piece);
    }
    this.place();
    this.note.hidden = this.screen.dropped === 0;
    if (this.screen.dropped > 0) {
      this.note.textContent = `The first ${this.screen.droppedLines.toLocaleString()} lines are too much for this page; “holdfast task attach --all” shows them.`;
    }
  }

  /** The element of a chunk, brought into the page; null where it is no longer kept. */
  reveal(number) {
    if (!this.window.moveTo(number, 5)) return null;
    this.render(false);
    return this.drawn.get(number)?.element ?? null;
  }

  /** Brings the list to the window: takes out what lies outside, draws what is missing. */
  place() {
    const { first, last } = this.window.shown;
    this.window.prune(this.drawn, ({ element }) => element);
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
