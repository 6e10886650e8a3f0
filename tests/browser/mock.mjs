// A stand-in for the sidecar: the page's files, its protocol, and channels that a test writes.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";

const CONSOLE = fileURLToPath(new URL("../../sidecar/console/", import.meta.url));
const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };
// The sidecar's own.
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const FIRST_PIECE_BYTES = 256 * 1024;

export class Mock {
  constructor() {
    this.token = "secret";
    this.channels = new Map();
    this.sockets = new Map(); // socket -> Set of channels
    this.methods = {};
    this.received = []; // every rpc that came in
    this.subscribes = []; // every subscribe that came in
    this.calls = []; // those that were answered
    this.held = false;
    this.waiting = [];
    this.status = { update: { state: "idle" }, runtime: { state: "running", active_slot: "a" } };
    this.statusAnswers = true;
    this.clockAhead = 0; // of the browser's, in ms
  }

  async listen() {
    this.server = createServer((request, response) => this.serve(request, response));
    this.upgrades = new WebSocketServer({ server: this.server, path: "/ws" });
    this.upgrades.on("connection", (socket) => this.session(socket));
    await new Promise((done) => this.server.listen(0, "127.0.0.1", done));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}/`;
    return this;
  }

  async close() {
    for (const socket of this.sockets.keys()) socket.terminate();
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  async serve(request, response) {
    const path = new URL(request.url, "http://mock").pathname;
    if (path === "/supervisor/public/update-status") {
      if (!this.statusAnswers) return request.socket.destroy();
      return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(this.status));
    }
    const file = path === "/" ? "index.html" : path.startsWith("/console/") ? path.slice("/console/".length) : null;
    if (file === null || file.includes("/")) return response.writeHead(404).end();
    const body = await readFile(join(CONSOLE, file)).catch(() => null);
    if (body === null) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(file)], "content-security-policy": POLICY, "cache-control": "no-store" }).end(body);
  }

  session(socket) {
    this.sockets.set(socket, new Set());
    socket.on("close", () => this.sockets.delete(socket));
    socket.on("message", (data) => {
      for (const line of String(data).split("\n")) if (line !== "" && line !== "{}") this.command(socket, JSON.parse(line));
    });
  }

  command(socket, { id, ...command }) {
    const reply = (body) => socket.send(JSON.stringify({ id, ...body }));
    if (command.connect) {
      if (command.connect.token !== this.token) return socket.close(3500, "invalid token");
      reply({ connect: { client: "c1", version: "mock", ping: 25, pong: true } });
    } else if (command.subscribe) this.subscribe(socket, reply, command.subscribe);
    else if (command.unsubscribe) {
      this.sockets.get(socket).delete(command.unsubscribe.channel);
      reply({ unsubscribe: {} });
    } else if (command.rpc) {
      this.received.push(command.rpc);
      if (this.held) this.waiting.push(() => this.rpc(reply, command.rpc));
      else this.rpc(reply, command.rpc);
    }
  }

  subscribe(socket, reply, { channel, offset = 0, epoch = "" }) {
    this.subscribes.push({ channel, offset, epoch });
    const log = this.log(channel);
    const lost = (epoch !== "" && epoch !== log.epoch) || offset > log.events.length;
    const all = lost ? [] : log.events.slice(offset).map((data, at) => ({ offset: offset + at + 1, data }));
    let size = 0;
    const count = all.findIndex((publication) => (size += JSON.stringify(publication).length) > FIRST_PIECE_BYTES);
    const first = count < 0 ? all : all.slice(0, count);
    const common = { recoverable: true, positioned: true, epoch: log.epoch, offset: lost ? log.events.length : offset, was_recovering: true, recovered: !lost };
    reply({ subscribe: { ...common, publications: first } });
    this.sockets.get(socket).add(channel);
    let message = [];
    for (const pub of all.slice(first.length)) {
      message.push(JSON.stringify({ push: { channel, pub } }));
      if (message.length === 500) socket.send(message.splice(0).join("\n"));
    }
    if (message.length > 0) socket.send(message.join("\n"));
  }

  rpc(reply, { method, data }) {
    this.calls.push({ method, data });
    const answer = this.methods[method]?.(data) ?? { error: { code: 1002, message: `UNKNOWN_METHOD: ${method}` } };
    reply(answer.error ? answer : { rpc: { data: answer } });
  }

  log(channel) {
    if (!this.channels.has(channel)) this.channels.set(channel, { epoch: "e1", events: [] });
    return this.channels.get(channel);
  }

  /** An answer of `conversation.history`: a piece of at most 256 KiB, at least one event; behind `since`, or with the `last` turns. */
  history({ conversation, since, last, limit = 1000 }) {
    const { epoch, events } = this.log(`conversation:${conversation}`);
    const end = last?.before ? last.before.offset - 1 : events.length;
    const after = last ? this.begins(events, end, last.turns) : (since?.offset ?? 0);
    const publications = [];
    for (let [at, size] = [after, 0]; at < end && publications.length < limit && (publications.length === 0 || size < FIRST_PIECE_BYTES); at++) {
      publications.push({ offset: at + 1, data: events[at] });
      size += JSON.stringify(events[at]).length;
    }
    return { epoch, offset: events.length, recovered: true, publications, ...(last ? { since: { epoch, offset: after }, more: after > 0 } : {}) };
  }

  /** The offset before so many turns up to `end`. */
  begins(events, end, turns) {
    for (let at = end - 1; at >= 0; at--) if (events[at].type === "turn.started" && --turns === 0) return at;
    return 0;
  }

  publish(channel, ...events) {
    const log = this.log(channel);
    const lines = [];
    for (const data of events) {
      log.events.push(data);
      lines.push(JSON.stringify({ push: { channel, pub: { offset: log.events.length, data } } }));
    }
    for (const [socket, channels] of this.sockets) if (channels.has(channel)) socket.send(lines.join("\n"));
  }

  node(state, slot = "a", epoch = 4) {
    this.publish("node", { type: "node.state", state, active: { slot, epoch, runtime_instance_id: `rt-${slot}-0a1b2c3d`, release: "0.1.0" }, update: { state: "idle" } });
  }

  /** The node's update is in `state` now; `left` seconds of its time remain. The public status says the same. */
  update(state, { left = null, whole = left, ...rest } = {}) {
    const now = Date.now() + this.clockAhead;
    const times = left === null ? {} : { state_since: now - (whole - left) * 1000, state_until: now + left * 1000 };
    const update = { state, message: "", operator_actions: [], ...times, ...rest };
    this.status = { ...this.status, update: { ...update, ...(left === null ? {} : { state_left_sec: left }) } };
    this.publish("node", { type: "node.state", state: "running", active: { slot: "a", epoch: 4, release: "0.1.0" }, update, at: now });
  }

  release() {
    this.held = false;
    for (const run of this.waiting.splice(0)) run();
  }
}
