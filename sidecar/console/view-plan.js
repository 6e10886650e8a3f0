// An agent's plan as a checklist.

import { planProgress } from "./agent.js";
import { el, setText } from "./dom.js";

const SIGNS = { completed: "☑", in_progress: "◐", pending: "☐" };
const WORDS = { completed: "done", in_progress: "now", pending: "to do" };

export class PlanView {
  constructor(step) {
    this.step = step;
    this.head = el("p", { className: "head" });
    this.list = el("ol", {});
    this.element = el("section", { className: "plan", role: "group", "aria-label": "Plan" }, this.head, this.list);
  }

  render() {
    const { done, all } = planProgress(this.step);
    setText(this.head, `Plan · ${done} of ${all}`);
    this.list.replaceChildren(...this.step.entries.map(({ text, status, priority }) =>
      el("li", { data: { status, priority } }, el("span", { className: "mark", "aria-hidden": "true" }, SIGNS[status] ?? SIGNS.pending), el("span", {}, text), el("span", { className: "hidden" }, `(${WORDS[status] ?? status})`))));
  }

  place() {
    return this.element;
  }
}
