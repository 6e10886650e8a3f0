// The node's update in the page, against a stand-in for the sidecar: each state apart from the others, and from a connection that is down.
import assert from "node:assert/strict";
import { beforeEach } from "node:test";
import { pass, until } from "./node.mjs";
import { part, prompt, shows, states } from "./page.mjs";
import { loosely as check, close, load, mock, page, tasks } from "./stage.mjs";

// One task, whose prompts are command lines.
beforeEach(() => tasks.splice(0, tasks.length, { task: "t", skill: "command", state: "idle", queued: [] }));

const strip = () => page.locator("#update-strip");

const update = async (state, facts) => {
  mock.update(state, facts);
  await page.waitForFunction((wanted) => document.body.dataset.update === wanted, state, { timeout: 30_000 });
};

const SHOWN = [
  ["planned", "Update planned", { planned_reason: "minimum_update_period", operator_actions: ["cancel", "defer"], left: 200 }, ["holdfast update cancel", "holdfast update defer"]],
  ["preparing", "Preparing the update", { operator_actions: ["cancel"], left: 900 }, ["holdfast update cancel"]],
  ["prewarming", "Warming up", { operator_actions: ["cancel"], left: 60 }, ["holdfast update cancel"]],
  ["admitted", "Checking the new runtime", { operator_actions: ["cancel"], left: 60 }, ["holdfast update cancel"]],
  ["switching", "Switching", { left: 30 }, []],
  ["probation", "On probation", { operator_actions: ["rollback"], left: 60 }, ["holdfast rollback"]],
  ["rolling_back", "Rolling back", { left: 30 }, []],
  ["root_promotion_pending", "Root promotion pending", { operator_actions: ["cancel", "rollback", "promote_root"], left: 600_000 }, ["holdfast promote", "holdfast rollback", "holdfast update cancel"]],
  ["root_restart_in_progress", "Root restart in progress", { left: 180 }, []],
];

for (const [state, title, facts, commands] of SHOWN) {
  check(`update: ${state} is shown with what an operator may do, and is no lost connection`, async () => {
    await load();
    await shows(page, "running");
    await update(state, { target_version: "1.2.3", ...facts });
    assert.equal(await strip().locator("strong").textContent(), title);
    await strip().getByText("Release 1.2.3.").waitFor();
    assert.deepEqual(await strip().locator("code").allTextContents(), commands);
    assert.deepEqual(await strip().getByRole("button", { name: "Copy" }).allTextContents(), commands.map(() => "Copy"));
    assert.equal(await page.evaluate(() => document.body.dataset.connection), "running");
    assert.equal(await page.locator("#banner").isVisible(), false);
    assert.deepEqual(page.errors, []);
    mock.update("idle", { operator_actions: ["rollback"] });
    await strip().waitFor({ state: "hidden" });
  });
}

check("update: a countdown goes by the node's clock, and shows what is queued behind it", async () => {
  mock.clockAhead = 3_600_000;
  await load();
  await shows(page, "running");
  await update("countdown", { left: 30, whole: 60, operator_actions: ["cancel", "defer"], subsequent_transition: { action: "switch", slot: "a", target_version: "2.0.0" } });
  const left = () => strip().locator(".left").textContent();
  const seconds = async () => Number((await left()).match(/^begins in (\d+) s$/)?.[1] ?? NaN);
  await until("the node's own time", async () => (await seconds()) <= 30);
  const first = await seconds();
  assert.ok(first > 20, String(first));
  await until("it goes down", async () => (await seconds()) < first);
  await strip().getByText("Then: a switch to release 2.0.0 is queued.").waitFor();
  assert.ok((await strip().locator("progress").evaluate((bar) => bar.value)) >= 0.5);
});

