import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation } from "../conversation.js";
import { durationText, errorText, sealText, signedOutText } from "../messages.js";
import { NodeState, OFFLINE_AFTER_MS, TRANSITIONS_MAX, Tasks, connectionLabel } from "../store.js";
import { WINDOW_CHUNKS, atEnd, earlier, later, staying } from "../window.js";

function fold(...events) {
  const conversation = new Conversation("t");
  for (const event of events) conversation.apply(event);
  return conversation;
}
const started = (turn, text = "x") => ({ type: "turn.started", turn, text, at: 1000 });
const output = (turn, text, stream = "stdout") => ({ type: "turn.output", turn, stream, text });
const sealed = (turn, rest = {}) => ({ type: "turn.sealed", turn, stop_reason: "end_turn", exit_code: 0, at: 3500, ...rest });

test("a turn begins, writes and ends with its exit code", () => {
  const conversation = fold(started("t1", "make"), output("t1", "a\n"), output("t1", "b\n", "stderr"), { type: "turn.skip", turn: "t1" }, sealed("t1", { exit_code: 2 }));
  const [turn] = conversation.shown();
  assert.deepEqual([turn.text, turn.state, turn.exitCode, turn.stderr], ["make", "sealed", 2, true]);
  assert.equal(turn.screen.text(), "a\nb\n");
  assert.equal(conversation.running(), null);
  assert.equal(durationText(turn), "2.5 s");
});

test("what is too long to be shown is said, and a tool call whose report it was ends", () => {
  const tool = { type: "turn.update", turn: "t1", update: { sessionUpdate: "tool_call", toolCallId: "c", title: "Edit", status: "pending" } };
  const done = { type: "turn.update", turn: "t1", update: { sessionUpdate: "tool_call_update", toolCallId: "c", status: "completed" }, reason: "too_long", bytes: 1200345 };
  const skip = (rest) => ({ type: "turn.skip", turn: "t1", ...rest });
  const [turn] = fold(started("t1"), tool, done, skip({ reason: "too_long", bytes: 1048580 }), skip({ reason: "too_long" }), skip({})).shown();
  assert.equal(turn.steps.tools.get("c").status, "completed");
  assert.deepEqual(turn.steps.list.filter(({ kind }) => kind === "long").map(({ text }) => text), [
    "The rest of a message of 1,200,345 bytes is not shown: it is too long",
    "A message of 1,048,580 bytes is not shown: it is too long",
    "A message is not shown: it is too long",
  ]);
});

test("that an agent has begun anew stands where it is so", () => {
  const says = (text) => ({ type: "turn.update", turn: "t2", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } });
  const turns = fold(started("t1"), sealed("t1"), started("t2"), { type: "session.lost", turn: "t2", at: 5 }, says("who are you?")).shown();
  assert.deepEqual(turns.map(({ steps }) => steps.list.map(({ kind }) => kind)), [[], ["lost", "text"]]);
  assert.match(turns[1].steps.text(), /^- The agent has begun anew\. It does not know what was said before\./);
});

test("the same events give the same turns, in one go or one by one", () => {
  const events = [started("t1"), output("t1", "\x1b[3"), output("t1", "1mred\rR"), { type: "turn.queued", turn: "t2", text: "y" }, sealed("t1"), started("t2", "y"), output("t2", "z")];
  const whole = fold(...events);
  const pieces = new Conversation("t");
  for (const event of events) {
    pieces.apply(event);
    for (const turn of pieces.turns.values()) turn.screen.takeTouched();
  }
  assert.deepEqual(pieces.shown().map((turn) => [turn.id, turn.state, turn.screen.text()]), whole.shown().map((turn) => [turn.id, turn.state, turn.screen.text()]));
});

test("queued prompts wait in order, start, or are taken back", () => {
  const conversation = fold(started("t1"), { type: "turn.queued", turn: "t2", text: "two" }, { type: "turn.queued", turn: "t3", text: "three" });
  assert.deepEqual(conversation.queued().map(({ text }) => text), ["two", "three"]);
  assert.deepEqual(conversation.shown().map(({ id }) => id), ["t1"]);
  conversation.apply(sealed("t2", { stop_reason: "cancelled", exit_code: undefined }));
  assert.deepEqual(conversation.queued().map(({ id }) => id), ["t3"]);
  assert.equal(sealText(conversation.turns.get("t2")).text, "Taken back before it ran");
  conversation.apply(sealed("t1"));
  conversation.apply(started("t3", "three"));
  assert.equal(conversation.running().id, "t3");
  assert.equal(conversation.queued().length, 0);
});

test("what is no longer kept is said: older turns, a part of a turn, a hole", () => {
  assert.equal(fold({ type: "truncated", turn: "t1", first: 1, last: 70 }, started("t2")).truncated, true);
  assert.equal(fold({ type: "truncated", turn: "t1", first: 1, last: 70 }, started("t2")).shown().length, 1);
  const cut = fold(started("t1"), { type: "truncated", turn: "t1", first: 2, last: 9 });
  assert.deepEqual([cut.truncated, cut.turns.get("t1").cut], [false, true]);
  const headless = fold(output("t5", "tail\n"));
  assert.deepEqual([headless.shown()[0].state, headless.shown()[0].cut], ["running", true]);
  const holed = fold(started("t1"));
  holed.hole(2, 4);
  assert.equal(holed.missing, 3);
});

