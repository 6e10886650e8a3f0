// The console: joins client, folds and views. Every change goes event -> fold -> frame.

import { Client, publicStatus } from "./client.js";
import { Desk } from "./desk.js";
import { announce, byId, everyFrame } from "./dom.js";
import { signedOutText } from "./messages.js";
import * as place from "./place.js";
import { LIST_PAGES_MAX, NodeState, Tasks, connectionLabel } from "./store.js";
import { shownUpdate } from "./update.js";
import { pageTitle } from "./view-head.js";
import { NodeView } from "./view-node.js";
import { TasksView } from "./view-tasks.js";
import { TokenView } from "./view-token.js";
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
    this.act = null; // whether the token may change things, as far as it is known
    this.downSince = null;
    this.publicAnswers = null;
    this.everConnected = false;
    this.liveFrom = Infinity;
    this.told = []; // tasks of which it was said that they ask
    this.draw = everyFrame(() => this.render());
    this.views();
    setInterval(() => this.watch(), STATUS_EVERY_MS);
    window.addEventListener("hashchange", () => this.fragmentChanged());
    window.addEventListener("resize", this.draw);
  }

  views() {
    this.desk = new Desk(this);
    this.updateView = new UpdateView();
    this.nodeView = new NodeView({ forget: () => this.signOut(null) });
    this.tokenView = new TokenView((token) => {
      place.remember(token);
      this.signIn(token);
    });
    this.tasksView = new TasksView({
      choose: (task) => this.desk.choose(task), beside: (task) => this.desk.beside(task), open: (task, skill) => this.openTask(task, skill),
    });
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault();
      (this.desk.focused()?.part("prompt") ?? byId("open-name")).focus();
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
    this.act = null;
    this.client = new Client(token, this.handlers());
    for (const channel of ["node", "tasks"]) this.client.transport.subscribe(channel);
    this.client.start();
    this.desk.clear();
    this.desk.restore();
    this.draw();
  }

  signOut(why) {
    this.client?.stop();
    this.client = null;
    place.forget();
    this.desk.clear();
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
    const [task] = place.chosenTasks();
    if (this.client && task && task !== this.desk.focus) this.desk.choose(task);
  }

  // What the client tells.

  handlers() {
    return {
      connected: () => {
        this.downSince = null;
        this.everConnected = true;
        this.desk.focused()?.look(); // a new connection is a new session
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
      publication: ({ channel, data, offset }) => this.publication(channel, data, offset),
      gap: ({ channel, from, to }) => {
        this.desk.paneOf(channel)?.gap(from, to);
        this.draw();
      },
      restarted: ({ channel }) => this.desk.paneOf(channel)?.restarted(),
      refused: ({ channel, error }) => this.refused(channel, error),
    };
  }

  subscribed(channel) {
    if (channel === "tasks") this.listTasks();
    this.desk.paneOf(channel)?.subscribed();
    if (channel === "node" && this.liveFrom === Infinity) this.liveFrom = Date.now() + REPLAY_MS;
    this.draw();
  }

  async listTasks() {
    const { client } = this;
    this.tasks.asking();
    const listed = [];
    for (let pages = 0, more = true; more && pages < LIST_PAGES_MAX; pages++) {
      const after = listed.at(-1)?.task;
      const { error, data } = await client.read("task.list", after === undefined ? {} : { after });
      if (client !== this.client) return;
      if (error) return this.problem(error);
      listed.push(...data.tasks);
      more = data.more === true && data.tasks.length > 0;
    }
    this.tasks.listed(listed);
    if (this.desk.focus === null && listed.length === 1) this.desk.choose(listed[0].task);
    this.draw();
  }

  publication(channel, event, offset) {
    if (channel === "node") this.nodeEvent(event);
    else if (channel === "tasks" || channel.startsWith("task:")) this.tasks.apply(event);
    else this.desk.paneOf(channel)?.publication(event, offset);
    this.draw();
  }

  nodeEvent(event) {
    const now = Date.now();
    const before = this.node.update?.state_until;
    if (this.node.apply(event, now) && now >= this.liveFrom) this.nodeView.transition(this.node.state, now);
    // The event may be old and the clocks may differ: how much time is left the node itself says.
    if (this.node.update?.state_until && this.node.update.state_until !== before) this.askStatus();
  }

  refused(channel, error) {
    const pane = this.desk.paneOf(channel);
    if (pane) {
      pane.refused = true;
      pane.problem(error);
    } else if (!channel.startsWith("task:")) {
      this.problem(error);
    }
    this.draw();
  }

  problem(error) {
    const pane = this.desk.focused();
    if (pane) pane.problem(error);
    else this.tasksView.problem(error);
  }

  // What panes and forms ask for.

  focus(task) {
    this.desk.goTo(task);
  }

  close(task) {
    this.desk.close(task);
  }

  /** A prompt to a task that is not open any more. */
  refusedPrompt(task, text, error) {
    this.desk.keep(task, text);
    this.problem({ ...error, message: `${task}: ${error.message}` });
  }

  async openTask(task, skill) {
    const { error, data } = await this.client.write("task.open", { task, skill });
    if (error) return error;
    this.tasks.apply({ task, skill, ...(data.state ? { state: data.state } : {}) });
    this.desk.choose(task);
    return null;
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

  /** Says which tasks ask now and did not before; a question in a pane says itself. */
  tellAsking(asking) {
    const newly = asking.filter((task) => !this.told.includes(task) && !this.desk.panes.has(task));
    if (newly.length > 0) announce(`${newly.join(", ")}: ${newly.length === 1 ? "asks" : "ask"} you`);
    this.told = asking;
  }

  // Drawing what is not turns.

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
    const asking = this.desk.asking();
    const running = this.desk.focused()?.conversation.running() != null;
    pageTitle({ name: this.desk.focus, running, asking, label });
    this.tellAsking(asking);
    if (!this.client) return;
    const roomy = this.desk.render(this.nodeView.label);
    this.tasksView.render(this.tasks, this.desk.arranged, roomy, asking);
  }
}

new Console().begin();
