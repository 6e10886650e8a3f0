// The head of the conversation: the task's name and state, its buttons, the page's title.

import { byId, el, setText } from "./dom.js";
import { STATES, TASK_STATES } from "./messages.js";

/** States of a task in which a prompt is taken. */
const OPEN_STATES = new Set(["ready", "idle", "active", "creating"]);

export class HeadView {
  /** `stop()` and `reopen()` the task on show. */
  constructor({ stop, reopen }) {
    byId("task-stop").addEventListener("click", stop);
    byId("task-reopen").addEventListener("click", reopen);
  }

  /** Draws the head of `task` (null: not known yet). Answers why it takes no prompts now, or null. */
  render(name, task) {
    byId("task-head").hidden = byId("compose").hidden = name === null;
    if (name === null) {
      drawEmpty();
      return null;
    }
    const state = task?.state ?? null;
    const word = TASK_STATES[state] ?? state;
    setText(byId("task-name"), name);
    setText(byId("task-state"), word ?? "");
    byId("task-state").dataset.tone = state === "active" ? "good" : state === "errored" ? "bad" : "quiet";
    const shut = state !== null && !OPEN_STATES.has(state);
    byId("task-reopen").hidden = !shut;
    byId("task-stop").hidden = shut || state === null;
    const why = typeof task?.error === "string" && state === "errored" ? ` (${task.error})` : "";
    return shut ? `This task is ${word}${why}. Open it again to go on.` : null;
  }

  title(name, running, label) {
    const words = [name, label === "running" ? null : STATES[label]?.label, "Holdfast"].filter(Boolean).join(" · ");
    setText(document.querySelector("title"), running ? `● ${words}` : words);
  }
}

function drawEmpty() {
  const transcript = byId("transcript");
  if (transcript.querySelector(".empty")) return;
  const hint = "Choose a task, or open a new one. What runs in it goes on when this page is closed.";
  transcript.replaceChildren(el("div", { className: "empty" }, el("h2", {}, "No task chosen"), el("p", {}, hint)));
}
