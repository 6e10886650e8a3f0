// The search bar of a pane: places in what is loaded, one after the other, and excerpts of what only the node still has.

import { partsOf, el, setText } from "./dom.js";
import { PLACES_MAX, QUERY_MAX, QUERY_MIN, find, normal } from "./find.js";
import { clearMarks, markIn } from "./marks.js";
import { Older, PIECES_MAX } from "./older.js";

/** Typing settles before a search begins. */
const TYPED_MS = 200;
/** Work at a time; then the page gets its turn. */
const SLICE_MS = 8;

export class FindView {
  /** `conversation()` to look in, and its `past`; `reveal(turn, part)` answers an element; `bring(turn)` loads a turn; `history(params)` asks the node. */
  constructor(root, { conversation, past, reveal, bring, history, closed }) {
    this.part = partsOf(root);
    Object.assign(this, { conversation, past, reveal, bring, history, closed });
    this.bar = this.part("find");
    this.input = this.part("find-text");
    this.input.maxLength = QUERY_MAX;
    this.older = null;
    this.reset("");
    this.input.addEventListener("input", () => this.typed());
    this.bar.addEventListener("keydown", (event) => this.key(event));
    this.part("find-next").addEventListener("click", () => this.go(1));
    this.part("find-previous").addEventListener("click", () => this.go(-1));
    this.part("find-close").addEventListener("click", () => this.close());
    this.part("find-further").addEventListener("click", () => this.readOlder(this.run));
  }

  open() {
    this.bar.hidden = false;
    this.input.focus();
    this.input.select();
  }

  close() {
    this.bar.hidden = true;
    this.input.value = "";
    this.reset("");
    this.closed();
  }

