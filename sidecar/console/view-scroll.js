// Follow or stay: at the end the page follows what is written; scrolled up it stays where it is, and offers the end.

const NEAR_PX = 32; // this close to the end counts as the end

export class Follow {
  /** `complete()` says whether the newest line is in the page at all; `toEnd()` is called when a person asks for it. */
  constructor(scroller, jump, { complete, toEnd }) {
    this.scroller = scroller;
    this.jump = jump;
    this.complete = complete;
    this.following = true;
    this.top = 0;
    this.height = 0;
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    jump.addEventListener("click", () => {
      this.following = true;
      toEnd();
      scroller.focus({ preventScroll: true });
    });
    new ResizeObserver(() => this.settle()).observe(scroller.firstElementChild);
    new ResizeObserver(() => this.settle()).observe(scroller);
  }

  /** Only a move upwards of the person's own leaves the end: content that grows or shrinks does not. */
  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const atEnd = scrollHeight - scrollTop - clientHeight <= NEAR_PX;
    if (atEnd && this.complete()) this.following = true;
    else if (scrollTop < this.top - 1 && scrollHeight >= this.height) this.following = false;
    this.top = scrollTop;
    this.height = scrollHeight;
    this.jump.hidden = this.following;
  }

  /** After drawing: to the end if following. */
  settle() {
    if (this.following) {
      this.scroller.scrollTop = this.scroller.scrollHeight;
      this.top = this.scroller.scrollTop;
      this.height = this.scroller.scrollHeight;
    }
    this.jump.hidden = this.following;
  }

  restart() {
    this.following = true;
    this.top = 0;
  }
}
