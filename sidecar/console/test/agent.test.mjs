import assert from "node:assert/strict";
import { test } from "node:test";
import { planProgress } from "../agent.js";
import { offered } from "../commands.js";
import { Conversation } from "../conversation.js";
import { pauseText, sealText } from "../messages.js";
import { readModes } from "../modes.js";
import { answerText, permissionTitle } from "../permission.js";
import { Steps, TEXT_CHARS, stepTexts } from "../steps.js";
import { Tasks } from "../store.js";
import { toolText } from "../tool.js";
import { meter, readUsage, short, usageText } from "../usage.js";

const started = { type: "turn.started", turn: "t1", text: "x", at: 1000 };
const sealed = (rest = {}) => ({ type: "turn.sealed", turn: "t1", stop_reason: "end_turn", at: 3500, ...rest });
const update = (sessionUpdate, fields = {}) => ({ type: "turn.update", turn: "t1", update: { sessionUpdate, ...fields } });
const words = (text, kind = "agent_message_chunk", rest = {}) => update(kind, { content: { type: "text", text }, ...rest });
const asked = (request = "7", rest = {}) => ({
  type: "permission.requested", turn: "t1", request, tool_call: { toolCallId: "c1", title: "Delete a file" },
  options: [{ optionId: "yes", name: "Allow", kind: "allow_once" }, { optionId: "no", name: "Reject", kind: "reject_once" }], ...rest,
});
const answered = (rest = {}) => ({ type: "permission.answered", turn: "t1", request: "7", outcome: "selected", option_id: "yes", by: "local:0", ...rest });

function fold(...events) {
  const conversation = new Conversation("t");
  for (const event of events) conversation.apply(event);
  return conversation;
}
const turnOf = (...events) => fold(...events).turns.get("t1");
/** What a turn's steps look like, in short. */
const outline = ({ steps }) => steps.list.map((step) => (step.kind === "text" ? `${step.voice}: ${stepTexts(step).join(" / ")}` : step.kind === "tool" ? `tool ${step.id} ${step.title} ${step.status}` : step.kind === "plan" ? `plan ${step.entries.map(({ text, status }) => `${text}=${status}`).join()}` : step.kind === "permission" ? `permission ${step.request} ${step.answer?.option ?? "-"}` : `${step.kind} ${step.text} ×${step.count}`));

test("every kind of update has its step, in order of its beginning", () => {
  const turn = turnOf(started, words("hm", "agent_thought_chunk"), words("I "), words("look"), update("tool_call", { toolCallId: "1", title: "Read a.rs", status: "in_progress" }),
    update("plan", { entries: [{ content: "a", status: "completed", priority: "high" }, { content: "b", status: "pending" }] }),
    update("tool_call_update", { toolCallId: "1", status: "completed" }), words("done"), update("current_mode_update", { currentModeId: "ask" }),
    update("plan", { entries: [{ content: "a", status: "completed" }, { content: "b", status: "in_progress" }] }), words("said before", "user_message_chunk"));
  assert.deepEqual(outline(turn), ["thought: hm", "message: I look", "tool 1 Read a.rs completed", "plan a=completed,b=in_progress", "message: done", "mode ask ×1", "user: said before"]);
  assert.deepEqual(planProgress(turn.steps.plan), { done: 1, all: 2, current: "b" });
});

test("commands, mode, usage and title are the conversation's", () => {
  const { agent, turns } = fold(started, update("available_commands_update", { availableCommands: [{ name: "review", description: "Look", input: { hint: "what" } }, { name: "/init" }, {}, null] }),
    update("current_mode_update", { currentModeId: "code" }), update("usage_update", { used: 500, size: 2000 }), update("session_info_update", { title: "T" }));
  assert.deepEqual(agent.commands.map(({ name, hint }) => [name, hint]), [["review", "what"], ["init", null]]);
  assert.deepEqual([agent.mode, agent.usage.used, agent.title], ["code", 500, "T"]);
  assert.equal(turns.get("t1").usage.size, 2000);
});

test("an update of a kind to come is one line with its kind, and counts up", () => {
  const turn = turnOf(started, update("dream_update"), update("dream_update"), update("other"), update("constructor"), { type: "turn.update", turn: "t1", update: {} }, { type: "turn.update", turn: "t1", update: null });
  assert.deepEqual(outline(turn), ["unknown dream_update ×2", "unknown other ×1", "unknown constructor ×1", "unknown (no kind) ×1"]);
});

test("events without form change nothing and break nothing", () => {
  const odd = [update("agent_message_chunk"), update("agent_message_chunk", { content: null }), update("agent_message_chunk", { content: { type: "text", text: 5 } }),
    update("tool_call"), update("tool_call_update", { toolCallId: "2", content: [null, 5, {}, { type: "diff" }], locations: [{}, null], status: "odd" }), update("plan"), update("plan", { entries: [null] }),
    update("current_mode_update"), update("available_commands_update"), update("usage_update", { used: "x" }), asked("9", { options: null, tool_call: null }), answered({ request: "none" })];
  for (const event of odd) assert.doesNotThrow(() => fold(started, event, sealed()), JSON.stringify(event));
});

