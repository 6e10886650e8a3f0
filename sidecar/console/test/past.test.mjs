import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation } from "../conversation.js";
import { Past, TURNS } from "../past.js";
import { Stretch } from "../stretch.js";
import { historyOf, output, sealed, started } from "./history.mjs";

/** `count` turns of four events each. */
const turns = (count) => Array.from({ length: count }, (_, at) => `t${at + 1}`).flatMap((id) => [started(id), output(id, `${id} one\n`), output(id, `${id} two\n`), sealed(id)]);

const reader = (history) => {
  const asked = [];
  const read = async (params) => {
    asked.push(params);
    return { error: null, data: history(params) };
  };
  return { asked, read };
};

function fold(events, after = 0) {
  const conversation = new Conversation("t");
  events.forEach((event, at) => conversation.apply(event, after + at + 1));
  return conversation;
}
const outline = ({ turns }) => [...turns.values()].map(({ id, text, state, screen }) => [id, text, state, screen.text()]);

test("a stretch is read in pieces, in order, and ends before its position", () => {
  const events = turns(6);
  for (const size of [1, 3, 1000]) {
    const history = historyOf(events, size);
    const stretch = new Stretch("t", { epoch: "e1", offset: 17 }, { turns: 2 });
    const seen = [];
    for (let params = stretch.next(); params !== null; params = stretch.next()) seen.push(...stretch.take(history(params)));
    assert.deepEqual(seen.map(({ offset }) => offset), [9, 10, 11, 12, 13, 14, 15, 16], `${size} at a time`);
    assert.deepEqual([stretch.after, stretch.more, stretch.failed], [8, true, false]);
  }
});

test("a stretch of a history that is another one by now fails, and so does one of a node that cannot count turns", () => {
  const gone = new Stretch("t", { epoch: "other", offset: 9 }, { turns: 1 });
  assert.deepEqual(gone.take(historyOf(turns(3))(gone.next())), []);
  assert.deepEqual([gone.next(), gone.failed], [null, true]);
  const old = new Stretch("t", { epoch: "e1", offset: 9 }, { turns: 1 });
  old.take({ epoch: "e1", offset: 12, recovered: true, publications: [{ offset: 1, data: {} }] });
  assert.equal(old.failed, true);
});

test("a conversation begins with its last turns, and with those before them it is what it would be from its first event", async () => {
  const events = turns(50);
  const { asked, read } = reader(historyOf(events, 7));
  const past = new Past("t", read);
  assert.deepEqual(await past.begin(), { epoch: "e1", offset: 120 });
  assert.deepEqual(asked, [{ conversation: "t", last: TURNS, limit: 0 }]);
  const conversation = fold(events.slice(120), 120);
  assert.deepEqual([past.more, past.gone], [true, false]);
  for (const left of [10, 0]) {
    const { older } = await past.older();
    conversation.prepend(older);
    assert.equal(conversation.turns.keys().next().value, `t${left + 1}`);
  }
  assert.equal(past.more, false);
  assert.equal(await past.older(), null, "there are none");
  assert.deepEqual(outline(conversation), outline(fold(events)));
  assert.equal(conversation.events, events.length);
});

test("what nobody keeps any more is said, also where only older turns are asked for", async () => {
  const past = new Past("t", reader(historyOf(turns(5), 1000, { kept: 8 })).read);
  assert.deepEqual(await past.begin(), { epoch: "e1", offset: 8 });
  assert.deepEqual([past.more, past.gone], [false, true]);
  const long = new Past("t", reader(historyOf(turns(30), 1000, { kept: 8 })).read);
  await long.begin();
  assert.equal(long.gone, false);
  assert.equal((await long.older()).older.truncated, true);
});

