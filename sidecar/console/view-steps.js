// An agent's turn: its steps within a window, so that a turn of ten thousand events is some hundred elements.

import { el } from "./dom.js";
import { PermissionView } from "./view-permission.js";
import { PlanView } from "./view-plan.js";
import { TextView, ThoughtView } from "./view-text.js";
import { ToolView } from "./view-tool.js";
import { atEnd, earlier, later, staying } from "./window.js";

export class StepsView {
  /** `moved` is called when a person asked for another part; `answer` as in PermissionView. */
  constructor(steps, { moved, answer }) {
    this.steps = steps;
    this.moved = moved;
    this.answer = answer;
    this.window = { first: 0, last: 0 };
    this.drawn = new Map(); // step number -> {view, key}
    this.note = el("p", { className: "note", hidden: true });
    this.list = el("div", { className: "steps" });
    this.earlierButton = this.button("Show earlier steps", earlier);
    this.laterButton = this.button("Show later steps", later);
    this.element = el("div", {}, this.note, this.earlierButton, this.list, this.laterButton);
  }

  button(label, move) {
    const onclick = () => {
      this.window = move(this.window, this.range());
      this.moved();
    };
    return el("button", { type: "button", className: "more link", hidden: true, onclick }, label);
  }

  range() {
    return { kept: this.steps.dropped, end: this.steps.dropped + this.steps.list.length };
  }

  complete() {
    return this.window.last >= this.range().end;
  }

  size() {
    return this.drawn.size;
  }

  render(following, running, rights) {
    const range = this.range();
    this.window = following ? atEnd(range) : staying(this.window, range);
    this.place(running, rights);
    this.earlierButton.hidden = this.window.first <= range.kept;
    this.laterButton.hidden = this.window.last >= range.end;
    this.note.hidden = this.steps.dropped === 0;
    if (this.steps.dropped > 0) this.note.textContent = `The first ${this.steps.dropped.toLocaleString()} steps are too much for this page; “holdfast task attach” shows them.`;
  }

  place(running, rights) {
    const { first, last } = this.window;
    for (const [number, { view }] of this.drawn) {
      if (number >= first && number < last) continue;
      view.element.remove();
      this.drawn.delete(number);
    }
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
    const range = this.range();
    if (number < range.kept || number >= range.end) return null;
    if (number < this.window.first || number >= this.window.last) {
      this.window = staying({ first: Math.max(range.kept, number - 20), last: 0 }, range);
      this.render(false, running, rights);
    }
    return this.drawn.get(number)?.view.place(at) ?? null;
  }
}

/** What an agent said in a way this page does not know, or a change of its mode. */
class LineView {
  constructor(step) {
    this.step = step;
    this.element = el("p", { className: "line-step", data: { kind: step.kind } });
  }

  render() {
    const { kind, text, count } = this.step;
    const times = count > 1 ? ` ×${count}` : "";
    this.element.textContent = kind === "mode" ? `Mode: ${text}${times}` : `${text}${times} · an update that this page does not know`;
  }

  place() {
    return this.element;
  }
}
