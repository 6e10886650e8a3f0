// What of a conversation the page has: its last turns at first, and what is before them when that is asked for.

import { Conversation } from "./conversation.js";
import { Stretch } from "./stretch.js";

/** What a pane begins with, and what comes at a time behind it: more than a screen, and no second's work for a page. */
export const TURNS = Object.freeze({ turns: 20, max_events: 20_000, max_bytes: 2 * 1024 * 1024 });
/** What comes at a time on the way to a turn that is far back. */
export const FAR = Object.freeze({ turns: 100, max_events: 100_000, max_bytes: 8 * 1024 * 1024 });
/** While the node says that it cannot answer now, it is asked again after so long. */
const AGAIN_MS = 1_000;
/** It did not answer: that says nothing of what it knows. */
const UNANSWERED = new Set(["OUTCOME_UNKNOWN", "UNAVAILABLE"]);

const pass = (ms) => new Promise((done) => setTimeout(done, ms));

export class Past {
  /** `read(params)` asks `conversation.history`: {error, data}. */
  constructor(task, read, wait = pass) {
    this.task = task;
    this.read = read;
    this.wait = wait;
    this.stop();
  }

  /** Whatever is being read is not wanted any more. */
  stop() {
    this.run = null;
    this.begins = null; // the position before the first event that the page has; null: not known yet
    this.more = false; // the node has turns before it
    this.loading = false;
    this.failed = false; // the last time that older turns were wanted there was an error
  }

  /** Whether turns before those in the page are kept by nobody. */
  get gone() {
    return this.begins !== null && this.begins.offset > 0 && !this.more;
  }

  /**
   * Where the channel is to be followed from: a position {epoch, offset}; null when it was stopped meanwhile. A node
   * that knows no turns from the end has its conversations read from their beginning; so has one that refuses for good, as
   * its refusal of the channel is what is to be said.
   */
  async begin() {
    this.stop();
    const run = (this.run = {});
    for (;;) {
      const { error, data } = await this.read({ conversation: this.task, last: TURNS, limit: 0 });
      if (this.run !== run) return null;
      if (error?.temporary || UNANSWERED.has(error?.name)) {
        await this.wait(AGAIN_MS);
        if (this.run !== run) return null;
        continue;
      }
      const known = error === null && Number.isFinite(data.since?.offset);
      this.begins = known ? { epoch: data.epoch ?? "", offset: data.since.offset } : { epoch: "", offset: 0 };
      this.more = known && data.more === true;
      return this.begins;
    }
  }

  /** The turns before those in the page, as a conversation of their own; {error} where they could not be had; null when there are none, they are being read already, or it was stopped meanwhile. */
  async older(bounds = TURNS) {
    if (!this.more || this.loading) return null;
    const { run, begins } = this;
    const stretch = new Stretch(this.task, { epoch: begins.epoch, offset: begins.offset + 1 }, bounds);
    const older = new Conversation(this.task);
    this.loading = true;
    this.failed = false;
    for (let params = stretch.next(); params !== null; params = stretch.next()) {
      const { error, data } = await this.read(params);
      if (this.run !== run) return null;
      if (error) {
        this.loading = false;
        this.failed = true;
        return { error };
      }
      for (const { offset, data: event } of stretch.take(data)) older.apply(event, offset);
    }
    this.loading = false;
    if (stretch.failed) return null; // its channel says so too, and all begins anew
    this.begins = { epoch: begins.epoch, offset: stretch.after };
    this.more = stretch.more;
    older.truncated ||= this.gone;
    return { error: null, older };
  }
}
