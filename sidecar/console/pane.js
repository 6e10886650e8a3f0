// One task on the page: its conversation, what is being sent to it, and its views.

import { Conversation } from "./conversation.js";
import { byId, partsOf } from "./dom.js";
import { pauseText } from "./messages.js";
import { FAR, Past, TURNS } from "./past.js";
import { ComposerView } from "./view-composer.js";
import { FindView } from "./view-find.js";
import { HeadView } from "./view-head.js";
import { StatusView } from "./view-status.js";
import { TurnsView } from "./view-turns.js";

/** Events between two looks at how much is kept: each looks at all turns. */
const LIMIT_EVERY = 64;
/** After the first events of an agent's conversation the node is asked once which mode is on now. */
const MODES_SETTLE_MS = 500;

export class Pane {
  /** `host`: {client, tasks, act, draw, focus(task), close(task), listTasks, refusedPrompt}, of the page. */
  constructor(task, host) {
    this.task = task;
    this.host = host;
    this.conversation = new Conversation(task);
    this.past = new Past(task, (params) => host.client.read("conversation.history", params));
    this.bringsOlder = null; // older turns that are being loaded
    this.sending = []; // prompts without an answer: {text, held}
    this.cancelling = null; // the turn being cancelled
    this.setting = null; // the mode being set
    this.modeTurn = null; // the turn in which the agent changed its mode last
    this.act = null; // whether this token may change something here; null: not known yet
    this.refused = false;
    this.seen = true;
    this.element = byId("pane-template").content.firstElementChild.cloneNode(true);
    this.element.dataset.task = task;
    this.element.setAttribute("aria-label", `Task ${task}`);
    this.part = partsOf(this.element);
    this.part("scroller").setAttribute("aria-label", `Turns of ${task}`);
    this.views();
    for (const event of ["focusin", "pointerdown"]) this.element.addEventListener(event, () => host.focus(task));
  }

