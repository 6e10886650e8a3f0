// A tool call: one line with its state, its content behind it.

import { diff } from "./diff.js";
import { el, setText } from "./dom.js";
import { toolTitle } from "./tool.js";
import { counts, diffView } from "./view-diff.js";

const STATUS = {
  pending: { icon: "○", word: "waiting", tone: "quiet" }, in_progress: { icon: "◌", word: "running", tone: "busy" },
  completed: { icon: "✓", word: "done", tone: "good" }, failed: { icon: "✗", word: "failed", tone: "bad" },
};
const UNFINISHED = { icon: "–", word: "not finished", tone: "quiet" };
const KINDS = { read: "Read", edit: "Edit", delete: "Delete", move: "Move", search: "Search", execute: "Run", think: "Think", fetch: "Fetch", switch_mode: "Mode" };
/** Diffs are counted in the line only where that costs nothing. */
const COUNTED_CHARS = 100_000;

export class ToolView {
  constructor(step) {
    this.step = step;
    this.icon = el("span", { className: "icon", "aria-hidden": "true" });
    this.kind = el("span", { className: "kind" });
    this.title = el("span", { className: "title" });
    this.facts = el("span", { className: "facts" });
    this.state = el("span", { className: "state" });
    this.body = el("div", { className: "inside" });
    this.element = el("details", { className: "tool" }, el("summary", {}, this.icon, this.kind, this.title, this.facts, this.state), this.body);
    this.element.addEventListener("toggle", () => this.drawInside());
    this.drawn = -1;
  }

  render(running) {
    const { step } = this;
    const open = step.status === null || step.status === "pending" || step.status === "in_progress";
    const status = open && !running ? UNFINISHED : (STATUS[step.status] ?? STATUS.pending);
    this.element.dataset.tone = status.tone;
    this.element.dataset.status = step.status ?? "";
    setText(this.icon, status.icon);
    setText(this.state, status.word);
    setText(this.kind, kindWord(step));
    this.kind.hidden = this.kind.textContent === "";
    setText(this.title, toolTitle(step));
    this.facts.replaceChildren(...facts(step));
    this.drawInside();
  }

  drawInside() {
    if (!this.element.open || this.drawn === this.step.version) return;
    this.drawn = this.step.version;
    this.body.replaceChildren(...toolContent(this.step));
  }

  place() {
    this.element.open = true;
    this.drawInside();
    return this.element;
  }
}

/** What sort of call it is, unless its title begins with just that. */
function kindWord(step) {
  const word = KINDS[step.toolKind] ?? "";
  return toolTitle(step).toLowerCase().startsWith(word.toLowerCase()) ? "" : word;
}

function facts({ content }) {
  const diffs = content.filter(({ type }) => type === "diff");
  if (diffs.length === 0 || diffs.reduce((sum, { oldText, newText }) => sum + oldText.length + newText.length, 0) > COUNTED_CHARS) return [];
  const all = diffs.map(({ oldText, newText }) => diff(oldText, newText));
  const sum = (name) => all.reduce((total, one) => total + one[name], 0);
  return counts({ added: sum("added"), removed: sum("removed"), tooLong: false });
}

/** What a call was given, did and answered, as elements. */
export function toolContent(tool) {
  const parts = [];
  if (tool.locations.length > 0) parts.push(el("p", { className: "places" }, ...tool.locations.map(place)));
  if (tool.input !== null) parts.push(labelled("Input", tool.input));
  for (const content of tool.content) parts.push(contentView(content));
  if (tool.output !== null && tool.content.length === 0) parts.push(labelled("Output", tool.output));
  return parts.length > 0 ? parts : [el("p", { className: "note" }, "Nothing more is said about this call.")];
}

const place = ({ path, line }) => el("code", {}, line === null ? path : `${path}:${line}`);
const labelled = (label, text) => el("div", {}, el("p", { className: "label" }, label), el("pre", { className: "plain" }, text));

function contentView(content) {
  if (content.type === "diff") return diffView(content);
  if (content.type === "terminal") return el("p", { className: "terminal" }, "Terminal ", el("code", {}, content.id));
  return el("pre", { className: "plain" }, content.text);
}
