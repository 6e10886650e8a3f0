// A client that is not ours, as it comes from npm: the Centrifuge SDK through switches and kills.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { Centrifuge } from "centrifuge";
import WebSocket from "ws";
import { uuidv7 } from "../../sidecar/console/uuid.js";
import { Node, pass, skip, until } from "./node.mjs";

const SWITCHES = 10;
const KILLS = 5;
const COMMANDS_EVERY_MS = 100;

let node;
before(async () => {
  if (!skip) node = await Node.up();
});
after(() => node?.end());

/** A connected client that counts what happens to it. */
async function connect() {
  const client = new Centrifuge(`${node.ready.url.replace("http", "ws")}ws`, { token: node.ready.token, websocket: WebSocket });
  client.disconnects = [];
  client.on("disconnected", (context) => client.disconnects.push(context));
  client.on("connecting", (context) => {
    if (context.code !== 0) client.disconnects.push(context); // 0: connect was called
  });
  client.connect();
  await client.ready(10_000);
  return client;
}

/** Subscribes from the beginning; `seen` fills with {offset, data}. */
function watch(client, channel) {
  const subscription = client.newSubscription(channel, { since: { offset: 0, epoch: "" }, recoverable: true, positioned: true });
  const seen = [];
  subscription.lost = [];
  subscription.on("publication", ({ offset, data }) => seen.push({ offset, data }));
  subscription.on("subscribed", (context) => {
    if (context.wasRecovering && !context.recovered) subscription.lost.push(context);
  });
  subscription.on("unsubscribed", (context) => subscription.lost.push(context));
  subscription.subscribe();
  return { subscription, seen };
}

/** One write command with an id of its own, tried again under that id while its outcome is pending; its answer. */
async function command(client, method, data) {
  const id = uuidv7(Date.now(), randomBytes(10));
  return until(`an answer to ${method}`, async () => {
    try {
      return (await client.rpc(method, { ...data, command_id: id })).data;
    } catch (error) {
      if (error.temporary) return null;
      throw new Error(`${method}: ${JSON.stringify(error)}`);
    }
  });
}

const text = (seen, turn) =>
  seen.filter(({ data }) => data.type === "turn.output" && data.turn === turn && data.stream === "stdout").map(({ data }) => data.text).join("");

test(`the Centrifuge SDK: no disconnect over ${SWITCHES} switches and ${KILLS} kills, every event once and in order`, { skip, timeout: 600_000 }, async () => {
  const client = await connect();
  try {
    await command(client, "task.open", { task: "watched", skill: "command" });
    const { subscription, seen } = watch(client, "conversation:watched");
    await subscription.ready(10_000);
    const { turn } = await command(client, "task.prompt", {
      task: "watched", text: "i=0; while [ ! -e stop ]; do i=$((i+1)); echo line $i; sleep 0.02; done; echo end $i",
    });
    await until("the turn runs", () => text(seen, turn).includes("line 5\n"));

    // Commands all along: tasks of their own, each prompted once.
    let going = true;
    const answers = [];
    const commands = (async () => {
      for (let n = 0; going; n++) {
        const task = `c${n}`;
        answers.push({ task, opened: await command(client, "task.open", { task, skill: "command" }), prompted: await command(client, "task.prompt", { task, text: `echo ${task} >> ../counted-${task}; cat ../counted-${task}` }) });
        await pass(COMMANDS_EVERY_MS); // the pace of the commands, not a wait for anything
      }
    })();

    const faults = Array.from({ length: SWITCHES + KILLS }, (_, at) => (at % 3 === 2 ? "kill" : "switch"));
    for (const fault of faults) {
      const written = seen.length;
      if (fault === "switch") await node.switch();
      else await node.killActive();
      await until(`events go on after a ${fault}`, () => seen.length > written);
    }
    going = false;
    await commands;

    const late = await connect();
    const joined = watch(late, "conversation:watched");
    await command(client, "task.cancel", { task: "watched" });
    await until("the turn is sealed", () => seen.some(({ data }) => data.type === "turn.sealed" && data.turn === turn));
    await until("the late one has seen it all", () => joined.seen.length >= seen.length);

    assert.deepEqual([client.disconnects, subscription.lost, late.disconnects, joined.subscription.lost], [[], [], [], []]);
    assert.deepEqual(seen.map(({ offset }) => offset), seen.map((_, at) => at + 1));
    assert.deepEqual(joined.seen, seen);
    const written = text(seen, turn).trimEnd().split("\n");
    assert.deepEqual(written, written.map((_, at) => `line ${at + 1}`));
    assert.ok(answers.length >= faults.length, `${answers.length} commands`);
    for (const { task, opened, prompted } of answers) await ranOnce(client, task, opened, prompted);
    console.log(`${faults.length} faults, ${seen.length} events, ${answers.length * 2} commands, no disconnect`);
    late.disconnect();
  } catch (error) {
    console.error(node.logs());
    throw error;
  } finally {
    client.disconnect();
  }
});

/** A command that was answered took effect exactly once. */
async function ranOnce(client, task, opened, prompted) {
  assert.deepEqual([opened.task, opened.mode], [task, "created"]);
  const { subscription, seen } = watch(client, `conversation:${task}`);
  await until(`the turn of ${task}`, () => seen.some(({ data }) => data.type === "turn.sealed"));
  subscription.unsubscribe();
  client.removeSubscription(subscription);
  assert.deepEqual(seen.filter(({ data }) => data.type === "turn.started").map(({ data }) => data.turn), [prompted.turn]);
  assert.equal(text(seen, prompted.turn), `${task}\n`);
}

test("errors have their code and name, and harm nobody else", { skip, timeout: 60_000 }, async () => {
  const client = await connect();
  try {
    await assert.rejects(client.rpc("task.nonsense", {}), (error) => error.code === 1002 && /^UNKNOWN_METHOD/.test(error.message));
    await assert.rejects(client.rpc("task.prompt", { task: "nobody", text: "x" }), (error) => error.code === 1010 && error.temporary !== true);
    assert.deepEqual(client.disconnects, []);
  } finally {
    client.disconnect();
  }
});

test("a wrong token ends the client for good", { skip, timeout: 60_000 }, async () => {
  const client = new Centrifuge(`${node.ready.url.replace("http", "ws")}ws`, { token: "wrong", websocket: WebSocket });
  const ended = new Promise((done) => client.once("disconnected", done));
  client.connect();
  assert.equal((await ended).code, 3500);
});
