// What an agent did in a turn: steps in the order in which they began. Each has a number that stays, and a version that
// changes with it, so that a view draws only what is new.

import { BLOCK_CHARS, Markdown, blockSource, blockText } from "./markdown.js";
import { toolChars, toolText } from "./tool.js";

/** Steps kept of one turn; past this the oldest go, and the page says so. */
export const STEPS_MAX = 20_000;
/** Text kept of one turn's steps; past this too the oldest go. */
export const STEPS_CHARS = 48 * 1024 * 1024;
/** A step of words is full at either: it is drawn whole, so it stays small, and another goes on. */
export const TEXT_CHARS = 32 * 1024;
export const TEXT_BLOCKS = 400;

export class Steps {
  constructor({ max = STEPS_MAX, maxChars = STEPS_CHARS } = {}) {
    this.max = max;
    this.maxChars = maxChars;
    this.list = [];
    this.dropped = 0; // numbers go on
    this.chars = 0;
    this.tools = new Map(); // tool call id -> step
    this.permissions = new Map(); // request -> step
    this.plan = null;
  }

  get last() {
    return this.list.at(-1) ?? null;
  }

  add(step) {
    step.number = this.dropped + this.list.length;
    step.version = 0;
    step.weight = 0;
    this.list.push(step);
    this.touch(step);
    return step;
  }

  /** The step has changed. */
  touch(step) {
    step.version += 1;
    const weight = weigh(step);
    this.chars += weight - step.weight;
    step.weight = weight;
    while (this.list.length > this.max || (this.chars > this.maxChars && this.list.length > 1)) this.drop();
  }

  drop() {
    const step = this.list.shift();
    this.dropped += 1;
    this.chars -= step.weight;
    if (this.tools.get(step.id) === step) this.tools.delete(step.id);
    if (this.permissions.get(step.request) === step) this.permissions.delete(step.request);
    if (this.plan === step) this.plan = null;
  }

  /** Words of `voice` ("message", "thought" or "user") go behind the last ones of the same voice and message. */
  say(voice, text, message = null) {
    if (text === "") return;
    let step = this.last;
    const goesOn = step?.kind === "text" && step.voice === voice && (message === null || step.message === null || step.message === message);
    if (!goesOn || step.size >= TEXT_CHARS || step.markdown.blocks.length >= TEXT_BLOCKS) {
      // A piece cut in the middle of a code block goes on as code.
      const fence = goesOn ? step.markdown.fence : null;
      step = this.add({ kind: "text", voice, message, markdown: new Markdown(), size: 0 });
      step.markdown.fence = fence;
    }
    for (let at = 0; at < text.length; at += BLOCK_CHARS) step.markdown.feed(text.slice(at, at + BLOCK_CHARS));
    step.size += text.length;
    this.touch(step);
  }

  /** A line that says one thing; the same again counts up. */
  note(kind, text) {
    const { last } = this;
    if (last?.kind === kind && last.text === text) {
      last.count += 1;
      this.touch(last);
    } else {
      this.add({ kind, text, count: 1 });
    }
  }

  /** Permissions that nobody has answered. */
  pending() {
    return [...this.permissions.values()].filter((step) => step.answer === null);
  }

  /** Everything as text, for saving. */
  text() {
    return this.list.map(stepSource).filter((part) => part !== "").join("\n\n");
  }
}

function weigh(step) {
  if (step.kind === "text") return step.size;
  if (step.kind === "tool") return toolChars(step);
  if (step.kind === "permission") return toolChars(step.tool);
  return 100;
}

/** The parts of a step that a search looks through; the view finds each again by its place. */
export function stepTexts(step) {
  if (step.kind === "text") return step.markdown.all().map(blockText);
  if (step.kind === "tool") return [toolText(step)];
  if (step.kind === "permission") return [toolText(step.tool)];
  if (step.kind === "plan") return [step.entries.map(({ text }) => text).join("\n")];
  return [step.text];
}

function stepSource(step) {
  if (step.kind === "text") {
    const text = step.markdown.all().map(blockSource).join("\n\n");
    return step.voice === "message" ? text : text.replace(/^/gm, step.voice === "thought" ? "~ " : "> ");
  }
  if (step.kind === "plan") return step.entries.map(({ text, status }) => `[${status === "completed" ? "x" : " "}] ${text}`).join("\n");
  if (step.kind === "tool") return `* ${toolText(step)} (${step.status ?? "no status"})`;
  if (step.kind === "permission") return `? ${toolText(step.tool)}`;
  return `- ${step.text}`;
}
