// The list of tasks and the form that opens one.

import { byId, el } from "./dom.js";
import { TASK_STATES, errorText } from "./messages.js";
import { Tasks } from "./store.js";

const TONES = { active: "good", errored: "bad", creating: "busy" };
/** Skills that every node has; others are named as soon as a task uses them. */
const BUILT_IN = ["command", "demo"];
/** Suggestions below the field. */
const SKILLS_MAX = 8;

export class TasksView {
  /** `choose(task)`, `beside(task)` and `open(task, skill)`, which answers an error or null. */
  constructor({ choose, beside, open }) {
    this.choose = choose;
    this.beside = beside;
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
    const button = byId("open-form").querySelector("button.primary");
    byId("open-error").hidden = true;
    button.disabled = true;
    const error = await open(name.value.trim(), byId("open-skill").value.trim());
    button.disabled = false;
    if (error) this.problem(error);
    else {
      name.value = "";
      this.drawer(false);
    }
  }

  problem(error) {
    const { advice, said } = errorText(error);
    byId("open-error").textContent = `${advice} ${said}`;
    byId("open-error").hidden = false;
  }

  /** Draws only what differs: a button that is replaced between press and release is not clicked. `asking` are the tasks that wait for a person. */
  render(tasks, { tasks: open, focus }, roomy, asking) {
    this.badge(asking.length);
    const sorted = tasks.sorted();
    const key = JSON.stringify([tasks.known, open, focus, roomy, asking, sorted.map(({ task, skill, state, queued }) => [task, skill, state, Tasks.waiting({ queued })])]);
    if (key === this.key) return;
    this.key = key;
    const focused = document.activeElement?.dataset?.for;
    const rows = sorted.map((task) => this.row(task, open, focus, roomy, asking.includes(task.task)));
    byId("task-list").replaceChildren(...rows);
    byId("task-none").hidden = !tasks.known || rows.length > 0;
    if (focused !== undefined) rows.flatMap((row) => [...row.children]).find((button) => button.dataset.for === focused)?.focus();
    this.skills(sorted);
  }

  /** Where the list is behind a button, that says how many ask. */
  badge(count) {
    this.toggle.toggleAttribute("data-asks", count > 0);
    this.toggle.dataset.count = String(count);
    this.toggle.setAttribute("aria-label", count > 0 ? `Tasks, ${count === 1 ? "one asks" : `${count} ask`} you` : "Tasks");
  }

  row(task, open, focus, roomy, asks) {
    const queued = Tasks.waiting(task);
    const state = asks ? "asks you" : (TASK_STATES[task.state] ?? task.state ?? "");
    const note = task.state === "active" && !asks ? (queued > 0 ? `+${queued}` : "") : state;
    const running = task.state === "active";
    const dot = el("span", { className: "dot", data: { tone: asks ? "warn" : (TONES[task.state] ?? "quiet") }, "aria-hidden": "true" });
    const button = el("button", {
      type: "button", className: running ? "running" : "", title: `${task.task}: ${state}`, data: { task: task.task, for: task.task },
      onclick: () => { this.drawer(false); this.choose(task.task); },
    }, dot, el("span", { className: "name" }, task.task), el("span", { className: asks ? "note asks" : "note" }, note));
    if (task.task === focus) button.setAttribute("aria-current", "true");
    button.toggleAttribute("data-open", open.includes(task.task));
    const row = el("li", {}, button);
    if (roomy && focus !== null && !open.includes(task.task)) row.append(this.besideButton(task.task));
    return row;
  }

  besideButton(task) {
    return el("button", {
      type: "button", className: "beside", title: "Open beside", "aria-label": `Open ${task} beside`, data: { for: `${task} beside` }, onclick: () => this.beside(task),
    }, "◫");
  }

  skills(tasks) {
    const known = [...new Set([...BUILT_IN, ...tasks.map(({ skill }) => skill).filter((skill) => typeof skill === "string")])].slice(0, SKILLS_MAX);
    const chip = (skill) => el("button", {
      type: "button", "aria-label": `Use skill ${skill}`, onclick: () => { byId("open-skill").value = skill; },
    }, skill);
    byId("skills").replaceChildren(...known.map(chip));
  }
}
