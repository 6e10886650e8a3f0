import assert from "node:assert/strict";
import { test } from "node:test";
import { DIAL_LAST_MS } from "../backoff.js";
import { GAP_REPAIRS_MAX } from "../channels.js";
import { CALLS_MAX, CALL_GIVE_UP_MS, CONNECT_WITHIN_MS, PING_GRACE_MS, Session } from "../session.js";

const CONNECTED = { connect: { client: "c", version: "1", ping: 25, pong: true } };

/** A session and the other end of its socket, on a clock of the test's. */
class Bench {
  constructor() {
    this.now = 1_000_000;
    this.session = new Session({ token: "T", isMarker: (data) => data.type === "truncated" });
    this.seen = [];
    this.sent = [];
  }

  run(actions) {
    for (const action of actions) {
      if (action.type === "send") this.sent.push(...action.text.split("\n").map((line) => JSON.parse(line)));
      else this.seen.push(action);
    }
    return this;
  }

  take(type) {
    const found = this.seen.filter((action) => action.type === type);
    this.seen = this.seen.filter((action) => action.type !== type);
    return found;
  }

  /** The commands sent since the last look. */
  commands() {
    return this.sent.splice(0);
  }

  say(...replies) {
    return this.run(this.session.received(replies.map((reply) => JSON.stringify(reply)).join("\n"), this.now, 0.5));
  }

  connect() {
    this.run(this.session.connect(this.now));
    this.run(this.session.opened(this.now));
    const [{ id }] = this.commands();
    return this.say({ id, ...CONNECTED });
  }

  close(code = 1006) {
    return this.run(this.session.closed(code, "", this.now, 0.5));
  }

  /** Lets time pass to the next deadline. */
  next() {
    this.now = this.session.deadline();
    return this.run(this.session.due(this.now, 0.5));
  }

  subscribed(channel, publications = [], rest = {}) {
    this.run(this.session.subscribe(channel));
    const command = this.commands().find(({ subscribe }) => subscribe?.channel === channel);
    return this.say({ id: command.id, subscribe: { epoch: "e", offset: 0, recovered: true, was_recovering: true, publications, ...rest } });
  }

  pub(channel, offset, data = {}) {
    return this.say({ push: { channel, pub: { offset, data } } });
  }

  offsets() {
    return this.take("publication").map(({ offset }) => offset);
  }
}

test("the token goes into the first command, and channels and calls behind the connect reply", () => {
  const bench = new Bench();
  bench.run(bench.session.subscribe("node"));
  bench.run(bench.session.call(1, "task.list", {}, bench.now));
  bench.run(bench.session.connect(bench.now));
  bench.run(bench.session.opened(bench.now));
  const first = bench.commands();
  assert.equal(first.length, 1);
  assert.equal(first[0].connect.token, "T");
  bench.say({ id: first[0].id, ...CONNECTED });
  const [subscribe, rpc] = bench.commands();
  assert.deepEqual(subscribe.subscribe, { channel: "node", recover: true, offset: 0, epoch: "" });
  assert.deepEqual(rpc.rpc, { method: "task.list", data: {} });
});

test("publications of the reply and of pushes are one gapless sequence, each offset once", () => {
  const bench = new Bench().connect().subscribed("c", [{ offset: 1, data: {} }, { offset: 2, data: {} }]);
  bench.pub("c", 2).pub("c", 3).pub("c", 3).pub("c", 4);
  assert.deepEqual(bench.offsets(), [1, 2, 3, 4]);
});

test("a hole is asked for again from the last event seen", () => {
  const bench = new Bench().connect().subscribed("c", [{ offset: 1, data: {} }]);
  bench.pub("c", 3);
  const [unsubscribe, subscribe] = bench.commands();
  assert.equal(unsubscribe.unsubscribe.channel, "c");
  assert.deepEqual(subscribe.subscribe, { channel: "c", recover: true, offset: 1, epoch: "e" });
  bench.pub("c", 4); // of the old subscription
  bench.say({ id: subscribe.id, subscribe: { epoch: "e", offset: 1, recovered: true, was_recovering: true, publications: [{ offset: 2, data: {} }, { offset: 3, data: {} }] } });
  assert.deepEqual(bench.offsets(), [1, 2, 3]);
});