  views() {
    const { element } = this;
    this.turns = new TurnsView(this.part, {
      facts: () => ({ agent: this.agent(), rights: this.rights }), answer: (step, option) => this.answer(step, option), drawn: () => {},
      past: this.past, load: () => this.loadOlder(),
    });
    this.head = new HeadView(element, {
      stop: () => this.report(this.write("task.stop", {})),
      reopen: () => this.report(this.write("task.open", { skill: this.skill() })),
      close: () => this.host.close(this.task), search: () => this.find.open(),
    });
    this.status = new StatusView(element, { mode: (id) => this.setMode(id), toPending: () => this.toPending() });
    this.find = new FindView(element, {
      conversation: () => this.conversation, past: this.past, reveal: (turn, part) => this.turns.reveal(turn, part), bring: (turn) => this.bring(turn),
      history: (params) => this.host.client.read("conversation.history", params), closed: () => this.part("scroller").focus({ preventScroll: true }),
    });
    this.composer = new ComposerView(element, {
      prompt: (text) => this.prompt(text), cancel: () => this.cancel(), dequeue: (turn) => this.dequeue(turn),
      recall: () => [...this.conversation.turns.values()].map((turn) => turn.text).filter((text) => text !== null),
      commands: () => this.conversation.agent.commands,
    });
    element.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || !event.shiftKey || event.key.toLowerCase() !== "f") return;
      event.preventDefault();
      this.find.open();
    });
    this.turns.show(this.conversation);
  }

  /** What is known of another task's answer holds here too, until this one is asked for. */
  get rights() {
    return { act: this.act ?? this.host.act };
  }

  get channel() {
    return `conversation:${this.task}`;
  }

  /** Follows its channels; the conversation from its last turns on. */
  async follow() {
    const { transport } = this.host.client;
    transport.subscribe(`task:${this.task}`);
    const from = await this.past.begin();
    if (from === null) return;
    this.conversation.truncated ||= this.past.gone;
    transport.subscribe(this.channel, from, true);
  }

  /** Leaves them. */
  leave() {
    this.past.stop();
    this.find.close();
    for (const channel of [this.channel, `task:${this.task}`]) this.host.client?.transport.unsubscribe(channel);
  }

  entry() {
    return this.host.tasks.get(this.task);
  }

  skill() {
    return this.entry()?.skill ?? "command";
  }

  /** Whether the task's worker is an agent. */
  agent() {
    const entry = this.entry();
    return typeof entry?.protocol === "string" ? entry.protocol === "acp" : this.skill() !== "command";
  }

  // What its channel tells.

  subscribed() {
    this.conversation.loaded = true;
    this.turns.draw();
  }

  publication(event, offset) {
    const { agent } = this.conversation;
    const before = agent.modes;
    this.turns.changed(this.conversation.apply(event, offset));
    if (this.conversation.events % LIMIT_EVERY === 0) for (const turn of this.conversation.limit()) this.turns.changed({ turn, kind: "turn" });
    if (agent.modes !== before) this.modeSaid(agent.mode, String(event.turn));
  }

  /** The agent changed its mode. What a conversation begins with may be long past: unless it is of the running turn, the node is asked once. */
  modeSaid(mode, turn) {
    this.host.tasks.mode(this.task, mode);
    this.modeTurn = turn;
    this.modeTimer ??= setTimeout(() => {
      if (this.conversation.running()?.id !== this.modeTurn) this.host.listTasks();
    }, MODES_SETTLE_MS);
  }

  gap(from, to) {
    this.conversation.hole(from, to);
    this.turns.draw();
  }

  /** The channel's history is not what it was: what is shown is void. */
  restarted() {
    this.conversation = new Conversation(this.task);
    this.conversation.truncated = true;
    this.bringsOlder = null;
    this.find.close();
    this.turns.show(this.conversation);
    this.follow();
  }

  /** Brings older turns into the page, once at a time: {loaded, error}, `loaded` where there were some. */
  loadOlder(bounds = TURNS) {
    if (this.bringsOlder) return this.bringsOlder;
    const bringing = this.readOlder(bounds).finally(() => {
      if (this.bringsOlder === bringing) this.bringsOlder = null;
    });
    this.bringsOlder = bringing;
    return bringing;
  }

  async readOlder(bounds) {
    const { conversation } = this;
    const had = conversation.shown().length;
    const reading = this.past.older(bounds);
    this.turns.draw();
    const read = await reading;
    if (read?.error) this.problem(read.error);
    if (!read?.older || conversation !== this.conversation) {
      this.turns.draw();
      return { loaded: false, error: read?.error ?? null };
    }
    conversation.prepend(read.older);
    for (const turn of conversation.limit()) this.turns.changed({ turn, kind: "turn" });
    for (const turn of conversation.turns.values()) if (turn.neverRan) this.turns.changed({ turn, kind: "turn" });
    this.turns.prepended(conversation.shown().length - had);
    return { loaded: true, error: null };
  }

  /** Loads as far back as this turn, or as the page keeps: {there, error}. */
  async bring(turn) {
    let [loaded, error] = [true, null];
    while (loaded && !this.conversation.turns.has(turn) && !this.conversation.full()) ({ loaded, error } = await this.loadOlder(FAR));
    return { there: this.conversation.turns.has(turn), error };
  }

  problem(error) {
    this.composer.problem(error);
  }

  // What people do.

  write(method, params, held) {
    return this.host.client.write(method, { task: this.task, ...params }, held);
  }

  /** Tells the node that this session looks at the task. A token that may only read is refused just that. */
  async look() {
    const { error } = await this.host.client.write("task.switch", { task: this.task });
    if (error?.name === "FORBIDDEN") this.act = false;
    else if (error === null || error.name !== null) this.act = true;
    this.host.act ??= this.act;
    this.turns.draw();
    this.host.draw();
  }

  async prompt(text) {
    const sending = { text, held: false };
    this.sending.push(sending);
    this.turns.follow.following = true;
    this.host.draw();
    const { error } = await this.write("task.prompt", { text, queue: true }, () => {
      sending.held = true;
      this.host.draw();
    });
    this.sending.splice(this.sending.indexOf(sending), 1);
    if (error) this.refusedPrompt(text, error);
    this.host.draw();
  }

  refusedPrompt(text, error) {
    if (!this.element.isConnected) return this.host.refusedPrompt(this.task, text, error);
    this.problem(error);
    this.composer.giveBack(text);
  }

  async cancel() {
    this.cancelling = this.conversation.running()?.id ?? null;
    this.host.draw();
    if (await this.report(this.write("task.cancel", {}))) this.cancelling = null;
    this.host.draw();
  }

  async dequeue(turn) {
    turn.leaving = true;
    this.host.draw();
    if (await this.report(this.write("task.dequeue", { turn: turn.id }))) turn.leaving = false;
    this.host.draw();
  }

  /** Answers a permission; what the card says comes with the event, but for who lost the race. */
  async answer(step, option) {
    step.asking = option ?? "";
    this.touched(step);
    const { error, data } = await this.write("permission.answer", { request: step.request, option });
    step.asking = null;
    if (error) {
      // One that is over says by itself how it ended.
      if (this.conversation.pending().includes(step)) this.problem(error);
    } else {
      step.lost = data.won === false;
      step.answer ??= { outcome: data.outcome ?? "cancelled", option: data.option_id ?? null, by: null };
    }
    this.touched(step);
  }

  touched(step) {
    step.version += 1;
    this.turns.draw();
    this.host.draw();
  }

  async setMode(mode) {
    this.setting = mode;
    this.host.draw();
    const failed = await this.report(this.write("task.mode", { mode }));
    if (!failed) this.host.tasks.mode(this.task, mode);
    this.setting = null;
    this.host.draw();
  }

  /** Goes to the oldest permission that waits. */
  toPending() {
    const running = this.conversation.running();
    const step = running?.steps.pending()[0];
    if (!step) return;
    const element = this.turns.reveal(running.id, { step: step.number, at: 0 });
    element?.scrollIntoView({ block: "center" });
    (element?.querySelector(".options button:not(:disabled)") ?? element)?.focus({ preventScroll: true });
  }

  /** Shows the error of a command, if it has one; answers whether. */
  async report(answer) {
    const { error } = await answer;
    if (error) this.problem(error);
    return error !== null;
  }

  // Drawing what is not turns.

  render({ label, several, focused }) {
    this.element.toggleAttribute("data-focused", focused);
    if (!this.seen) return;
    const { conversation, rights } = this;
    const entry = this.entry();
    const agent = this.agent();
    if (agent !== this.wasAgent) {
      for (const view of this.turns.views.values()) view.stale();
      this.turns.draw();
    }
    this.wasAgent = agent;
    const running = conversation.running();
    const pending = conversation.pending().length;
    const closed = this.head.render({ name: this.task, task: entry, pending, title: conversation.agent.title, act: rights.act, several });
    this.composer.render({
      running: running !== null, cancelling: running !== null && this.cancelling === running.id, queued: conversation.queued(),
      sending: this.sending, agent, closed, act: rights.act,
    });
    this.status.render({
      pause: pauseText(label, running !== null), modes: entry?.modes ?? null, setting: this.setting, act: rights.act, agent,
      usage: conversation.agent.usage, plan: running?.steps.plan ?? null, pending,
    });
  }
}
