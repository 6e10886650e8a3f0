// The list of tasks and the form that opens one.

import { byId, el } from "./dom.js";
import { TASK_STATES, errorText } from "./messages.js";
import { Tasks } from "./store.js";

const TONES = { active: "good", errored: "bad", creating: "busy" };

export class TasksView {
  /** `choose(task)` and `open(task, skill)`, which answers an error or null. */
  constructor({ choose, open }) {
    this.choose = choose;
    this.sidebar = byId("sidebar");
    this.toggle = byId("tasks-toggle");
    this.toggle.addEventListener("click", () => this.drawer(!this.sidebar.hasAttribute("data-open")));
    this.sidebar.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.drawer(false);
    });
    byId("open-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      await this.submit(open);
    });
  }

  drawer(opened) {
    this.sidebar.toggleAttribute("data-open", opened);
    this.toggle.setAttribute("aria-expanded", String(opened));
  }

  async submit(open) {
    const name = byId("open-name");
    const failure = byId("open-error");
    const button = byId("open-form").querySelector("button");
    failure.hidden = true;
    button.disabled = true;
    const error = await open(name.value.trim(), byId("open-skill").value.trim());
    button.disabled = false;
    if (error) {
      const { advice, said } = errorText(error);
      failure.textContent = `${advice} ${said}`;
      failure.hidden = false;
    } else {
      name.value = "";
      this.drawer(false);
    }
  }

  /** Draws only what differs: a button that is replaced between press and release is not clicked. */
  render(tasks, selected) {
    const key = JSON.stringify([tasks.known, selected, tasks.sorted().map(({ task, state, queued }) => [task, state, Tasks.waiting({ queued })])]);
    if (key === this.key) return;
    this.key = key;
    const focused = document.activeElement?.dataset?.task;
    const rows = tasks.sorted().map((task) => this.row(task, task.task === selected));
    byId("task-list").replaceChildren(...rows);
    byId("task-none").hidden = !tasks.known || rows.length > 0;
    if (focused !== undefined) rows.map((row) => row.firstChild).find((button) => button.dataset.task === focused)?.focus();
  }

  row(task, current) {
    const queued = Tasks.waiting(task);
    const state = TASK_STATES[task.state] ?? task.state ?? "";
    const note = task.state === "active" ? (queued > 0 ? `+${queued}` : "") : state;
    const running = task.state === "active";
    const dot = el("span", { className: "dot", data: { tone: TONES[task.state] ?? "quiet" }, "aria-hidden": "true" });
    const button = el("button", {
      type: "button", className: running ? "running" : "", title: `${task.task}: ${state}`, data: { task: task.task },
      onclick: () => { this.drawer(false); this.choose(task.task); },
    }, dot, el("span", { className: "name" }, task.task), el("span", { className: "note" }, note));
    if (current) button.setAttribute("aria-current", "true");
    return el("li", {}, button);
  }
}
