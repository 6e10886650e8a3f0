import assert from "node:assert/strict";
import { test } from "node:test";
import { NONE, PANES_MAX, beside, choose, close, restore, room, seen } from "../panes.js";

test("choosing shows a task where the focus is, or goes to where it is", () => {
  const one = choose(NONE, "a");
  assert.deepEqual(one, { tasks: ["a"], focus: "a" });
  assert.deepEqual(choose(one, "b"), { tasks: ["b"], focus: "b" });
  const two = beside(one, "b", 2);
  assert.deepEqual(two, { tasks: ["a", "b"], focus: "b" });
  assert.deepEqual(choose(two, "a"), { tasks: ["a", "b"], focus: "a" });
});

test("beside: within the room there is, the focused one stays", () => {
  const two = { tasks: ["a", "b"], focus: "a" };
  assert.deepEqual(beside(two, "c", 3), { tasks: ["a", "c", "b"], focus: "c" });
  assert.deepEqual(beside(two, "c", 2), { tasks: ["a", "c"], focus: "c" });
  assert.deepEqual(beside(two, "c", 1), { tasks: ["c", "b"], focus: "c" });
  assert.deepEqual(beside(NONE, "a", 3), { tasks: ["a"], focus: "a" });
  let panes = NONE;
  for (const task of "abcdefgh") panes = beside(panes, task, 9);
  assert.equal(panes.tasks.length, PANES_MAX);
  assert.equal(panes.focus, "h");
});

test("closing gives the focus to the neighbour", () => {
  const three = { tasks: ["a", "b", "c"], focus: "b" };
  assert.deepEqual(close(three, "b"), { tasks: ["a", "c"], focus: "a" });
  assert.deepEqual(close(three, "c"), { tasks: ["a", "b"], focus: "b" });
  assert.deepEqual(close({ tasks: ["a"], focus: "a" }, "a"), { tasks: [], focus: null });
});

test("what is seen depends on the width; the focused one always is", () => {
  assert.deepEqual([390, 720, 721, 1100, 1500, 4000].map(room), [1, 1, 1, 2, 3, 4]);
  const all = { tasks: ["a", "b", "c"], focus: "c" };
  assert.deepEqual([seen(all, 3), seen(all, 2), seen(all, 1)], [["a", "b", "c"], ["a", "c"], ["c"]]);
  assert.deepEqual(restore(["b", "a", "b", "c", "d", "e"]), { tasks: ["b", "a", "c", "d"], focus: "b" });
  assert.deepEqual(restore([]), { tasks: [], focus: null });
});