test("tool calls: updates merge by id, in whatever order they come", () => {
  const content = [{ type: "content", content: { type: "text", text: "out" } }, { type: "diff", path: "/w/a", oldText: "1\n", newText: "2\n" }, { type: "terminal", terminalId: "term-1" }];
  const begin = update("tool_call", { toolCallId: "1", title: "Edit", kind: "edit", status: "pending", locations: [{ path: "/w/a", line: 3 }], rawInput: { a: 1 } });
  const end = update("tool_call_update", { toolCallId: "1", status: "completed", content });
  for (const order of [[begin, end], [end, begin]]) {
    const { steps } = turnOf(started, ...order);
    assert.equal(steps.list.length, 1);
    const [tool] = steps.list;
    assert.deepEqual([tool.title, tool.toolKind, tool.status, tool.content.map(({ type }) => type)], ["Edit", "edit", "completed", ["text", "diff", "terminal"]], "a late beginning undoes no end");
    assert.match(toolText(tool), /"a": 1[^]*out[^]*term-1/);
  }
  const two = turnOf(started, begin, update("tool_call", { toolCallId: "2", title: "Other" }), end);
  assert.deepEqual(outline(two), ["tool 1 Edit completed", "tool 2 Other null"]);
  const again = turnOf(started, begin, end, update("tool_call", { toolCallId: "1", title: "Edit more", status: "pending" }));
  assert.deepEqual(outline(again), ["tool 1 Edit more pending"], "an agent may begin a call again");
});

test("a tool's content is bounded", () => {
  const { steps } = turnOf(started, update("tool_call", { toolCallId: "1", content: Array.from({ length: 500 }, () => ({ type: "content", content: { type: "text", text: "x" } })), rawOutput: "y".repeat(1_000_000) }));
  assert.equal(steps.list[0].content.length, 50);
  assert.ok(steps.list[0].output.length < 300_000);
});

test("a late join in the middle of a turn: an update of a tool that began before is shown", () => {
  const turn = turnOf({ type: "truncated", turn: "t1", first: 1, last: 9 }, update("tool_call_update", { toolCallId: "5", status: "completed", title: "Built" }), words("and on"));
  assert.deepEqual(outline(turn), ["tool 5 Built completed", "message: and on"]);
  assert.deepEqual([turn.state, turn.cut], ["running", true]);
});

test("the same events give the same steps, whether they come at once, one by one, or again after a reconnect", () => {
  const events = [started, words("a **b"), words("** c\n\n```js\nx"), words("\n```\n"), update("tool_call", { toolCallId: "1", title: "T" }), asked(), answered(), words("end"), sealed()];
  const whole = fold(...events);
  const again = new Conversation("t");
  events.forEach((event, at) => {
    again.apply(event, at + 1);
    if (at % 3 === 2) events.slice(0, at + 1).forEach((old, before) => again.apply(old, before + 1)); // replayed
  });
  assert.deepEqual(outline(again.turns.get("t1")), outline(whole.turns.get("t1")));
  assert.equal(again.turns.get("t1").steps.text(), whole.turns.get("t1").steps.text());
});

test("permissions: asked once, answered once, by whom and with what", () => {
  const turn = turnOf(started, asked(), asked());
  assert.equal(turn.steps.pending().length, 1);
  const [step] = turn.steps.list;
  assert.equal(answerText(step, false), null);
  assert.match(answerText(step, true).text, /the turn ended/);
  const cases = [
    [{}, "Allowed by local:0: Allow"], [{ option_id: "no", by: undefined }, "Rejected: Reject"], [{ option_id: "gone" }, "Answered by local:0: gone"],
    [{ outcome: "cancelled", option_id: undefined }, "Cancelled by local:0: nothing was chosen."],
  ];
  for (const [rest, text] of cases) {
    const { steps } = turnOf(started, asked(), answered(rest));
    assert.equal(answerText(steps.list[0], false).text, text);
    assert.equal(steps.pending().length, 0);
  }
  const lost = turnOf(started, asked(), answered({ option_id: "no" })).steps.list[0];
  lost.lost = true;
  assert.equal(answerText(lost, false).text, "Somebody else answered first. Rejected by local:0: Reject");
});