test("a hole that stays is told and passed, so that nobody waits for ever", () => {
  const bench = new Bench().connect().subscribed("c", [{ offset: 1, data: {} }]);
  for (let round = 0; round < GAP_REPAIRS_MAX; round++) {
    bench.pub("c", 5);
    const subscribe = bench.commands().find((command) => command.subscribe);
    bench.say({ id: subscribe.id, subscribe: { epoch: "e", offset: 1, recovered: true, was_recovering: true } });
  }
  bench.pub("c", 5);
  assert.deepEqual(bench.take("gap"), [{ type: "gap", channel: "c", from: 2, to: 4 }]);
  assert.deepEqual(bench.offsets(), [1, 5]);
});

test("a truncation marker stands for the offsets before it", () => {
  const bench = new Bench().connect().subscribed("c", [{ offset: 70, data: { type: "truncated" } }, { offset: 71, data: {} }]);
  assert.deepEqual(bench.offsets(), [70, 71]);
  assert.deepEqual(bench.take("gap"), []);
  bench.pub("c", 90, { type: "truncated" });
  assert.deepEqual(bench.offsets(), [90]);
});

test("a lost connection is dialled again and each channel goes on from its position", () => {
  const bench = new Bench().connect().subscribed("c", [{ offset: 1, data: {} }, { offset: 2, data: {} }]);
  bench.close();
  assert.equal(bench.take("lost").length, 1);
  bench.next();
  assert.equal(bench.take("dial").length, 2);
  bench.run(bench.session.opened(bench.now));
  bench.say({ id: bench.commands()[0].id, ...CONNECTED });
  assert.deepEqual(bench.commands()[0].subscribe, { channel: "c", recover: true, offset: 2, epoch: "e" });
});

test("a channel that is followed from a position alone is left where that is gone", () => {
  const bench = new Bench().connect();
  bench.run(bench.session.subscribe("conversation:t", { epoch: "e1", offset: 7 }, true));
  const [{ id, subscribe }] = bench.commands();
  assert.deepEqual([subscribe.offset, subscribe.epoch], [7, "e1"]);
  bench.say({ id, subscribe: { epoch: "e2", offset: 3, was_recovering: true, recovered: false } });
  assert.equal(bench.take("restarted").length, 1);
  assert.deepEqual(bench.commands().map(({ unsubscribe }) => unsubscribe?.channel), ["conversation:t"]);
  bench.run(bench.session.subscribe("conversation:t", { epoch: "e2", offset: 1 }, true));
  assert.equal(bench.commands()[0].subscribe.offset, 1, "and followed anew from another one");
});

test("a position that is gone starts the channel over from what is left", () => {
  const bench = new Bench().connect().subscribed("c", [{ offset: 1, data: {} }]);
  bench.close().next();
  bench.run(bench.session.opened(bench.now));
  bench.say({ id: bench.commands()[0].id, ...CONNECTED });
  const [again] = bench.commands();
  bench.say({ id: again.id, subscribe: { epoch: "f", offset: 9, recovered: false, was_recovering: true } });
  assert.equal(bench.take("restarted").length, 1);
  const start = bench.commands().find((command) => command.subscribe);
  assert.deepEqual(start.subscribe, { channel: "c", recover: true, offset: 0, epoch: "" });
  bench.say({ id: start.id, subscribe: { epoch: "f", offset: 0, recovered: true, was_recovering: true, publications: [{ offset: 1, data: {} }] } });
  assert.deepEqual(bench.offsets(), [1, 1]);
});

test("an unrecoverable beginning is taken as it is, without asking for ever", () => {
  const bench = new Bench().connect().subscribed("c", [], { offset: 40, recovered: false });
  assert.deepEqual(bench.commands(), []);
  bench.pub("c", 40).pub("c", 41);
  assert.deepEqual(bench.offsets(), [41]);
});

