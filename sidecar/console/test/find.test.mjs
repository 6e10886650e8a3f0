import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation } from "../conversation.js";
import { PLACES_MAX, find } from "../find.js";
import { EXCERPTS_MAX, Older } from "../older.js";
import { historyOf, output, started, words } from "./history.mjs";

function fold(...events) {
  const conversation = new Conversation("t");
  for (const event of events) conversation.apply(event);
  return conversation;
}
const places = (conversation, text) => [...find(conversation, text)].flat();

test("search finds prompts, words, tools and output, in order, without regard to case", () => {
  const conversation = fold(started("t1", "find the Needle"), words("t1", "a nee**dle**, a needle\n\nand NEEDLE"),
    { type: "turn.update", turn: "t1", update: { sessionUpdate: "tool_call", toolCallId: "1", title: "grep needle" } }, started("t2", "x"), output("t2", "hay\nneedle\n"));
  assert.deepEqual(places(conversation, "needle"), [
    { turn: "t1", part: "ask", nth: 0 }, { turn: "t1", part: { step: 0, at: 0 }, nth: 0 }, { turn: "t1", part: { step: 0, at: 0 }, nth: 1 },
    { turn: "t1", part: { step: 0, at: 1 }, nth: 0 }, { turn: "t1", part: { step: 1, at: 0 }, nth: 0 }, { turn: "t2", part: { chunk: 0 }, nth: 0 },
  ]);
  assert.deepEqual(places(conversation, "nothing"), []);
  assert.deepEqual(places(conversation, "n"), [], "one letter is everywhere");
});

test("search is bounded and gives way while it goes", () => {
  const conversation = fold(started("t1", "x"), output("t1", "ab\n".repeat(PLACES_MAX * 50)));
  const batches = [...find(conversation, "ab")];
  assert.equal(batches.flat().length, PLACES_MAX);
  const long = fold(started("t1", "x"), output("t1", `${"y".repeat(100)}\n`.repeat(20_000)));
  assert.ok([...find(long, "zz")].length > 5);
});

function readAll(older, history, lacks = () => true) {
  let pieces = 0;
  for (let params = older.next("t"); params !== null && pieces < 1000; params = older.next("t"), pieces++) older.piece(history(params), lacks);
  return pieces;
}
const behind = (events) => ({ epoch: "e1", offset: events.length + 1 });

test("older: turns are looked through, prompts and places over the borders of pieces too", () => {
  const events = [started("t1", "a needle"), output("t1", "one nee"), output("t1", "warning\n", "stderr"), output("t1", "dle two"), started("t2", "x"), words("t2", "a need"), words("t2", "le"), started("t3", "y"), output("t3", "needle")];
  for (const size of [1, 2, 100]) {
    const older = new Older("Needle", behind(events));
    readAll(older, historyOf(events, size), (turn) => turn !== "t3");
    assert.deepEqual(older.excerpts.map(({ turn, nth, before, match, after }) => [turn, nth, before, match, after]),
      [["t2", 0, "a ", "needle", ""], ["t1", 1, "one ", "needle", " two"], ["t1", 0, "a ", "needle", ""]], `${size} at a time, the newest first`);
    assert.deepEqual([older.ended, older.back], [true, "t1"]);
  }
});

test("older: what was found is listed also where it stops in the middle of a long turn, once", () => {
  const events = [started("t1"), ...Array.from({ length: 40 }, (_, at) => output("t1", `needle ${at}\n`))];
  const [older, history] = [new Older("needle", behind(events)), historyOf(events, 10)];
  for (let go = 0; go < 2; go++) older.piece(history(older.next("t")), () => true);
  older.flush();
  assert.equal(older.excerpts.length, 19);
  readAll(older, history);
  assert.deepEqual([older.excerpts.length, new Set(older.excerpts.map(({ nth }) => nth)).size], [40, 40]);
});

test("older: only prompts that the page does not have are looked through", () => {
  const events = [started("t1", "needle"), output("t1", "needle\n")];
  const older = new Older("needle", behind(events));
  readAll(older, historyOf(events), (_turn, prompt) => !prompt);
  assert.deepEqual(older.excerpts.map(({ before, after }) => [before, after]), [["", " "]]);
});

test("older: it goes back stretch by stretch, is bounded, and begins before what the page has", () => {
  const many = Array.from({ length: 300 }, (_, at) => `t${at + 1}`).flatMap((id) => [started(id, "x"), output(id, `needle of ${id}\n`)]);
  const older = new Older("needle", { epoch: "e1", offset: 401 });
  assert.deepEqual(older.next("t"), { conversation: "t", last: { turns: 50, max_bytes: 1024 * 1024, before: { epoch: "e1", offset: 401 } } });
  readAll(older, historyOf(many, 10));
  assert.equal(older.excerpts.length, EXCERPTS_MAX);
  assert.ok(older.full && older.next("t") === null);
  assert.deepEqual([older.excerpts[0].turn, older.excerpts.at(-1).turn], ["t200", "t101"]);
  const rare = new Older("of t7\n", { epoch: "e1", offset: 401 });
  const pieces = readAll(rare, historyOf(many, 50));
  assert.deepEqual([rare.excerpts.length, rare.ended, rare.back, pieces], [1, true, "t1", 8]);
  const nothing = new Older("needle", { epoch: "", offset: 1 });
  assert.deepEqual([nothing.next("t"), nothing.ended], [null, true]);
  const cut = new Older("needle", { epoch: "other", offset: 9 });
  assert.equal(readAll(cut, historyOf(many)), 1);
  assert.equal(cut.ended, true);
});
