// The console: joins client, folds and views. Every change goes event -> fold -> frame.

import { Client, publicStatus } from "./client.js";
import { Conversation } from "./conversation.js";
import { byId, everyFrame } from "./dom.js";
import { signedOutText } from "./messages.js";
import * as place from "./place.js";
import { LIST_PAGES_MAX, NodeState, Tasks, connectionLabel } from "./store.js";
import { shownUpdate } from "./update.js";
import { ComposerView } from "./view-composer.js";
import { HeadView } from "./view-head.js";
import { NodeView } from "./view-node.js";
import { TasksView } from "./view-tasks.js";
import { TokenView } from "./view-token.js";
import { TurnsView } from "./view-turns.js";
import { UpdateView } from "./view-update.js";

/** While the socket is down, or nobody is signed in, the public status is asked this often. */
const STATUS_EVERY_MS = 2_000;
/** After a reload the node's last events come again; those are not shown as happening now. */
const REPLAY_MS = 500;

class Console {
  constructor() {
    this.client = null;
    this.node = new NodeState();
    this.tasks = new Tasks();
    this.conversation = null;
    this.sending = []; // prompts without an answer: {task, text, held}
    this.cancelling = null; // the turn being cancelled
    this.downSince = null;
    this.publicAnswers = null;
    this.everConnected = false;
    this.liveFrom = Infinity;
    this.draw = everyFrame(() => this.render());
    this.views();
    setInterval(() => this.watch(), STATUS_EVERY_MS);
    window.addEventListener("hashchange", () => this.fragmentChanged());
  }

  views() {
    this.turnsView = new TurnsView();
    this.updateView = new UpdateView();
    this.nodeView = new NodeView({ forget: () => this.signOut(null) });
    this.tokenView = new TokenView((token) => {
      place.remember(token);
      this.signIn(token);
    });
    this.tasksView = new TasksView({ choose: (task) => this.choose(task), open: (task, skill) => this.openTask(task, skill) });
    this.composer = new ComposerView({
      prompt: (text) => this.prompt(text), cancel: () => this.cancel(), dequeue: (turn) => this.dequeue(turn),
      recall: () => [...(this.conversation?.turns.values() ?? [])].map((turn) => turn.text).filter((text) => text !== null),
    });
    this.headView = new HeadView({
      stop: () => this.report(this.client.write("task.stop", { task: this.conversation.task })),
      reopen: () => this.report(this.client.write("task.open", { task: this.conversation.task, skill: this.skill() })),
    });
  }

  // Coming and going.

  begin() {
    place.takeToken();
    const token = place.remembered();
    if (token === null) this.signOut(null);
    else this.signIn(token);
  }

  signIn(token) {
    this.client?.stop();
    this.page("work");
    this.downSince = Date.now();
    this.everConnected = false;
    this.client = new Client(token, this.handlers());
    for (const channel of ["node", "tasks"]) this.client.transport.subscribe(channel);
    this.client.start();
    const task = place.chosenTask();
    this.conversation = null;
    if (task) this.choose(task);
    this.draw();
  }

  signOut(why) {
    this.client?.stop();
    this.client = null;
    place.forget();
    this.conversation = null;
    this.sending = [];
    this.tasks = new Tasks();
    this.node = new NodeState();
    this.page("sign-in");
    this.tokenView.show(why);
    this.watch();
    this.draw();
  }

  page(name) {
    document.body.dataset.page = name;
    byId("sign-in").hidden = name !== "sign-in";
    byId("work").hidden = name !== "work";
    for (const id of ["tasks-toggle", "node-pill", "node-brief"]) byId(id).hidden = name !== "work";
    this.nodeView.open(false);
  }

  fragmentChanged() {
    if (place.takeToken()) return this.signIn(place.remembered());
    const task = place.chosenTask();
    if (this.client && task && task !== this.conversation?.task) this.choose(task);
  }

  // What the client tells.

  handlers() {
    return {
      connected: () => {
        this.downSince = null;
        this.everConnected = true;
        this.focus();
        this.draw();
      },
      lost: () => {
        if (this.downSince === null) {
          this.downSince = Date.now();
          this.publicAnswers = null;
          this.watch();
        }
        this.draw();
      },
      ended: ({ code, reason }) => this.signOut(signedOutText(code, reason)),
      subscribed: ({ channel }) => this.subscribed(channel),
      publication: ({ channel, data }) => this.publication(channel, data),
      gap: ({ channel, from, to }) => {
        if (this.isShown(channel)) this.conversation.hole(from, to);
        this.draw();
      },
      restarted: ({ channel }) => this.restarted(channel),
      refused: ({ channel, error }) => this.refused(channel, error),
    };
  }

  subscribed(channel) {
    if (channel === "tasks") this.listTasks();
    if (this.isShown(channel)) {
      this.conversation.loaded = true;
      this.turnsView.draw();
    }
    if (channel === "node" && this.liveFrom === Infinity) this.liveFrom = Date.now() + REPLAY_MS;
    this.draw();
  }

  async listTasks() {
    this.tasks.asking();
    const listed = [];
    for (let pages = 0, more = true; more && pages < LIST_PAGES_MAX; pages++) {
      const after = listed.at(-1)?.task;
      const { error, data } = await this.client.read("task.list", after === undefined ? {} : { after });
      if (error) return this.composer.problem(error);
      listed.push(...data.tasks);
      more = data.more === true && data.tasks.length > 0;
    }
    this.tasks.listed(listed);
    if (!this.conversation && listed.length === 1) this.choose(listed[0].task);
    this.draw();
  }