test("what was sent without an answer is sent again with the same data after a reconnect", () => {
  const bench = new Bench().connect();
  const data = { task: "t", text: "x", command_id: "id-1" };
  bench.run(bench.session.call(7, "task.prompt", data, bench.now));
  assert.equal(bench.commands().length, 1);
  bench.close().next();
  bench.run(bench.session.opened(bench.now));
  bench.say({ id: bench.commands()[0].id, ...CONNECTED });
  const [again] = bench.commands();
  assert.deepEqual(again.rpc, { method: "task.prompt", data });
  bench.say({ id: again.id, rpc: { data: { turn: "t1" } } });
  assert.deepEqual(bench.take("answer"), [{ type: "answer", key: 7, data: { turn: "t1" } }]);
  bench.close().next();
  bench.run(bench.session.opened(bench.now));
  bench.say({ id: bench.commands()[0].id, ...CONNECTED });
  assert.deepEqual(bench.commands(), []);
});

test("a pending outcome is asked for again under the same id, and told once as held", () => {
  const bench = new Bench().connect();
  bench.run(bench.session.call(1, "task.prompt", { command_id: "id-1" }, bench.now));
  for (const code of ["OUTCOME_PENDING", "UNAVAILABLE"]) {
    const [sent] = bench.commands();
    bench.say({ id: sent.id, error: { code: 1030, message: `${code}: wait`, temporary: true } });
    assert.deepEqual(bench.commands(), []);
    bench.next();
  }
  assert.equal(bench.take("held").length, 1);
  const [sent] = bench.commands();
  assert.equal(sent.rpc.data.command_id, "id-1");
});

test("a read whose outcome is unknown is asked again until it is answered; a command is not", () => {
  const bench = new Bench().connect();
  const unknown = { code: 1031, message: "OUTCOME_UNKNOWN: no answer in time", temporary: false };
  bench.run(bench.session.call(1, "conversation.history", { conversation: "t" }, bench.now));
  for (let round = 0; round < 3; round++) {
    bench.say({ id: bench.commands()[0].id, error: unknown });
    assert.deepEqual(bench.take("answer"), []);
    bench.next();
  }
  bench.say({ id: bench.commands()[0].id, rpc: { data: { offset: 7 } } });
  assert.deepEqual(bench.take("answer"), [{ type: "answer", key: 1, data: { offset: 7 } }]);
  bench.run(bench.session.call(2, "task.prompt", { command_id: "id-1" }, bench.now));
  bench.say({ id: bench.commands()[0].id, error: unknown });
  assert.equal(bench.take("answer")[0].error.name, "OUTCOME_UNKNOWN");
});

test("a command without an outcome is given back after its time, and only then", () => {
  const bench = new Bench().connect();
  bench.run(bench.session.call(1, "task.prompt", {}, bench.now));
  bench.close();
  bench.now += CALL_GIVE_UP_MS - 1;
  bench.run(bench.session.due(bench.now, 0.5));
  assert.deepEqual(bench.take("answer"), []);
  bench.now += 1;
  bench.run(bench.session.due(bench.now, 0.5));
  assert.equal(bench.take("answer")[0].error.name, "OUTCOME_PENDING");
});

test("refusals that wait for a person are not repeated", () => {
  const bench = new Bench().connect();
  bench.run(bench.session.call(1, "task.prompt", {}, bench.now));
  bench.say({ id: bench.commands()[0].id, error: { code: 1020, message: "BUSY: 16 prompts wait", temporary: true } });
  const [answer] = bench.take("answer");
  assert.deepEqual(answer.error, { code: 1020, name: "BUSY", message: "16 prompts wait", temporary: true });
});

test("more unanswered commands than the server reads are refused at once", () => {
  const bench = new Bench().connect();
  for (let key = 0; key <= CALLS_MAX; key++) bench.run(bench.session.call(key, "task.list", {}, bench.now));
  assert.deepEqual(bench.take("answer").map(({ key, error }) => [key, error.name]), [[CALLS_MAX, "BUSY"]]);
  assert.equal(bench.commands().length, CALLS_MAX);
});

test("a command too long for the session's bound is refused at once", () => {
  const bench = new Bench().connect();
  bench.run(bench.session.call(1, "task.prompt", { text: "x".repeat(300_000) }, bench.now));
  assert.equal(bench.take("answer")[0].error.name, "INVALID_REQUEST");
  assert.deepEqual(bench.commands(), []);
});

test("a ping is answered; silence beyond it gives the socket up", () => {
  const bench = new Bench().connect();
  bench.say({});
  assert.deepEqual(bench.commands(), [{}]);
  assert.equal(bench.session.deadline(), bench.now + 25_000 + PING_GRACE_MS);
  bench.next();
  assert.equal(bench.take("close")[0].code, 4000);
  assert.equal(bench.session.phase, "waiting");
});