  key(event) {
    if (event.key === "Escape") this.close();
    else if (event.key === "Enter" && event.target === this.input) this.go(event.shiftKey ? -1 : 1);
    else return;
    event.preventDefault();
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.search(), TYPED_MS);
  }

  /** Forgets what was found; another run ends those before. */
  reset(text) {
    this.run = {};
    this.text = text;
    this.places = [];
    this.at = -1;
    this.events = -1;
    this.searching = false;
    this.older = null;
    this.bringing = false;
    clearTimeout(this.timer);
    clearMarks(this.bar);
    this.draw();
  }

  /** Looks through all that is loaded, and then, the newest first, through what only the node has; goes to the newest place, or with `keep` stays where it was. */
  async search(keep = null) {
    this.reset(this.input.value);
    if (this.text.length < QUERY_MIN) return;
    const { run } = this;
    const conversation = this.conversation();
    this.events = conversation.events;
    this.searching = true;
    if (!(await this.collect(find(conversation, this.text), run))) return;
    this.searching = false;
    if (keep?.part) this.at = this.places.findIndex((place) => same(place, keep));
    else if (keep) this.showIn(keep);
    else if (this.places.length > 0) this.show(this.places.length - 1);
    this.draw();
    if (conversation.lossy() || this.past.more) await this.readOlder(run);
  }

  async collect(places, run) {
    let until = performance.now() + SLICE_MS;
    for (const batch of places) {
      for (const place of batch) this.places.push(place);
      if (performance.now() < until) continue;
      this.draw();
      await new Promise((done) => setTimeout(done, 0));
      if (this.run !== run) return false;
      until = performance.now() + SLICE_MS;
    }
    return this.run === run;
  }

  /** The next place in that direction; what came since is looked through first. */
  async go(step) {
    if (this.input.value !== this.text) return this.search();
    if (this.events !== this.conversation().events && !this.searching) await this.search(this.places[this.at] ?? null);
    const count = this.places.length;
    if (count === 0) return;
    this.show(this.at < 0 ? (step > 0 ? 0 : count - 1) : (this.at + step + count) % count);
    this.draw();
  }

  show(at) {
    this.at = at;
    const { turn, part, nth } = this.places[at];
    const element = this.reveal(turn, part);
    if (element) markIn(this.bar, element, normal(this.text), nth);
  }

  /** The place that is the `nth` of a turn, as far as that can be told. */
  showIn({ turn, nth }) {
    const first = this.places.findIndex((place) => place.turn === turn);
    if (first < 0) return this.reveal(turn, "ask")?.scrollIntoView({ block: "center" });
    const last = this.places.findLastIndex((place) => place.turn === turn);
    this.show(Math.min(first + nth, last));
  }

  async readOlder(run) {
    const conversation = this.conversation();
    this.older ??= new Older(this.text, this.notLoaded(conversation));
    const lacks = (id, prompt) => {
      const turn = conversation.turns.get(id);
      return !turn || (!prompt && (turn.lost || turn.screen.dropped > 0 || turn.steps.dropped > 0));
    };
    this.reading = true;
    for (let pieces = 0; pieces < PIECES_MAX; pieces++) {
      const params = this.older.next(conversation.task);
      if (params === null) break;
      this.draw();
      const { error, data } = await this.history(params);
      if (this.run !== run) return;
      if (error) {
        this.older.failed = error.message || error.name;
        break;
      }
      this.older.piece(data, lacks);
    }
    this.older.flush();
    this.reading = false;
    this.draw();
  }

  /** Before which event there is something that the page does not have. */
  notLoaded(conversation) {
    const { epoch, offset } = this.past.begins ?? { epoch: "", offset: 0 };
    return { epoch, offset: (conversation.lossy() ? conversation.offset : offset) + 1 };
  }

  draw() {
    const { places, at, older } = this;
    const many = places.length >= PLACES_MAX ? `${PLACES_MAX.toLocaleString()}+` : places.length.toLocaleString();
    const said = this.text.length < QUERY_MIN ? "" : this.searching ? `Searching… ${many}` : places.length === 0 ? "Nothing found" : `${(at + 1).toLocaleString()} of ${many}`;
    setText(this.part("find-count"), said);
    for (const name of ["find-next", "find-previous"]) this.part(name).disabled = places.length === 0;
    this.part("find-older").hidden = older === null;
    if (older) this.drawOlder(older);
  }

  drawOlder(older) {
    const found = older.excerpts.length.toLocaleString();
    const back = older.back === null ? "" : `, back to ${older.back}`;
    const words = this.bringing ? "Loading older turns…" : this.reading ? `Searching older turns that are not loaded… ${found}${back}` : older.failed ? `Older turns that are not loaded could not be searched: ${older.failed}`
      : `${found}${older.full ? "+" : ""} in older turns that are not loaded${older.ended || older.full ? "" : back}`;
    setText(this.part("find-older-count"), words);
    this.part("find-further").hidden = this.reading || older.ended || older.full;
    const list = this.part("find-excerpts");
    if (list.childElementCount > older.excerpts.length) list.replaceChildren();
    for (const excerpt of older.excerpts.slice(list.childElementCount)) list.append(this.excerpt(excerpt));
  }

  /** To a place in a turn that is not loaded: it is loaded, and what was found then counts. */
  async goBackTo(turn, nth) {
    const { run } = this;
    const had = this.conversation().turns.has(turn);
    this.bringing = !had;
    this.draw();
    const there = await this.bring(turn);
    if (this.run !== run) return;
    this.bringing = false;
    if (!there) {
      setText(this.part("find-older-count"), "That turn is too far back for this page; “holdfast task attach --all” shows it.");
      return;
    }
    if (had) return this.reveal(turn, "ask")?.scrollIntoView({ block: "center" });
    await this.search({ turn, nth });
  }

  excerpt({ turn, nth, before, match, after }) {
    const onclick = () => this.goBackTo(turn, nth);
    return el("li", {}, el("button", { type: "button", onclick }, el("span", { className: "note" }, turn), " ", before, el("mark", {}, match), after));
  }
}

const same = (one, other) => one.turn === other.turn && one.nth === other.nth && JSON.stringify(one.part) === JSON.stringify(other.part);