test("a permission for a call that is known already shows what was said of it", () => {
  const begin = update("tool_call", { toolCallId: "c1", title: "Write a.txt", kind: "edit", content: [{ type: "diff", path: "/a", oldText: "", newText: "x" }] });
  const turn = turnOf(started, begin, asked("7", { tool_call: { toolCallId: "c1" } }), update("tool_call_update", { toolCallId: "c1", title: "Wrote a.txt", status: "completed" }));
  const step = turn.steps.list[1];
  assert.deepEqual([permissionTitle(step), step.tool.content.length, step.kind], ["Write a.txt", 1, "permission"]);
  assert.deepEqual(outline(turn), ["tool c1 Wrote a.txt completed", "permission 7 -"]);
});

test("a conversation's waiting permissions are those of the running turn", () => {
  const conversation = fold(started, asked());
  assert.equal(conversation.pending().length, 1);
  conversation.apply(sealed({ stop_reason: "cancelled" }));
  assert.equal(conversation.pending().length, 0);
});

test("words: a long one is several steps, and another message or voice begins anew", () => {
  const turn = turnOf(started, ...Array.from({ length: 20 }, () => words("x".repeat(TEXT_CHARS / 8))));
  assert.ok(turn.steps.list.length >= 2 && turn.steps.list.every(({ size }) => size <= TEXT_CHARS * 1.2));
  assert.deepEqual(outline(turnOf(started, words("a", undefined, { messageId: "1" }), words("b", undefined, { messageId: "1" }), words("c", undefined, { messageId: "2" }))), ["message: ab", "message: c"]);
  assert.deepEqual(outline(turnOf(started, update("agent_message_chunk", { content: { type: "image", mimeType: "image/png", data: "AAAA" } }))), ["message: [image/png]"]);
});

test("a code block that is longer than a step goes on as code", () => {
  const { steps } = turnOf(started, words("```js\n"), ...Array.from({ length: 30 }, () => words(`${"y".repeat(1999)}\n`)), words("```\nafter"));
  assert.ok(steps.list.length > 1);
  const kinds = steps.list.flatMap(({ markdown }) => markdown.all().map(({ kind, info }) => `${kind} ${info ?? ""}`));
  assert.deepEqual([...new Set(kinds)], ["code js", "paragraph "]);
});

test("steps past their bound go, the oldest first, and their numbers stay", () => {
  const steps = new Steps({ max: 10 });
  for (let n = 0; n < 25; n++) steps.note("unknown", `kind ${n}`);
  assert.deepEqual([steps.list.length, steps.dropped, steps.list[0].number, steps.list.at(-1).number], [10, 15, 15, 24]);
});

test("an agent's turns are let go of too when a conversation is past its bound", () => {
  const conversation = fold(started, words("x".repeat(600)), sealed());
  conversation.apply({ type: "turn.started", turn: "t2" });
  assert.equal(conversation.lossy(), false);
  assert.deepEqual(conversation.limit(500).map(({ id, steps, lost }) => [id, steps.list.length, lost]), [["t1", 0, true]]);
  assert.equal(conversation.lossy(), true);
});

test("usage: as the agent says it, in either spelling, in few words", () => {
  assert.deepEqual(readUsage({ inputTokens: 5, output_tokens: 7 }), { used: null, size: null, input: 5, output: 7, total: null });
  assert.equal(readUsage({}), null);
  assert.equal(readUsage(null), null);
  assert.deepEqual(meter(readUsage({ used: 85_000, size: 100_000 })), { share: 0.85, percent: 85, text: "85k of 100k tokens", tone: "warn" });
  assert.equal(meter(readUsage({ used: 1 })), null);
  assert.equal(meter(readUsage({ used: 9, size: 3 })).share, 1);
  assert.equal(usageText(readUsage({ input_tokens: 1200, output_tokens: 300 })), "1.2k in, 300 out tokens");
  assert.deepEqual([999, 1000, 31_400, 1_500_000].map(short), ["999", "1k", "31k", "1.5M"]);
  const turn = turnOf(started, update("usage_update", { used: 10, size: 100 }), sealed({ usage: { input_tokens: 4, output_tokens: 6 } }));
  assert.deepEqual(turn.usage, { used: 10, size: 100, input: 4, output: 6, total: null });
});

test("every end of a turn has its sign; those that broke off are loud", () => {
  const sign = (stopReason, agent = true, message = null) => sealText({ stopReason, exitCode: null, neverRan: false, message }, agent);
  assert.deepEqual(["end_turn", "cancelled", "failed", "interrupted", "limit", "new_reason"].map((reason) => [sign(reason).tone, sign(reason).loud]),
    [["good", false], ["warn", false], ["bad", true], ["bad", true], ["warn", true], ["quiet", false]]);
  assert.match(sign("interrupted").text, /the agent is gone/);
  assert.match(sign("interrupted", false).text, /the process is gone/);
  assert.match(sign("limit", false).text, /256 MiB/);
  assert.doesNotMatch(sign("limit", false, "cpu").text, /256 MiB/);
  assert.equal(turnOf(started, sealed({ stop_reason: "failed", detail: "auth needed" })).message, "auth needed");
});