test("events of kinds to come and of no form are passed over", () => {
  const conversation = fold(null, 7, {}, { type: "turn.new", turn: "t1" }, { type: "turn.output", turn: "t1", stream: "stdout" }, { type: "turn.update", turn: "t1", update: null });
  assert.equal(conversation.turns.get("t1").screen.text(), "");
});

test("a conversation past its bound keeps its turns and lets the oldest output go", () => {
  const conversation = fold(started("t1"), output("t1", "x".repeat(600) + "\n"), sealed("t1"), started("t2"), output("t2", "y".repeat(600) + "\n"));
  assert.deepEqual(conversation.limit(1000).map(({ id }) => id), ["t1"]);
  assert.equal(conversation.turns.get("t1").screen.text(), "");
  assert.equal(conversation.turns.get("t2").screen.chars, 601);
});

test("tasks: events that come while the list is asked for are kept behind it", () => {
  const tasks = new Tasks();
  tasks.asking();
  tasks.apply({ type: "task.changed", task: "a", state: "active" });
  tasks.listed([{ task: "a", skill: "command", state: "idle" }, { task: "b", skill: "command", state: "idle" }]);
  assert.deepEqual(tasks.sorted().map(({ task, state, skill }) => [task, state, skill]), [["a", "active", "command"], ["b", "idle", "command"]]);
  tasks.asking();
  tasks.listed([{ task: "b", state: "idle" }]);
  assert.equal(tasks.get("a"), null);
  assert.deepEqual([{ queued: ["t1"] }, { queued: 3 }, {}].map(Tasks.waiting), [1, 3, 0]);
});

test("tasks: which of them ask is said by the list and by events, and by a node of before by nobody", () => {
  const tasks = new Tasks();
  const asking = () => tasks.sorted().filter(Tasks.asks).map(({ task }) => task);
  tasks.listed([{ task: "a", permissions: 1, updated_at: 5 }, { task: "b", permissions: 0, updated_at: 5 }, { task: "c", updated_at: 5 }]);
  assert.deepEqual(asking(), ["a"]);
  tasks.apply({ type: "task.permissions", task: "b", permissions: 2, at: 6 });
  tasks.apply({ type: "task.permissions", task: "a", permissions: 0, at: 4 }); // of before the list
  assert.deepEqual(asking(), ["a", "b"]);
  tasks.apply({ type: "turn.sealed", task: "a", permissions: 0, at: 7 });
  assert.deepEqual(asking(), ["b"]);
  tasks.listed([{ task: "b", updated_at: 8 }]);
  assert.deepEqual(asking(), []);
});

test("the node's transitions are remembered, bounded", () => {
  const node = new NodeState();
  for (let n = 0; n < TRANSITIONS_MAX * 2; n++) node.apply({ type: "node.state", state: n % 2 ? "running" : "switching", active: { slot: "a", epoch: n } }, n);
  assert.equal(node.transitions.length, TRANSITIONS_MAX);
  assert.equal(node.apply({ type: "node.state", state: "running" }, 1), false);
});

test("switching, reconnecting and offline are told apart", () => {
  const up = { phase: "connected", downSince: null, now: 0, publicAnswers: null, everConnected: true, nodeState: "running" };
  const down = { ...up, phase: "waiting", downSince: 0, now: OFFLINE_AFTER_MS };
  const cases = [
    ["running", up], ["switching", { ...up, nodeState: "switching" }], ["settling", { ...up, nodeState: "settling" }], ["connected", { ...up, nodeState: null }],
    ["reconnecting", { ...down, now: OFFLINE_AFTER_MS - 1, publicAnswers: false }], ["reconnecting", { ...down, publicAnswers: true }],
    ["reconnecting", { ...down, publicAnswers: null }], ["offline", { ...down, publicAnswers: false }],
    ["connecting", { ...down, everConnected: false, publicAnswers: true }], ["signed-out", { ...up, phase: "ended" }],
  ];
  for (const [expected, facts] of cases) assert.equal(connectionLabel(facts), expected, JSON.stringify(facts));
});

test("every error says what to do", () => {
  assert.match(errorText({ name: "STORAGE_FULL", message: "12 MiB free", code: 1022 }).advice, /Free some space/);
  assert.deepEqual(errorText({ name: null, message: "", code: 7 }), { advice: "The node refused this.", said: "error 7", name: null });
  assert.match(signedOutText(3500, "invalid token"), /not known/);
  assert.match(signedOutText(109, ""), /expired/);
  assert.equal(signedOutText(null), null);
});

test("window: follows the end, stays where people read, and pages both ways within its size", () => {
  const range = { kept: 0, end: 1000 };
  const end = atEnd(range);
  assert.deepEqual(end, { first: 1000 - WINDOW_CHUNKS, last: 1000 });
  assert.deepEqual(staying(end, { kept: 0, end: 1500 }), end);
  const up = earlier(end, range);
  assert.deepEqual(up, { first: end.first - 60, last: end.last - 60 });
  assert.deepEqual(later(up, range), end);
  assert.deepEqual(staying({ first: 0, last: 5 }, { kept: 0, end: 9 }), { first: 0, last: 9 });
  assert.deepEqual(staying({ first: 0, last: 5 }, { kept: 7, end: 9 }), { first: 7, last: 9 });
  assert.deepEqual(atEnd({ kept: 0, end: 0 }), { first: 0, last: 0 });
});