  publication(channel, event) {
    if (channel === "node") this.nodeEvent(event);
    else if (channel === "tasks") this.tasks.apply(event);
    else if (this.isShown(channel)) {
      this.turnsView.changed(this.conversation.apply(event));
      for (const turn of this.conversation.limit()) this.turnsView.changed({ turn, kind: "turn" });
    }
    this.draw();
  }

  nodeEvent(event) {
    const now = Date.now();
    const before = this.node.update?.state_until;
    if (this.node.apply(event, now) && now >= this.liveFrom) this.nodeView.transition(this.node.state, now);
    // The event may be old and the clocks may differ: how much time is left the node itself says.
    if (this.node.update?.state_until && this.node.update.state_until !== before) this.askStatus();
  }

  /** The channel's history is not what it was: what is shown is void. */
  restarted(channel) {
    if (!this.isShown(channel)) return;
    this.conversation = new Conversation(this.conversation.task);
    this.conversation.truncated = true;
    this.turnsView.show(this.conversation, this.skill());
  }

  refused(channel, error) {
    if (!channel.startsWith("conversation:") || this.isShown(channel)) this.composer.problem(error);
    if (this.isShown(channel)) this.conversation.refused = true;
    this.draw();
  }

  isShown(channel) {
    return this.conversation !== null && channel === `conversation:${this.conversation.task}`;
  }

  // What people do.

  choose(task) {
    if (this.conversation?.task === task && !this.conversation.refused) return;
    if (this.conversation) this.client.transport.unsubscribe(`conversation:${this.conversation.task}`);
    this.conversation = new Conversation(task);
    this.cancelling = null;
    place.chooseTask(task);
    this.composer.clearProblems();
    this.turnsView.show(this.conversation, this.skill());
    this.client.transport.subscribe(`conversation:${task}`);
    if (this.client.phase === "connected") this.focus();
    this.draw();
    if (matchMedia("(min-width: 721px)").matches) byId("prompt").focus();
  }

  /** Tells the node which task this session looks at; a new connection is a new session. Refusals change nothing here. */
  focus() {
    if (this.conversation) this.client.write("task.switch", { task: this.conversation.task });
  }

  async openTask(task, skill) {
    const { error, data } = await this.client.write("task.open", { task, skill });
    if (error) return error;
    this.tasks.apply({ task, skill, ...(data.state ? { state: data.state } : {}) });
    this.choose(task);
    return null;
  }

  async prompt(text) {
    const { task } = this.conversation;
    const sending = { task, text, held: false };
    this.sending.push(sending);
    this.turnsView.follow.following = true;
    this.draw();
    const { error } = await this.client.write("task.prompt", { task, text, queue: true }, () => {
      sending.held = true;
      this.draw();
    });
    this.sending.splice(this.sending.indexOf(sending), 1);
    if (error) {
      this.composer.problem(error);
      if (this.conversation?.task === task) this.composer.giveBack(text);
    }
    this.draw();
  }

  async cancel() {
    this.cancelling = this.conversation.running()?.id ?? null;
    this.draw();
    const failed = await this.report(this.client.write("task.cancel", { task: this.conversation.task }));
    if (failed) this.cancelling = null;
    this.draw();
  }

  async dequeue(turn) {
    turn.leaving = true;
    this.draw();
    const failed = await this.report(this.client.write("task.dequeue", { task: this.conversation.task, turn: turn.id }));
    if (failed) turn.leaving = false;
    this.draw();
  }

  /** Shows the error of a command, if it has one; answers whether. */
  async report(answer) {
    const { error } = await answer;
    if (error) this.composer.problem(error);
    return error !== null;
  }

  // The public status, while there is no other word.

  async watch() {
    if (!this.client || this.downSince !== null) await this.askStatus();
  }

  async askStatus() {
    const status = await publicStatus();
    this.publicAnswers = status !== null;
    // A session that is up is told everything in order; the status may be of before.
    const fits = status?.update?.state === this.node.update?.state;
    if (fits || !this.client || this.downSince !== null) this.node.applyPublic(status, Date.now());
    this.tokenView.status(status);
    this.draw();
  }

  // Drawing what is not turns.

  skill() {
    return this.tasks.get(this.conversation?.task)?.skill ?? "command";
  }

  render() {
    const now = Date.now();
    const phase = this.client?.phase ?? "ended";
    const { downSince, publicAnswers, everConnected } = this;
    const label = connectionLabel({ phase, downSince, now, publicAnswers, everConnected, nodeState: this.node.state, update: this.node.update });
    const again = [
      this.nodeView.render(label, this.node, now, downSince),
      this.updateView.render(this.client ? shownUpdate(this.node.update, this.node.due, now, this.node.mode) : null, now),
    ].filter((when) => when !== null);
    clearTimeout(this.again);
    if (again.length > 0) this.again = setTimeout(this.draw, Math.min(...again));
    const name = this.conversation?.task ?? null;
    const running = this.conversation?.running() ?? null;
    this.headView.title(name, running !== null, label);
    if (!this.client) return;
    this.tasksView.render(this.tasks, name);
    this.turnsView.skill = this.skill();
    const closed = this.headView.render(name, this.tasks.get(name));
    if (name === null) return;
    this.composer.render({
      running: running !== null, cancelling: running !== null && this.cancelling === running.id, queued: this.conversation.queued(),
      sending: this.sending.filter(({ task }) => task === name), skill: this.skill(), closed,
    });
  }
}

new Console().begin();
