import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation } from "../conversation.js";
import { PLACES_MAX, find } from "../find.js";
import { EXCERPTS_MAX, Older } from "../older.js";

function fold(...events) {
  const conversation = new Conversation("t");
  for (const event of events) conversation.apply(event);
  return conversation;
}
const started = (turn, text) => ({ type: "turn.started", turn, text });
const output = (turn, text, stream = "stdout") => ({ type: "turn.output", turn, stream, text });
const words = (turn, text) => ({ type: "turn.update", turn, update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } });
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

/** Answers of `conversation.history`: these events, so many at a time. */
function answers(events, size) {
  return ({ since }) => {
    const publications = events.map((data, at) => ({ offset: at + 1, data })).slice(since.offset, since.offset + size);
    return { epoch: "e1", offset: events.length, recovered: true, publications };
  };
}

function readAll(older, history, isGone = () => true) {
  let pieces = 0;
  for (let params = older.next("t"); params !== null && pieces < 1000; params = older.next("t"), pieces++) older.piece(history(params), isGone);
  return pieces;
}

test("older: pieces of the history are looked through, places over their borders too", () => {
  const events = [started("t1", "x"), output("t1", "one nee"), output("t1", "warning\n", "stderr"), output("t1", "dle two"), words("t2", "a need"), words("t2", "le"), output("t3", "needle")];
  for (const size of [1, 2, 100]) {
    const older = new Older("Needle");
    readAll(older, answers(events, size), (turn) => turn !== "t3");
    assert.deepEqual(older.excerpts.map(({ turn, before, match, after }) => [turn, before, match, after]), [["t1", "one ", "needle", " two"], ["t2", "a ", "needle", ""]], `${size} at a time`);
    assert.equal(older.ended, true);
  }
});

test("older: it ends, is bounded, and asks from where it stopped", () => {
  const events = Array.from({ length: 500 }, () => output("t1", "needle\n"));
  const older = new Older("needle");
  assert.deepEqual(older.next("t"), { conversation: "t", since: { epoch: "", offset: 0 } });
  const pieces = readAll(older, answers(events, 10));
  assert.equal(older.excerpts.length, EXCERPTS_MAX);
  assert.ok(pieces < 50 && older.next("t") === null);
  const empty = new Older("needle");
  assert.equal(readAll(empty, answers([], 10)), 1);
  const cut = new Older("needle");
  cut.piece({ epoch: "e1", offset: 9, recovered: true, publications: [{ offset: 1, data: output("t1", "x") }] }, () => true);
  cut.piece({ epoch: "e2", offset: 9, recovered: false, publications: [] }, () => true);
  assert.equal(cut.ended, true);
});
