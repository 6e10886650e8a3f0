// The panes side by side, and what is there without one.

import { byId, el } from "./dom.js";
import { seen } from "./panes.js";

export class PanesView {
  constructor() {
    this.root = byId("panes");
    const hint = "Choose a task, or open a new one. What runs in it goes on when this page is closed.";
    this.empty = el("div", { className: "empty" }, el("h2", {}, "No task chosen"), el("p", {}, hint));
    this.root.append(this.empty);
  }

  /** Brings the panes into the page, in order; those that stay are not moved, so that they keep their scroll. */
  place({ tasks }, panes) {
    const wanted = tasks.map((task) => panes.get(task).element);
    for (const element of [...this.root.children]) if (element !== this.empty && !wanted.includes(element)) element.remove();
    let before = this.empty;
    for (const element of wanted) {
      if (before.nextElementSibling !== element) before.after(element);
      before = element;
    }
    this.empty.hidden = tasks.length > 0;
  }

  /** Shows as many as there is room for; one that was hidden is drawn again. */
  render(arranged, panes, room) {
    const shown = seen(arranged, room);
    this.root.style.setProperty("--panes", Math.max(1, shown.length));
    this.root.dataset.panes = shown.length;
    for (const [task, pane] of panes) {
      const isSeen = shown.includes(task);
      if (isSeen && !pane.seen) pane.turns.draw();
      pane.seen = isSeen;
      pane.element.hidden = !isSeen;
    }
  }
}
