// The turns of one pane's conversation.

import { announce, el, everyFrame, setText } from "./dom.js";
import { Follow } from "./view-scroll.js";
import { TurnView } from "./view-turn.js";

/** Turns in the page; older ones come by a button. */
const TURNS_STEP = 100;
/** Output chunks and steps in the page over all turns; past it the oldest ended turns are folded up. */
const CHUNKS_MAX = 600;
/** Whoever scrolls up to so far from the top is given more. */
const TOP_PX = 240;

export class TurnsView {
  /** `part` finds the pane's parts; `facts()` answers {agent, rights} of the task; `answer` a permission; `past` is the conversation's Past, and `load()` brings more of it. */
  constructor(part, { facts, answer, drawn, past, load }) {
    this.past = past;
    this.load = load;
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
    this.older = el("button", { type: "button", className: "older link", hidden: true, onclick: () => this.showOlder() });
    part("scroller").addEventListener("scroll", () => this.scrolled(), { passive: true });
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
    this.first = undefined;
    this.transcript.replaceChildren(this.notice, this.older);
    this.draw();
  }

  /** Marks what an event changed; the next frame shows it. */
  changed({ turn, kind }) {
    if (turn && kind === "turn") this.views.get(turn.id)?.stale();
    if (kind !== "none") this.draw();
  }

  /** More is given before its want is felt, to whoever goes there; after an error only to whoever presses the button. */
  scrolled() {
    if (!this.follow.following && !this.older.hidden && !this.past.failed && this.part("scroller").scrollTop < TOP_PX) this.showOlder();
  }

  /** Older turns: those that the page has, or more from the node. */
  showOlder() {
    if (this.past.loading) return;
    this.stay();
    if (this.hiddenTurns() > 0) this.limit += TURNS_STEP;
    else this.load();
    this.draw();
  }

  hiddenTurns() {
    return Math.max(0, this.conversation.shown().length - this.limit);
  }

  /** The conversation has more turns at its beginning, `count` of them shown. */
  prepended(count) {
    this.limit += count;
    announce(count === 1 ? "One older turn" : `${count} older turns`);
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
    const anchor = this.anchor(visible[0]?.id);
    this.offer(shown.length - visible.length);
    this.notices(shown.length);
    this.place(visible);
    const facts = this.facts();
    for (const view of this.views.values()) view.render(this.follow.following, facts);
    if (anchor) this.part("scroller").scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
    if (this.follow.following) this.foldUp(visible);
    this.part("show").hidden = facts.agent || !visible.some((turn) => turn.stderr);
    this.follow.settle();
    this.drawn();
  }

  /** What a person reads now, if something is about to come before it: it stays where it is. */
  anchor(first) {
    const before = this.first;
    this.first = first;
    if (before === first || this.follow.following) return null;
    const { top } = this.part("scroller").getBoundingClientRect();
    const element = [...this.transcript.querySelectorAll(":scope > .turn")].find((one) => one.getBoundingClientRect().bottom > top);
    return element ? { element, top: element.getBoundingClientRect().top } : null;
  }

  /** The button for older turns; whoever pressed it keeps a place when there are none left. */
  offer(hidden) {
    const { older, past } = this;
    const offered = hidden > 0 || (past.more && !this.conversation.full());
    if (!offered && document.activeElement === older) this.part("scroller").focus({ preventScroll: true });
    older.hidden = !offered;
    older.setAttribute("aria-disabled", String(past.loading));
    setText(older, past.loading ? "Loading older turns…" : hidden > 0 ? "Show older turns" : "Load older turns");
  }

  notices(turns) {
    const { truncated, missing, loaded } = this.conversation;
    const parts = [];
    if (this.past.more && this.conversation.full()) parts.push("The page keeps no more of this conversation; a search goes through all of it, and “holdfast task attach --all” shows it.");
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