check("update: a failure says its reason, stays until it is put away, and another one is shown again", async () => {
  await load();
  await shows(page, "running");
  await update("failed", { failure_reason: "candidate_died", failed_stage: "prewarming", operator_actions: ["rollback"] });
  assert.equal(await strip().locator("strong").textContent(), "Update failed");
  await strip().getByText("Reason: candidate_died (while prewarming).").waitFor();
  assert.deepEqual(await strip().locator("code").allTextContents(), ["holdfast attempts"]);
  assert.equal(await page.evaluate(() => document.body.dataset.connection), "running");
  await strip().getByRole("button", { name: "Put this away" }).click();
  await strip().waitFor({ state: "hidden" });
  mock.node("running");
  await update("rolled_back", { failure_reason: "probation_failed", failed_stage: "probation" });
  await strip().getByText("Update rolled back").waitFor();
});

check("update: the command is copied", async () => {
  await load("#token=secret&task=t", { permissions: ["clipboard-read", "clipboard-write"] });
  await shows(page, "running");
  await update("probation", { left: 60, operator_actions: ["rollback"] });
  await page.getByRole("button", { name: "Copy: holdfast rollback" }).click();
  await page.getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "holdfast rollback");
});

check("update: an ordinary switch is over before the page would jump, one that takes longer is shown", async () => {
  await load();
  await shows(page, "running");
  await page.evaluate(() => {
    window.appeared = 0;
    const strip = document.getElementById("update-strip");
    new MutationObserver(() => { if (!strip.hidden) window.appeared++; }).observe(strip, { attributes: true });
  });
  for (const state of ["prewarming", "admitted", "switching", "probation"]) mock.update(state, { left: 30 });
  await page.waitForFunction(() => document.body.dataset.update === "probation");
  mock.update("idle");
  await page.waitForFunction(() => document.body.dataset.update === "none");
  await pass(1_200); // longer than what is waited for
  assert.equal(await page.evaluate(() => window.appeared), 0);
  await update("prewarming", { left: 30 });
  await strip().getByText("Warming up").waitFor();
});

check("update: a root restart that cuts the connection is neither reconnecting nor offline", async () => {
  await load();
  await shows(page, "running");
  await update("root_restart_in_progress", { left: 180 });
  const accept = mock.upgrades.listeners("connection");
  mock.upgrades.removeAllListeners("connection").on("connection", (socket) => socket.terminate());
  mock.statusAnswers = false;
  for (const socket of mock.sockets.keys()) socket.terminate();
  await shows(page, "restarting");
  await pass(11_000); // longer than a silent node takes to be called offline
  assert.equal(await page.evaluate(() => document.body.dataset.connection), "restarting");
  await strip().getByText("Root restart in progress").waitFor();
  mock.statusAnswers = true;
  mock.upgrades.removeAllListeners("connection").on("connection", accept[0]);
  await shows(page, "running");
  mock.update("idle");
  await strip().waitFor({ state: "hidden" });
  assert.deepEqual((await states(page)).filter((state) => ["offline", "reconnecting"].includes(state)), []);
});

check("update: what the public status says is shown while the socket is down", async () => {
  await load();
  await shows(page, "running");
  mock.upgrades.removeAllListeners("connection").on("connection", (socket) => socket.terminate());
  for (const socket of mock.sockets.keys()) socket.terminate();
  await shows(page, "reconnecting");
  await update("rolling_back", { left: 20 });
  assert.equal(await strip().locator("strong").textContent(), "Rolling back");
});

check("update: nothing overflows a phone, in dark and in light", async () => {
  for (const colorScheme of ["dark", "light"]) {
    await load("#token=secret&task=t", { viewport: { width: 360, height: 740 }, colorScheme });
    await shows(page, "running");
    await update("root_promotion_pending", { target_version: "1.2.3-a-very-long-prerelease.name.of.a.build.20261121", operator_actions: ["cancel", "rollback", "promote_root"] });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
    const prompt = await page.locator(part("prompt")).boundingBox();
    assert.ok(prompt.y + prompt.height <= 740, JSON.stringify(prompt));
    await close();
  }
});
