// The line below a pane's prompt: what the node's transition means here, the agent's plan, mode and context.

import { planProgress } from "./agent.js";
import { el, partsOf, setText } from "./dom.js";
import { meter, short } from "./usage.js";

export class StatusView {
  /** `mode(id)` sets the agent's mode; `toPending()` goes to the permission that waits. */
  constructor(root, { mode, toPending }) {
    this.part = partsOf(root);
    this.select = this.part("mode");
    this.select.addEventListener("change", () => mode(this.select.value));
    this.part("pending").addEventListener("click", toPending);
    this.modesKey = null;
  }

  render({ pause, modes, setting, act, usage, plan, pending, agent }) {
    const note = this.part("pause");
    note.hidden = pause === null;
    this.part("hint").hidden = pause !== null || act === false;
    setText(note, pause ?? "");
    setText(this.part("hint"), `Enter sends, Shift+Enter makes a new line${agent ? ", / lists the agent's commands" : ""}.`);
    this.renderModes(modes, setting, act);
    this.renderUsage(usage);
    this.renderPlan(plan);
    this.part("pending").hidden = pending === 0;
    setText(this.part("pending"), pending === 1 ? "A permission waits ↑" : `${pending} permissions wait ↑`);
  }

  renderModes(modes, setting, act) {
    this.part("mode-label").hidden = modes === null;
    if (modes === null) return;
    const key = JSON.stringify(modes.all);
    if (key !== this.modesKey) this.select.replaceChildren(...modes.all.map(({ id, name, description }) => el("option", { value: id, title: description }, name)));
    this.modesKey = key;
    this.select.disabled = setting !== null || act === false;
    const current = setting ?? modes.current;
    if (this.select.value !== current) this.select.value = current;
  }

  renderUsage(usage) {
    const box = this.part("usage");
    const shown = meter(usage);
    const only = shown === null && usage?.used != null ? `${short(usage.used)} tokens` : null;
    box.hidden = shown === null && only === null;
    if (box.hidden) return;
    box.dataset.tone = shown?.tone ?? "quiet";
    this.part("usage-bar").hidden = shown === null;
    if (shown) this.part("usage-bar").value = shown.share;
    box.title = shown ? `The agent's context: ${shown.text}` : "The agent's context";
    setText(this.part("usage-text"), shown ? `${shown.percent} % of ${short(usage.size)}` : only);
  }

  renderPlan(plan) {
    const box = this.part("plan");
    box.hidden = plan === null;
    if (plan === null) return;
    const { done, all, current } = planProgress(plan);
    setText(box, `${done}/${all}${current === null ? "" : ` ${current}`}`);
    box.title = `Plan: ${done} of ${all} done`;
  }
}
