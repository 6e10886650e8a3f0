// An agent's words in the page: blocks that are closed are drawn once, the one being written is drawn again.

import { el } from "./dom.js";
import { spans } from "./inline.js";

/** Words of a step; `parts()` are the elements of its blocks, in order. */
export class TextView {
  constructor(step) {
    this.step = step;
    this.element = el("div", { className: "words", data: { voice: step.voice } });
    this.drawn = 0; // closed blocks in the page
    this.open = [];
  }

  render() {
    const { markdown } = this.step;
    for (const element of this.open) element.remove();
    for (; this.drawn < markdown.blocks.length; this.drawn++) this.element.append(block(markdown.blocks[this.drawn]));
    this.open = markdown.open().map(block);
    this.element.append(...this.open);
  }

  place(at) {
    return this.element.children[at] ?? this.element;
  }
}

/** A thought: folded, its first words in sight. */
export class ThoughtView {
  constructor(step) {
    this.step = step;
    this.words = new TextView(step);
    this.drawn = -1; // version of the words in the page
    this.summary = el("summary", {});
    this.element = el("details", { className: "thought" }, this.summary);
    this.element.addEventListener("toggle", () => {
      if (this.element.open) this.drawWords();
    });
  }

  render(running) {
    const thinking = running && this.step.isLast;
    this.summary.replaceChildren(el("span", { className: "label" }, thinking ? "Thinking…" : "Thought"), el("span", { className: "glimpse" }, glimpse(this.step, thinking)));
    if (this.element.open) this.drawWords();
  }

  drawWords() {
    if (this.drawn === this.step.version) return;
    this.drawn = this.step.version;
    this.words.render();
    if (!this.words.element.isConnected) this.element.append(this.words.element);
  }

  place(at) {
    this.element.open = true;
    this.drawWords();
    return this.words.place(at);
  }
}

const GLIMPSE_CHARS = 140;

/** The first words of a thought, or while it goes on the last. */
function glimpse({ markdown }, last) {
  const blocks = markdown.all();
  const chosen = last ? blocks.at(-1) : blocks[0];
  const text = chosen ? (chosen.items?.map((item) => item.text).join(" ") ?? chosen.text).replace(/\s+/g, " ").trim() : "";
  if (text.length <= GLIMPSE_CHARS) return text;
  return last ? `…${text.slice(-GLIMPSE_CHARS)}` : `${text.slice(0, GLIMPSE_CHARS)}…`;
}

function block(part) {
  if (part.kind === "code") return code(part);
  if (part.kind === "table") return el("pre", { className: "table" }, part.text);
  if (part.kind === "rule") return el("hr");
  if (part.kind === "heading") return el("p", { className: "heading", data: { level: String(part.level) }, role: "heading", "aria-level": String(Math.min(6, part.level + 2)) }, ...inline(part.text));
  if (part.kind === "list") return el("ul", { className: "list" }, ...part.items.map(item));
  return el(part.kind === "quote" ? "blockquote" : "p", {}, ...inline(part.text));
}

function code({ info, text }) {
  const element = el("pre", { className: "code" }, text);
  if (info !== "") element.dataset.language = info.split(/\s/)[0].slice(0, 24);
  return element;
}

function item({ depth, mark, checked, text }) {
  const sign = checked === null ? mark : checked ? "☑" : "☐";
  const element = el("li", {}, el("span", { className: "mark" }, sign), el("span", {}, ...inline(text)));
  element.style.marginInlineStart = `${depth * 1.4}em`;
  return element;
}

const inline = (text) => spans(text).map(span);

function span({ text, code: isCode, bold, italic, strike, href }) {
  let node = isCode ? el("code", {}, text) : text;
  if (href) node = el("a", { href, target: "_blank", rel: "noopener noreferrer", title: href }, node);
  if (bold) node = el("strong", {}, node);
  if (italic) node = el("em", {}, node);
  return strike ? el("s", {}, node) : node;
}
