// The node's state at the top of the page: a word, a sentence when it needs one, and a panel with the facts.

import { announce, byId, el, setText } from "./dom.js";
import { STATES, UPDATE_STATES } from "./messages.js";

/** A switch takes milliseconds: its word stays this long, so that it can be read. */
const TRANSITION_SHOWN_MS = 900;
const TRANSITIONS = new Set(["switching", "settling", "starting"]);
const WITH_BANNER = new Set(["offline", "reconnecting", "restarting", "degraded", "stopping"]);
/** A connection that is back sooner than this was no more than a word. */
const BANNER_AFTER_MS = 1_500;

export class NodeView {
  constructor({ forget }) {
    this.pill = byId("node-pill");
    this.panel = byId("node-panel");
    this.label = null;
    this.flash = null; // {state, until}
    this.drawn = null; // {state, node} as drawn last: the panel opens with it
    this.forget = forget;
    this.pill.addEventListener("click", () => this.open(this.panel.hidden));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.panel.hidden) return;
      this.open(false);
      this.pill.focus();
    });
    document.addEventListener("click", (event) => {
      if (!this.panel.contains(event.target) && !this.pill.contains(event.target)) this.open(false);
    });
  }

  open(opened) {
    if (opened && this.drawn) this.drawPanel(this.drawn.state, this.drawn.node);
    this.panel.hidden = !opened;
    this.pill.setAttribute("aria-expanded", String(opened));
  }

  /** The node said that it is in `state` now, however briefly. */
  transition(state, now) {
    if (TRANSITIONS.has(state)) this.flash = { state, until: now + TRANSITION_SHOWN_MS };
  }

  /** Draws; answers in how many milliseconds it is to be drawn again, or null. */
  render(label, node, now, since) {
    if (this.flash && now >= this.flash.until) this.flash = null;
    const flashing = this.flash !== null && label === "running";
    const shown = flashing ? this.flash.state : label;
    const state = STATES[shown] ?? STATES.connected;
    if (shown !== this.label) {
      if (this.label !== null && shown !== "connected") announce(`${state.label}. ${state.text}`);
      this.label = shown;
      document.body.dataset.connection = shown;
    }
    this.pill.dataset.tone = state.tone;
    setText(byId("node-label"), state.label);
    setText(byId("node-brief"), brief(node));
    const until = this.banner(shown, state, now - (since ?? now));
    this.drawn = { state, node };
    if (!this.panel.hidden) this.drawPanel(state, node);
    return flashing ? this.flash.until - now : until;
  }

  /** Answers in how many milliseconds a banner is due that is not shown yet, or null. */
  banner(shown, state, downFor) {
    const banner = byId("banner");
    const early = shown === "reconnecting" && downFor < BANNER_AFTER_MS;
    const wanted = WITH_BANNER.has(shown) && !early;
    banner.hidden = !wanted;
    banner.dataset.tone = state.tone;
    if (wanted) setText(banner, state.text);
    return early ? BANNER_AFTER_MS - downFor : null;
  }

  drawPanel(state, node) {
    const { active, update } = node;
    const facts = [
      ["Slot", active?.slot], ["Epoch", active?.epoch], ["Release", active?.release], ["Runtime", active?.runtime_instance_id],
      ["Update", UPDATE_STATES[update?.state] ?? (update?.state === "idle" ? "none" : update?.state)], ["Reason", update?.failure_reason ?? update?.planned_reason],
    ].filter(([, value]) => value !== undefined && value !== null && value !== "");
    const list = el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
    const key = JSON.stringify([state.label, facts, node.transitions.length, node.transitions.at(-1)]);
    if (key === this.panelKey) return;
    this.panelKey = key;
    const steps = node.transitions.slice(-12).reverse().map(transitionRow);
    const forget = el("button", { type: "button", onclick: this.forget }, "Forget the token");
    this.panel.replaceChildren(
      el("h2", {}, state.label), el("p", { className: "hint" }, state.text), list,
      ...(steps.length > 0 ? [el("h3", {}, "Last transitions"), el("ol", {}, ...steps)] : []),
      el("div", { className: "foot" }, forget),
    );
  }
}

function transitionRow({ state, slot, epoch, at }) {
  const word = STATES[state]?.label ?? state;
  const where = slot ? `slot ${slot}${epoch === undefined ? "" : `, epoch ${epoch}`}` : "";
  const time = new Date(at).toLocaleTimeString();
  return el("li", {}, el("time", {}, time), el("span", { className: "dot", data: { tone: STATES[state]?.tone ?? "quiet" } }), `${word}${where ? ` · ${where}` : ""}`);
}

function brief({ active, update }) {
  const parts = [];
  if (active?.release) parts.push(`release ${active.release}`);
  if (active?.slot) parts.push(`slot ${active.slot}`);
  const updating = UPDATE_STATES[update?.state];
  if (updating) parts.push(updating.toLowerCase());
  return parts.join(" · ");
}
