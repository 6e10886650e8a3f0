import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeState, OFFLINE_AFTER_MS, connectionLabel } from "../store.js";
import { ROOT_RESTART_MS, shownUpdate } from "../update.js";

test("nothing is shown of a node at rest, nor of a state to come", () => {
  for (const state of ["idle", "succeeded", "cancelled", "brand_new", undefined]) assert.equal(shownUpdate({ state }, null, 0), null);
  assert.equal(shownUpdate(null, null, 0), null);
});

test("each state is told apart, and a failure has its reason", () => {
  const states = ["planned", "preparing", "countdown", "prewarming", "admitted", "switching", "probation", "rolling_back",
    "root_promotion_pending", "root_promoting", "root_restart_in_progress", "failed", "rolled_back", "expired"];
  assert.equal(new Set(states.map((state) => shownUpdate({ state }, null, 0).title)).size, states.length);
  const failed = shownUpdate({ state: "failed", failure_reason: "not_admitted", failed_stage: "rolling_back", operator_actions: ["rollback", "nonsense"] }, null, 0);
  assert.deepEqual(failed.details, ["Reason: not_admitted (while rolling back)."]);
  assert.deepEqual(failed.actions.map(({ command }) => command), ["holdfast attempts"]);
});

test("a switch that stops the old runtime first is said before it happens, and not behind it", () => {
  const said = (state, mode) => shownUpdate({ state }, null, 0, mode).details.join();
  assert.match(said("prewarming", "stop_and_switch"), /too little memory/);
  assert.deepEqual([said("prewarming", "warm_switch"), said("probation", "stop_and_switch")], ["", ""]);
});

test("the time left is rounded up, never below nothing, and shown as waiting or as a limit", () => {
  const countdown = { state: "countdown", state_since: 0, state_until: 60_000 };
  const at = (now) => shownUpdate(countdown, 60_000, now);
  assert.deepEqual([at(0).leftText, at(30_500).leftText, at(99_000).leftText], ["begins in 60 s", "begins in 30 s", "begins in 0 s"]);
  assert.deepEqual([at(0).share, at(30_000).share, at(99_000).share], [0, 0.5, 1]);
  assert.equal(shownUpdate({ state: "probation" }, 8_000_000, 0).leftText, "at most 2 h 13 min more");
  assert.equal(shownUpdate({ state: "probation" }, null, 0).leftText, null);
});

test("the node's own seconds count, whatever its clock says", () => {
  const node = new NodeState();
  node.apply({ type: "node.state", update: { state: "countdown", state_until: 1_000_000 } }, 5);
  assert.equal(node.due, 1_000_000);
  node.applyPublic({ update: { state: "countdown", state_until: 1_000_000, state_left_sec: 30 } }, 100);
  assert.equal(node.due, 30_100);
  node.apply({ type: "node.state", update: { state: "countdown", state_until: 1_000_000 } }, 200);
  assert.equal(node.due, 30_100, "the same again, from an older event");
  node.apply({ type: "node.state", update: { state: "prewarming", state_until: 2_000_000 } }, 300);
  assert.equal(node.due, 2_000_000);
  node.apply({ type: "node.state", update: { state: "idle" } }, 400);
  assert.equal(node.due, null);
});

test("a root restart explains a lost connection for as long as it may take, and no longer", () => {
  const down = { phase: "waiting", downSince: 0, publicAnswers: false, everConnected: true, nodeState: "running", update: { state: "root_restart_in_progress" } };
  assert.equal(connectionLabel({ ...down, now: OFFLINE_AFTER_MS }), "restarting");
  assert.equal(connectionLabel({ ...down, now: ROOT_RESTART_MS }), "offline");
  assert.equal(connectionLabel({ ...down, now: OFFLINE_AFTER_MS, update: { state: "probation" } }), "offline");
});