test("what a transition of the node means here", () => {
  assert.match(pauseText("switching", true), /switching\. Output may pause/);
  assert.match(pauseText("settling", false), /settling\. What you send/);
  assert.equal(pauseText("running", true), null);
});

test("modes: from the list and from task.ready, and changed by whoever changes them", () => {
  const modes = { currentModeId: "ask", availableModes: [{ id: "ask", name: "Ask" }, { id: "code", name: "Code", description: "writes" }] };
  assert.equal(readModes({ availableModes: [] }), null);
  assert.equal(readModes(null), null);
  const tasks = new Tasks();
  tasks.listed([{ task: "a", skill: "demo", protocol: "acp", state: "idle", modes, updated_at: 10 }, { task: "b", skill: "demo", state: "idle" }]);
  assert.equal(tasks.get("a").modes.current, "ask");
  tasks.mode("a", "code");
  assert.equal(tasks.get("a").modes.current, "code");
  tasks.apply({ type: "task.ready", task: "a", at: 5, state: "idle", session: { resumed: false, modes } });
  assert.equal(tasks.get("a").modes.current, "code", "an event of before the list is no news");
  tasks.apply({ type: "task.ready", task: "b", at: 12, state: "ready", session: { resumed: true, modes } });
  assert.equal(tasks.get("b").modes.current, "ask");
  tasks.mode("none", "x");
  assert.equal(tasks.get("none"), null);
});

test("a worker that could not be started is told until one is there", () => {
  const tasks = new Tasks();
  tasks.apply({ type: "task.error", task: "a", state: "errored", code: "BOOTSTRAP_FAILED", message: "no such program", at: 1 });
  assert.deepEqual(tasks.get("a").trouble, { name: "BOOTSTRAP_FAILED", message: "no such program" });
  assert.equal(tasks.get("a").code, undefined);
  tasks.apply({ type: "task.ready", task: "a", at: 2, session: { resumed: false } });
  assert.equal(tasks.get("a").trouble, null);
});

test("commands are offered while a slash begins the prompt", () => {
  const commands = ["review", "preview", "init"].map((name) => ({ name, description: "", hint: null }));
  const names = (text) => offered(commands, text).map(({ name }) => name);
  assert.deepEqual(names("/"), ["review", "preview", "init"]);
  assert.deepEqual(names("/REV"), ["review", "preview"]);
  assert.deepEqual([names("/review x"), names("x /r"), names("")], [[], [], []]);
});

test("what a person decides on hides, moves and turns nothing around", () => {
  const evil = "rm a\u202eb\u2066\x1b[2K\u{e0041}\x7f";
  const seen = "rm a\ufffdb\ufffd␛[2K\ufffd␡";
  const call = { toolCallId: "c1", title: evil, locations: [{ path: evil }], rawInput: { command: evil }, content: [
    { type: "diff", path: evil, oldText: evil, newText: `${evil}\n\tx` }, { type: "content", content: { type: "text", text: evil } }, { type: "terminal", terminalId: evil }] };
  const turn = turnOf(started, update("tool_call", call), asked("7", { tool_call: call, options: [{ optionId: evil, name: evil, kind: "allow_once" }, { optionId: evil }] }));
  const [tool, permission] = turn.steps.list;
  for (const one of [tool, permission.tool]) {
    assert.equal(one.title, seen);
    assert.equal(one.locations[0].path, seen);
    assert.equal(JSON.parse(one.input).command.includes("\u202e"), false);
    assert.deepEqual(one.content, [{ type: "diff", path: seen, oldText: seen, newText: `${seen}\n\tx`, created: false }, { type: "text", text: seen }, { type: "terminal", id: seen }]);
  }
  assert.deepEqual(permission.options.map(({ id, name }) => [id, name]), [[evil, seen], [evil, seen]], "it is answered by its own id");
  assert.equal(permissionTitle(permission), seen);
});

test("past its bound in text a running turn lets its oldest steps go", () => {
  const steps = new Steps({ maxChars: 10_000 });
  for (let n = 0; n < 50; n++) steps.add({ kind: "tool", ...toolOf(`c${n}`) });
  assert.ok(steps.chars <= 10_000 && steps.chars > 8_000, String(steps.chars));
  assert.equal(steps.dropped + steps.list.length, 50);
  assert.equal(steps.list[0].number, steps.dropped);
  const last = steps.last;
  last.content = [{ type: "text", text: "x".repeat(20_000) }];
  steps.touch(last);
  assert.deepEqual(steps.list, [last], "one that grows past it alone stays");
});
const toolOf = (id) => ({ id, title: id, toolKind: null, locations: [], input: null, output: null, content: [{ type: "text", text: "x".repeat(500) }] });