test("a node that cannot answer now is asked again, one that knows no turns is read from the beginning", async () => {
  const answers = [{ error: { name: "UNAVAILABLE", temporary: true } }, { error: null, data: historyOf(turns(1))({ last: { turns: 1 } }) }];
  const waited = [];
  const past = new Past("t", async () => answers.shift(), async (ms) => waited.push(ms));
  assert.deepEqual(await past.begin(), { epoch: "e1", offset: 0 });
  assert.equal(waited.length, 1);
  const old = new Past("t", async () => ({ error: { name: "INVALID_REQUEST", temporary: false }, data: null }));
  assert.deepEqual(await old.begin(), { epoch: "", offset: 0 });
  assert.deepEqual([old.more, old.gone], [false, false]);
});

test("a conversation is read from its beginning for no node that only did not answer", async () => {
  for (const name of ["OUTCOME_UNKNOWN", "UNAVAILABLE"]) {
    const unanswered = { error: { name, temporary: false }, data: null };
    const answers = [unanswered, unanswered, { error: null, data: historyOf(turns(50))({ last: TURNS, limit: 0 }) }];
    const waited = [];
    const past = new Past("t", async () => answers.shift(), async (ms) => waited.push(ms));
    assert.deepEqual(await past.begin(), { epoch: "e1", offset: 120 }, name);
    assert.deepEqual([past.more, waited.length], [true, 2], name);
  }
});

test("that older turns could not be had is known until they are wanted again", async () => {
  const history = historyOf(turns(50));
  let fails = false;
  const past = new Past("t", async (params) => (fails ? { error: { name: "INTERNAL_ERROR" }, data: null } : { error: null, data: history(params) }));
  await past.begin();
  assert.equal(past.failed, false);
  fails = true;
  await past.older();
  assert.equal(past.failed, true);
  fails = false;
  assert.equal((await past.older()).error, null);
  assert.equal(past.failed, false);
});

test("older turns come one after the other; an error leaves all as it was, a stop ends what is being read", async () => {
  const history = historyOf(turns(50));
  let [fails, open] = [false, null];
  const past = new Past("t", async (params) => {
    if (params.last?.before) await open;
    return fails ? { error: { name: "UNAVAILABLE" }, data: null } : { error: null, data: history(params) };
  });
  await past.begin();
  const begins = past.begins;
  fails = true;
  assert.deepEqual(await past.older(), { error: { name: "UNAVAILABLE" } });
  assert.deepEqual([past.begins, past.more, past.loading], [begins, true, false]);
  fails = false;
  let release;
  open = new Promise((done) => (release = done));
  const reading = past.older();
  assert.equal(past.loading, true);
  assert.equal(await past.older(), null, "one at a time");
  past.stop();
  release();
  assert.equal(await reading, null);
});

test("a prompt that was queued before what is loaded and taken back ends nothing, and gets its words with the older turns", () => {
  const events = [started("t1"), { type: "turn.queued", turn: "t3", text: "third" }, sealed("t1"), started("t2"), output("t2", "goes on\n"), { type: "turn.sealed", turn: "t3", stop_reason: "cancelled" }];
  const conversation = fold(events.slice(3), 3);
  assert.equal(conversation.running().id, "t2");
  assert.deepEqual([conversation.turns.get("t3").neverRan, conversation.turns.get("t3").text], [true, null]);
  conversation.prepend(fold(events.slice(0, 3)));
  assert.deepEqual([...conversation.turns.keys()], ["t1", "t2", "t3"]);
  assert.equal(conversation.turns.get("t3").text, "third");
  assert.deepEqual(conversation.queued(), []);
});

test("what was known of the agent before counts where nothing newer is known", () => {
  const commands = { type: "turn.update", turn: "t1", update: { sessionUpdate: "available_commands_update", availableCommands: [{ name: "review", description: "" }] } };
  const usage = (turn, used) => ({ type: "turn.update", turn, update: { sessionUpdate: "usage_update", used, size: 100 } });
  const older = fold([started("t1"), commands, usage("t1", 5), sealed("t1")]);
  const conversation = fold([started("t2"), usage("t2", 9)], 4);
  conversation.prepend(older);
  assert.equal(conversation.agent.commands[0].name, "review");
  assert.equal(conversation.agent.usage.used, 9);
});
