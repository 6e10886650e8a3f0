// The part of something long that is in the page, with a button at each end that shows more of it.

import { el } from "./dom.js";
import { atEnd, earlier, later, staying } from "./window.js";

export class WindowView {
  /** `range()` answers {kept, end}; `what` is what the buttons show; `moved` is called when a person asked for another part. */
  constructor(what, range, moved) {
    this.range = range;
    this.moved = moved;
    this.shown = { first: 0, last: 0 };
    this.earlier = this.button(`Show earlier ${what}`, earlier);
    this.later = this.button(`Show later ${what}`, later);
  }

  button(label, move) {
    const onclick = () => {
      this.shown = move(this.shown, this.range());
      this.moved();
    };
    return el("button", { type: "button", className: "more link", hidden: true, onclick }, label);
  }

  /** Before drawing: to the end if following, else it stays. */
  settle(following) {
    const range = this.range();
    this.shown = following ? atEnd(range) : staying(this.shown, range);
    this.earlier.hidden = this.shown.first <= range.kept;
    this.later.hidden = this.shown.last >= range.end;
  }

  /** Whether the newest is in the page. */
  complete() {
    return this.shown.last >= this.range().end;
  }

  /** Moves to where `number` is, with so many before it; `false` where it is no longer kept. */
  moveTo(number, before) {
    const range = this.range();
    if (number < range.kept || number >= range.end) return false;
    if (number < this.shown.first || number >= this.shown.last) this.shown = staying({ first: Math.max(range.kept, number - before), last: 0 }, range);
    return true;
  }

  /** Takes out of the page what lies outside: `drawn` are elements by number. */
  prune(drawn, elementOf) {
    for (const [number, one] of drawn) {
      if (number >= this.shown.first && number < this.shown.last) continue;
      elementOf(one).remove();
      drawn.delete(number);
    }
  }
}
