// The turns of the conversation on show.

import { announce, byId, el, everyFrame, setText } from "./dom.js";
import { durationText, sealText } from "./messages.js";
import { OutputView } from "./view-output.js";
import { Follow } from "./view-scroll.js";

/** Turns in the page; older ones come by a button. */
const TURNS_STEP = 100;
/** Output chunks in the page over all turns; past it the oldest ended turns are folded up. */
const CHUNKS_MAX = 600;

export class TurnsView {
  constructor() {
    this.transcript = byId("transcript");
    this.conversation = null;
    this.draw = everyFrame(() => this.render());
    this.follow = new Follow(byId("scroller"), byId("jump"), {
      complete: () => [...this.views.values()].every((view) => view.complete()),
      toEnd: () => this.draw(),
    });
    this.views = new Map();
    this.notice = el("p", { className: "note", hidden: true });
    this.older = el("button", { type: "button", className: "link", hidden: true, onclick: () => this.showOlder() }, "Show older turns");
    byId("show-stream").addEventListener("change", (event) => {
      this.transcript.dataset.show = event.target.value;
      this.follow.settle();
    });
  }

  /** Another conversation, or the same from its beginning; null shows the empty page. */
  show(conversation, skill) {
    const again = conversation !== null && this.conversation?.task === conversation.task;
    this.conversation = conversation;
    this.skill = skill;
    this.views.clear();
    this.limit = TURNS_STEP;
    this.transcript.replaceChildren(this.notice, this.older);
    if (!again) this.follow.restart();
    this.draw();
  }

  /** Marks what an event changed; the next frame shows it. */
  changed({ turn, kind }) {
    if (turn && kind === "turn") this.views.get(turn.id)?.stale();
    if (kind !== "none") this.draw();
  }

  showOlder() {
    this.limit += TURNS_STEP;
    this.follow.following = false;
    this.draw();
  }

  render() {
    const { conversation } = this;
    if (!conversation) return;
    const shown = conversation.shown();
    const visible = shown.slice(-this.limit);
    this.older.hidden = visible.length === shown.length;
    this.notices(shown.length);
    this.place(visible);
    for (const view of this.views.values()) view.render(this.follow.following, this.skill);
    if (this.follow.following) this.foldUp(visible);
    byId("show").hidden = !visible.some((turn) => turn.stderr);
    this.follow.settle();
  }

  notices(turns) {
    const { truncated, missing, loaded } = this.conversation;
    const parts = [];
    if (truncated) parts.push("The beginning of this conversation is no longer kept by the node.");
    if (missing > 0) parts.push(`${missing.toLocaleString()} events could not be had; reload the page to try again.`);
    if (!loaded) parts.push("Loading…");
    else if (turns === 0 && parts.length === 0) parts.push("No turns yet. What you send below runs in this task's workspace, and goes on when this page is closed.");
    setText(this.notice, parts.join(" "));
    this.notice.hidden = parts.length === 0;
  }

  place(visible) {
    const wanted = new Set(visible.map((turn) => turn.id));
    for (const [id, view] of this.views) {
      if (wanted.has(id)) continue;
      view.element.remove();
      this.views.delete(id);
    }
    let before = this.older;
    for (const turn of visible) {
      if (!this.views.has(turn.id)) this.views.set(turn.id, new TurnView(turn, () => { this.follow.following = false; this.draw(); }));
      const { element } = this.views.get(turn.id);
      if (before.nextElementSibling !== element) before.after(element);
      before = element;
    }
  }

  foldUp(visible) {
    let chunks = 0;
    for (const view of this.views.values()) chunks += view.chunks();
    for (const turn of visible) {
      if (chunks <= CHUNKS_MAX) return;
      const view = this.views.get(turn.id);
      if (turn.state !== "sealed" || view.pinned) continue;
      chunks -= view.chunks();
      view.fold();
    }
  }
}

class TurnView {
  constructor(turn, moved) {
    this.turn = turn;
    this.moved = moved;
    this.output = null;
    this.folded = false;
    this.pinned = false; // opened by a person, not folded up again
    this.ask = el("div", { className: "ask", tabIndex: 0 });
    this.badge = el("span", { className: "badge" });
    this.cut = el("p", { className: "note cut", hidden: true }, "A part of this turn is no longer kept by the node.");
    this.body = el("div", { className: "body" });
    this.foot = el("footer", { hidden: true });
    this.element = el("section", { className: "turn", "aria-label": `Turn ${turn.id}`, data: { turn: turn.id } },
      el("header", {}, this.ask, this.badge), this.cut, this.body, this.foot);
    this.isStale = true;
    this.wasRunning = false;
  }

  stale() {
    this.isStale = true;
  }

  complete() {
    return this.output === null || this.output.complete();
  }

  chunks() {
    return this.output?.size() ?? 0;
  }

  fold() {
    this.folded = true;
    this.output = null;
    const lines = this.turn.screen.lines.toLocaleString();
    const onclick = () => {
      this.folded = false;
      this.pinned = true;
      this.body.replaceChildren();
      this.moved();
    };
    this.body.replaceChildren(el("button", { type: "button", className: "more link", onclick }, `Show output (${lines} lines)`));
  }

  render(following, skill) {
    const { turn } = this;
    if (this.output && this.output.screen !== turn.screen) this.forget();
    if (!this.folded && turn.screen.chunks.length > 0) {
      this.output ??= new OutputView(this.body, turn.screen, this.moved);
      this.output.render(following);
    }
    if (this.isStale) this.renderFrame(skill);
    this.isStale = false;
  }

  forget() {
    this.output = null;
    this.body.replaceChildren(el("p", { className: "note" }, "This turn's output is more than the page keeps; “holdfast task attach” shows it."));
  }

  renderFrame(skill) {
    const { turn } = this;
    this.element.dataset.skill = skill ?? "command";
    this.element.dataset.state = turn.state;
    this.cut.hidden = !turn.cut;
    setText(this.ask, turn.text ?? "(the prompt is no longer kept)");
    const running = turn.state === "running";
    this.badge.className = running ? "badge running" : "badge";
    this.badge.dataset.tone = running ? "good" : "quiet";
    this.badge.replaceChildren(...(running ? [el("span", { className: "dot", "aria-hidden": "true" }), "running"] : []));
    if (turn.state === "sealed") this.renderSeal();
    this.wasRunning = running;
  }

  renderSeal() {
    const { text, tone } = sealText(this.turn);
    this.foot.dataset.tone = tone;
    const detail = this.turn.message ? ` · ${this.turn.message}` : "";
    const save = el("button", { type: "button", className: "link", onclick: () => this.save() }, "Save output");
    const lines = this.turn.screen.lines;
    const facts = [durationText(this.turn), lines > 0 ? `${lines.toLocaleString()} ${lines === 1 ? "line" : "lines"}` : null];
    const rest = [el("span", { className: "grow" }), el("span", {}, facts.filter(Boolean).join(" · "))];
    this.foot.replaceChildren(el("span", { className: "seal" }, text + detail), ...rest, ...(lines > 0 ? [save] : []));
    this.foot.hidden = false;
    if (this.wasRunning) announce(`Turn ended. ${text}${detail}`);
  }

  save() {
    const url = URL.createObjectURL(new Blob([this.turn.screen.text()], { type: "text/plain" }));
    el("a", { href: url, download: `turn-${this.turn.id}.txt` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}
