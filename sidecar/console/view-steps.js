// An agent's turn: its steps within a window, so that a turn of ten thousand events is some hundred elements.

import { el } from "./dom.js";
import { PermissionView } from "./view-permission.js";
import { PlanView } from "./view-plan.js";
import { TextView, ThoughtView } from "./view-text.js";
import { ToolView } from "./view-tool.js";
import { WindowView } from "./view-window.js";

export class StepsView {
  /** `moved` is called when a person asked for another part; `answer` as in PermissionView. */
  constructor(steps, { moved, answer }) {
    this.steps = steps;
    this.answer = answer;
    this.window = new WindowView("steps", () => this.range(), moved);
    this.drawn = new Map(); // step number -> {view, key}
    this.note = el("p", { className: "note", hidden: true });
    this.list = el("div", { className: "steps" });
    this.element = el("div", {}, this.note, this.window.earlier, this.list, this.window.later);
  }

  range() {
    return { kept: this.steps.dropped, end: this.steps.dropped + this.steps.list.length };
  }

  complete() {
    return this.window.complete();
  }

  size() {
    return this.drawn.size;
  }

  render(following, running, rights) {
    this.window.settle(following);
    this.place(running, rights);
    this.note.hidden = this.steps.dropped === 0;
    if (this.steps.dropped > 0) this.note.textContent = `The first ${this.steps.dropped.toLocaleString()} steps are too much for this page; “holdfast task attach --all” shows them.`;
  }

  place(running, rights) {
    const { first, last } = this.window.shown;
    this.window.prune(this.drawn, ({ view }) => view.element);
    let before = null;
    for (let number = first; number < last; number++) {
      const { view } = this.draw(this.steps.list[number - this.steps.dropped], running, rights);
      const next = before === null ? this.list.firstChild : before.nextSibling;
      if (next !== view.element) this.list.insertBefore(view.element, next);
      before = view.element;
    }
  }

  draw(step, running, rights) {
    let drawn = this.drawn.get(step.number);
    if (!drawn) {
      drawn = { view: this.viewOf(step), key: null };
      drawn.view.element.dataset.step = step.number;
      this.drawn.set(step.number, drawn);
    }
    step.isLast = step === this.steps.last;
    const key = `${step.version} ${running} ${step.isLast} ${rights.act}`;
    if (drawn.key !== key) drawn.view.render(running, rights);
    drawn.key = key;
    return drawn;
  }

  viewOf(step) {
    if (step.kind === "text") return step.voice === "thought" ? new ThoughtView(step) : new TextView(step);
    if (step.kind === "tool") return new ToolView(step);
    if (step.kind === "permission") return new PermissionView(step, this.answer);
    return step.kind === "plan" ? new PlanView(step) : new LineView(step);
  }

  /** The element of a part of a step, brought into the page. */
  reveal({ step: number, at }, running, rights) {
    if (!this.window.moveTo(number, 20)) return null;
    this.render(false, running, rights);
    return this.drawn.get(number)?.view.place(at) ?? null;
  }
}

/** What an agent said in a way this page does not know or that is too long, a change of its mode, or that it has begun anew. */
class LineView {
  constructor(step) {
    this.step = step;
    this.element = el("p", { className: "line-step", data: { kind: step.kind } });
  }

  render() {
    const { kind, text, count } = this.step;
    const times = count > 1 ? ` ×${count}` : "";
    const said = { mode: `Mode: ${text}${times}`, long: `${text}${times}`, lost: text };
    this.element.textContent = said[kind] ?? `${text}${times} · an update that this page does not know`;
  }

  place() {
    return this.element;
  }
}
