// The turns of one pane's conversation.

import { el, everyFrame, setText } from "./dom.js";
import { Follow } from "./view-scroll.js";
import { TurnView } from "./view-turn.js";

/** Turns in the page; older ones come by a button. */
const TURNS_STEP = 100;
/** Output chunks and steps in the page over all turns; past it the oldest ended turns are folded up. */
const CHUNKS_MAX = 600;

export class TurnsView {
  /** `part` finds the pane's parts; `facts()` answers {agent, rights} of the task; `answer` a permission. */
  constructor(part, { facts, answer, drawn }) {
    this.part = part;
    this.facts = facts;
    this.answer = answer;
    this.drawn = drawn;
    this.transcript = part("transcript");
    this.conversation = null;
    this.views = new Map();
    this.draw = everyFrame(() => this.render());
    this.follow = new Follow(part("scroller"), part("jump"), {
      complete: () => [...this.views.values()].every((view) => view.complete()),
      toEnd: () => this.draw(),
    });
    this.notice = el("p", { className: "note", hidden: true });
    this.older = el("button", { type: "button", className: "link", hidden: true, onclick: () => this.showOlder() }, "Show older turns");
    part("show-stream").addEventListener("change", (event) => {
      this.transcript.dataset.show = event.target.value;
      this.follow.settle();
    });
  }

  /** The conversation, or the same from its beginning. */
  show(conversation) {
    this.conversation = conversation;
    this.views.clear();
    this.limit = TURNS_STEP;
    this.transcript.replaceChildren(this.notice, this.older);
    this.draw();
  }

  /** Marks what an event changed; the next frame shows it. */
  changed({ turn, kind }) {
    if (turn && kind === "turn") this.views.get(turn.id)?.stale();
    if (kind !== "none") this.draw();
  }

  showOlder() {
    this.limit += TURNS_STEP;
    this.stay();
    this.draw();
  }

  stay() {
    this.follow.following = false;
  }

  render() {
    const { conversation } = this;
    if (!conversation) return;
    const shown = conversation.shown();
    const visible = shown.slice(-this.limit);
    this.older.hidden = visible.length === shown.length;
    this.notices(shown.length);
    this.place(visible);
    const facts = this.facts();
    for (const view of this.views.values()) view.render(this.follow.following, facts);
    if (this.follow.following) this.foldUp(visible);
    this.part("show").hidden = facts.agent || !visible.some((turn) => turn.stderr);
    this.follow.settle();
    this.drawn();
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
      if (!this.views.has(turn.id)) this.views.set(turn.id, this.viewOf(turn));
      const { element } = this.views.get(turn.id);
      if (before.nextElementSibling !== element) before.after(element);
      before = element;
    }
  }

  viewOf(turn) {
    const moved = () => {
      this.stay();
      this.draw();
    };
    return new TurnView(turn, { moved, answer: (step, option) => this.answer(step, option) });
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

  /** Brings a part of a turn into the page and answers its element, or null where the page no longer has it. */
  reveal(id, part) {
    const shown = this.conversation.shown();
    const at = shown.findIndex((turn) => turn.id === id);
    if (at < 0) return null;
    this.stay();
    this.limit = Math.max(this.limit, shown.length - at);
    this.render();
    return this.views.get(id)?.reveal(part, this.facts()) ?? null;
  }
}
