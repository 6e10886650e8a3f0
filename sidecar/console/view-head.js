// The head of a pane: the task's name and state, its buttons.

import { partsOf, setText } from "./dom.js";
import { STATES, TASK_STATES, errorText } from "./messages.js";

/** States of a task in which a prompt is taken. */
const OPEN_STATES = new Set(["ready", "idle", "active", "creating"]);

export class HeadView {
  /** `stop()`, `reopen()`, `close()` the pane's task; `search()` in it. */
  constructor(root, { stop, reopen, close, search }) {
    this.part = partsOf(root);
    this.part("task-stop").addEventListener("click", stop);
    this.part("task-reopen").addEventListener("click", reopen);
    this.part("pane-close").addEventListener("click", close);
    this.part("find-open").addEventListener("click", search);
  }

  /** Draws the head of `task` (null: not known yet). Answers why it takes no prompts now, or null. */
  render({ name, task, pending, title, act, several }) {
    const state = task?.state ?? null;
    const word = TASK_STATES[state] ?? state;
    setText(this.part("task-name"), name);
    this.part("task-name").title = title ?? name;
    setText(this.part("task-state"), pending > 0 ? "asks you" : (word ?? ""));
    this.part("task-state").dataset.tone = pending > 0 ? "warn" : state === "active" ? "good" : state === "errored" ? "bad" : "quiet";
    const shut = state !== null && !OPEN_STATES.has(state);
    this.part("task-reopen").hidden = !shut || act === false;
    this.part("task-stop").hidden = shut || state === null || act === false;
    this.part("pane-close").hidden = !several;
    this.trouble(task?.trouble ?? null);
    if (act === false) return "This token only reads.";
    const why = typeof task?.error === "string" && state === "errored" ? ` (${task.error})` : "";
    return shut ? `This task is ${word}${why}. Open it again to go on.` : null;
  }

  /** Why the task's worker is not there, as the node said last. */
  trouble(error) {
    const box = this.part("trouble");
    box.hidden = error === null;
    if (error === null) return;
    const { advice, said, name } = errorText(error);
    setText(box, `${advice} ${[name, said].filter(Boolean).join(": ")}`);
  }
}

/** The page's own title: which tasks ask, the task in focus, whether it runs, and the node where it does not simply run. */
export function pageTitle({ name, running, asking, label }) {
  const others = asking.filter((task) => task !== name);
  const ask = others.length === 0 ? null : others.length === 1 ? `${others[0]} asks` : `${others.length} tasks ask`;
  const words = [ask, name, label === "running" ? null : STATES[label]?.label, "Holdfast"].filter(Boolean).join(" · ");
  const sign = asking.length > 0 ? "? " : running ? "● " : "";
  setText(document.querySelector("title"), sign + words);
}