test("a connect that is not answered is given up and tried again", () => {
  const bench = new Bench();
  bench.run(bench.session.connect(bench.now));
  bench.run(bench.session.opened(bench.now));
  assert.equal(bench.session.deadline(), bench.now + CONNECT_WITHIN_MS);
  bench.next();
  assert.equal(bench.session.phase, "waiting");
});

test("backoff doubles up to its bound and starts again after a connect", () => {
  const bench = new Bench();
  bench.run(bench.session.connect(bench.now));
  const waits = [];
  for (let round = 0; round < 10; round++) {
    bench.close();
    waits.push(bench.session.deadline() - bench.now);
    bench.next();
  }
  assert.deepEqual(waits.slice(0, 3), [187.5, 375, 750]);
  assert.equal(waits[9], DIAL_LAST_MS * 0.75);
  bench.run(bench.session.opened(bench.now));
  bench.say({ id: bench.commands()[0].id, ...CONNECTED });
  bench.close();
  assert.equal(bench.session.deadline() - bench.now, 187.5);
});

test("close codes that forbid another try end the session", () => {
  for (const [code, phase] of [[3000, "waiting"], [3499, "waiting"], [3500, "ended"], [3999, "ended"], [4000, "waiting"], [4500, "ended"], [1006, "waiting"]]) {
    const bench = new Bench().connect().close(code);
    assert.equal(bench.session.phase, phase, `code ${code}`);
  }
});

test("an expired token ends the session; a temporary error of the connect does not", () => {
  for (const [error, phase] of [[{ code: 109, message: "token expired", temporary: false }, "ended"], [{ code: 100, message: "internal", temporary: true }, "waiting"]]) {
    const bench = new Bench();
    bench.run(bench.session.connect(bench.now));
    bench.run(bench.session.opened(bench.now));
    bench.say({ id: bench.commands()[0].id, error });
    assert.equal(bench.session.phase, phase);
  }
});

test("disconnect and unsubscribe pushes do what their codes say", () => {
  const gone = new Bench().connect().say({ push: { disconnect: { code: 3501, reason: "bad request" } } });
  assert.deepEqual(gone.take("ended"), [{ type: "ended", code: 3501, reason: "bad request" }]);
  const again = new Bench().connect().subscribed("c", [{ offset: 1, data: {} }]).say({ push: { channel: "c", unsubscribe: { code: 2500, reason: "" } } });
  assert.equal(again.commands()[0].subscribe.offset, 1);
  const refused = new Bench().connect().subscribed("c").say({ push: { channel: "c", unsubscribe: { code: 2000, reason: "no" } } });
  assert.equal(refused.take("refused").length, 1);
  assert.deepEqual(refused.commands(), []);
});

test("a subscription is tried again on a temporary error and given up on another", () => {
  const bench = new Bench().connect();
  bench.run(bench.session.subscribe("c"));
  bench.say({ id: bench.commands()[0].id, error: { code: 1032, message: "UNAVAILABLE: settling", temporary: true } });
  bench.next();
  const [again] = bench.commands();
  assert.equal(again.subscribe.channel, "c");
  bench.say({ id: again.id, error: { code: 1003, message: "UNKNOWN_CHANNEL: c", temporary: false } });
  assert.equal(bench.take("refused")[0].error.name, "UNKNOWN_CHANNEL");
});

test("a late reply to a channel that was left and taken again is not taken for the new one", () => {
  const bench = new Bench().connect();
  bench.run(bench.session.subscribe("c"));
  const [old] = bench.commands();
  bench.run(bench.session.unsubscribe("c"));
  bench.run(bench.session.subscribe("c"));
  bench.say({ id: old.id, subscribe: { epoch: "e", offset: 0, recovered: true, was_recovering: true, publications: [{ offset: 1, data: {} }] } });
  assert.deepEqual(bench.offsets(), []);
});

test("what is not the protocol costs the connection, not the page", () => {
  const bench = new Bench().connect();
  bench.run(bench.session.received("not json", bench.now, 0.5));
  assert.equal(bench.session.phase, "waiting");
});
