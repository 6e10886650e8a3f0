// An agent's words as blocks, while they come in pieces cut anywhere. Closed blocks never change again; what is still
// being written is `open()`. A small part of Markdown: paragraphs, headings, code, lists, quotes, tables as written.

import { plain } from "./inline.js";

/** A block is drawn again while it grows; past this it is closed and another of its kind goes on. */
export const BLOCK_CHARS = 8 * 1024;

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const CHECK = /^\[([ xX])\]\s+(.*)$/;

export class Markdown {
  constructor() {
    this.blocks = []; // closed: {kind, ...}
    this.kind = null; // of the block being written
    this.lines = [];
    this.size = 0;
    this.partial = "";
    this.fence = null; // {mark, info} of an open code block
  }

  feed(text) {
    const lines = (this.partial + text).split("\n");
    this.partial = lines.pop();
    for (const line of lines) this.line(line.endsWith("\r") ? line.slice(0, -1) : line);
    while (this.partial.length > BLOCK_CHARS) {
      const piece = this.partial.slice(0, BLOCK_CHARS);
      this.partial = this.partial.slice(BLOCK_CHARS);
      this.line(piece);
      this.close();
    }
  }

  /** What is still being written, as it would be if nothing more came: at most two blocks. */
  open() {
    const { kind, lines, partial, fence } = this;
    if (fence) return [build("code", partial === "" ? lines : [...lines, partial], fence)];
    const before = kind === null ? [] : [build(kind, lines)];
    if (partial.trim() === "") return before;
    const next = kindOf(partial, kind);
    if (next === "fence") return [...before, build("code", [], { info: "" })];
    return next === kind ? [build(kind, [...lines, partial])] : [...before, build(next, [partial])];
  }

  /** All blocks, those that are still being written last. */
  all() {
    return [...this.blocks, ...this.open()];
  }

  line(line) {
    if (this.fence) return this.inCode(line);
    const kind = kindOf(line, this.kind);
    if (kind !== this.kind) this.close();
    if (kind === "blank") return;
    if (kind === "fence") {
      const [, mark, info] = FENCE.exec(line);
      this.fence = { mark, info: info.trim() };
      return;
    }
    this.kind = kind;
    this.push(line);
    if (kind === "heading" || kind === "rule") this.close();
  }

  inCode(line) {
    const match = FENCE.exec(line);
    if (match && match[2] === "" && match[1][0] === this.fence.mark[0] && match[1].length >= this.fence.mark.length) {
      this.blocks.push(build("code", this.lines, this.fence));
      this.fence = null;
      this.reset();
    } else {
      this.push(line);
    }
  }

  push(line) {
    this.lines.push(line);
    this.size += line.length + 1;
    if (this.size > BLOCK_CHARS) this.close();
  }

  /** Ends the block being written; a code block goes on as another. */
  close() {
    if (this.lines.length > 0) this.blocks.push(build(this.fence ? "code" : this.kind, this.lines, this.fence));
    this.reset();
  }

  reset() {
    this.kind = null;
    this.lines = [];
    this.size = 0;
  }
}

/** What a line is, behind a block of `current` kind. */
function kindOf(line, current) {
  if (line.trim() === "") return "blank";
  if (FENCE.test(line)) return "fence";
  if (HEADING.test(line)) return "heading";
  if (RULE.test(line)) return "rule";
  if (/^ {0,3}>/.test(line)) return "quote";
  if (ITEM.test(line)) return "list";
  if (/^ {0,3}\|/.test(line)) return "table";
  return current === "list" || current === "quote" ? current : "paragraph";
}

function build(kind, lines, fence = null) {
  if (kind === "code") return { kind, info: fence.info, text: lines.join("\n") };
  if (kind === "heading") {
    const match = HEADING.exec(lines[0]);
    return match ? { kind, level: match[1].length, text: match[2] } : { kind: "paragraph", text: lines[0] };
  }
  if (kind === "rule") return { kind, text: "" };
  if (kind === "quote") return { kind, text: lines.map((line) => line.replace(/^ {0,3}> ?/, "")).join("\n") };
  if (kind === "list") return { kind, items: items(lines) };
  return { kind, text: lines.join("\n") };
}

function items(lines) {
  const out = [];
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (!match) {
      if (out.length > 0) out.at(-1).text += `\n${line.trim()}`;
      continue;
    }
    const [, indent, mark, rest] = match;
    const check = CHECK.exec(rest);
    const depth = Math.min(6, Math.floor(indent.replaceAll("\t", "    ").length / 2));
    const checked = check ? check[1] !== " " : null;
    out.push({ depth, mark: /\d/.test(mark) ? mark : "•", checked, text: check ? check[2] : rest });
  }
  return out;
}

/** A block as it is read: what a search looks through. */
export function blockText(block) {
  if (block.kind === "list") return block.items.map(({ text }) => plain(text)).join("\n");
  return block.kind === "code" || block.kind === "table" ? block.text : plain(block.text);
}

/** A block as it was written. */
export function blockSource(block) {
  if (block.kind === "code") return `\`\`\`${block.info}\n${block.text}\n\`\`\``;
  if (block.kind === "heading") return `${"#".repeat(block.level)} ${block.text}`;
  if (block.kind === "rule") return "---";
  if (block.kind === "quote") return block.text.split("\n").map((line) => `> ${line}`).join("\n");
  if (block.kind === "list") return block.items.map(itemSource).join("\n");
  return block.text;
}

function itemSource({ depth, mark, checked, text }) {
  const box = checked === null ? "" : checked ? "[x] " : "[ ] ";
  return `${"  ".repeat(depth)}${mark === "•" ? "-" : mark} ${box}${text}`;
}
