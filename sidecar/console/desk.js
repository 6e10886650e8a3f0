// The panes that are open: joined with the page, the address, the channels, and where the node is told the focus is.

import { Pane } from "./pane.js";
import * as panes from "./panes.js";
import * as place from "./place.js";
import { Tasks } from "./store.js";
import { PanesView } from "./view-panes.js";

/** Prompts that were begun and not sent, of tasks that are not open: the oldest goes. */
const DRAFTS_MAX = 50;

export class Desk {
  /** `host`: {client, draw, ...} of the page, as panes need it. */
  constructor(host) {
    this.host = host;
    this.arranged = panes.NONE;
    this.panes = new Map(); // task -> Pane
    this.drafts = new Map(); // task -> text
    this.view = new PanesView();
  }

  get focus() {
    return this.arranged.focus;
  }

  /** The pane that has the focus, or null. */
  focused() {
    return this.panes.get(this.focus) ?? null;
  }

  /** The pane whose conversation this channel is. */
  paneOf(channel) {
    return channel.startsWith("conversation:") ? this.panes.get(channel.slice("conversation:".length)) : undefined;
  }

  all() {
    return [...this.panes.values()];
  }

  /** Tasks whose agents wait for a person: what a pane sees, of others what the list says. */
  asking() {
    const listed = this.host.tasks.sorted().filter((task) => Tasks.asks(task) && !this.panes.get(task.task)?.conversation.loaded);
    const seen = this.all().filter(({ conversation }) => conversation.pending().length > 0);
    return [...new Set([...seen, ...listed].map(({ task }) => task))];
  }

  /** Opens what the address names. */
  restore() {
    const wanted = place.chosenTasks();
    if (wanted.length > 0) this.arrange(panes.restore(wanted));
  }

  choose(task) {
    if (this.panes.get(task)?.refused) this.drop(task); // asked for again
    this.arrange(panes.choose(this.arranged, task));
    if (!matchMedia(`(max-width: ${panes.NARROW_PX}px)`).matches) this.focused()?.composer.focus();
  }

  beside(task) {
    this.arrange(panes.beside(this.arranged, task, panes.room(innerWidth)));
    this.focused()?.composer.focus();
  }

  /** A person went to another pane. */
  goTo(task) {
    if (task !== this.focus && this.arranged.tasks.includes(task)) this.arrange({ ...this.arranged, focus: task });
  }

  close(task) {
    this.arrange(panes.close(this.arranged, task));
  }

  /** Brings the page to an arrangement; the node is told where the focus went. */
  arrange(arranged) {
    const { client } = this.host;
    const before = this.focus;
    this.arranged = arranged;
    for (const task of [...this.panes.keys()]) if (!arranged.tasks.includes(task)) this.drop(task);
    let opened = false;
    for (const task of arranged.tasks) {
      if (this.panes.has(task)) continue;
      const pane = new Pane(task, this.host);
      pane.composer.set(this.drafts.get(task) ?? "");
      this.drafts.delete(task);
      this.panes.set(task, pane);
      pane.follow();
      opened ||= task === arranged.focus;
    }
    place.chooseTasks(arranged);
    this.view.place(arranged, this.panes);
    if ((opened || before !== arranged.focus) && client.phase === "connected") this.focused()?.look();
    this.host.draw();
  }

  drop(task) {
    const pane = this.panes.get(task);
    this.panes.delete(task);
    this.keep(task, pane.composer.text.value);
    pane.leave();
  }

  /** Keeps the text for when the task is opened again. */
  keep(task, text) {
    if (text.trim() === "") return;
    this.drafts.delete(task);
    this.drafts.set(task, text);
    if (this.drafts.size > DRAFTS_MAX) this.drafts.delete(this.drafts.keys().next().value);
  }

  /** Closes all, and leaves the address as it is. */
  clear() {
    this.drafts.clear();
    for (const pane of this.panes.values()) pane.leave();
    this.panes.clear();
    this.arranged = panes.NONE;
    this.view.place(this.arranged, this.panes);
  }

  /** Draws as many as there is room for; answers whether another one could be opened beside. */
  render(label) {
    const room = panes.room(innerWidth);
    this.view.render(this.arranged, this.panes, room);
    for (const pane of this.panes.values()) pane.render({ label, several: this.arranged.tasks.length > 1, focused: pane.task === this.focus });
    return room > 1;
  }
}
