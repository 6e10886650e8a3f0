// The console page against a stand-in for the sidecar: what is hard to bring about with a real node.
import assert from "node:assert/strict";
import { after, before, beforeEach, afterEach, test } from "node:test";
import { launch, skip } from "./chromium.mjs";
import { Mock } from "./mock.mjs";
import { pass, until } from "./node.mjs";
import { lines, open, output, part, prompt, says, seal, shows, states } from "./page.mjs";
import { out, sealed, started } from "./story.mjs";

const TURN = "conversation:t";
let browser, mock, page;
before(async () => {
  if (!skip) browser = await launch();
});
after(() => browser?.close());
beforeEach(async () => {
  mock = await new Mock().listen();
  mock.methods = {
    "task.list": () => ({ tasks: [{ task: "t", skill: "command", state: "idle", queued: [] }] }),
    "task.prompt": () => ({ turn: "t9" }), "task.cancel": () => ({}), "task.dequeue": () => ({}),
    "task.open": ({ task }) => ({ task, mode: "created", state: "ready" }),
  };
  mock.node("running");
});
afterEach(async () => {
  await page?.context().close();
  page = null;
  await mock.close();
});

const opened = async (hash = "#token=secret&task=t") => {
  page = await open(browser, mock.url + hash);
  return page;
};
const check = (name, body) => test(name, { skip, timeout: 120_000 }, body);

check("the token is taken from the fragment, erased there, and survives a reload in this tab", async () => {
  await opened("#token=secret&task=t");
  await shows(page, "running");
  assert.equal(new URL(page.url()).hash, "#task=t");
  await page.reload();
  await shows(page, "running");
  assert.equal(await page.evaluate(() => Object.values(localStorage).join() + document.cookie), "");
  assert.deepEqual(page.errors, []);
});

check("without a token the page asks for one, takes a whole link too, and says when it is wrong", async () => {
  await opened("");
  await page.locator("#sign-in").waitFor();
  await page.getByText("its runtime is running").waitFor();
  await page.fill("#token", "wrong");
  await page.press("#token", "Enter");
  await page.getByText("not known to this node").waitFor();
  assert.equal(mock.sockets.size, 0);
  await page.fill("#token", "http://127.0.0.1/#token=secret");
  await page.press("#token", "Enter");
  await shows(page, "running");
});

check("a turn is shown live: stderr apart, colours, lines written over, exit code", async () => {
  await opened();
  await shows(page, "running");
  mock.publish(TURN, started("t1", "make all"), out("t1", "10%\r"), out("t1", "warning\n", "stderr"), out("t1", "55%\r\x1b[32m100"));
  mock.publish(TURN, out("t1", "%\x1b[0m\n\x1b]0;title\x07<b>done</b>\n"), sealed("t1", { stop_reason: "failed", exit_code: 3 }));
  assert.equal(await seal(page, "t1"), "Exit code 3");
  assert.equal(await output(page, "t1"), "100%\n<b>done</b>\n");
  assert.equal(await output(page, "t1", "stderr"), "warning\n");
  assert.equal(await page.locator(".f2").first().textContent(), "100%");
  assert.equal(await page.locator('[data-turn="t1"] .ask').textContent(), "make all");
});

check("prompts, cancel and taking back are commands with ids; a queue is shown", async () => {
  await opened();
  await shows(page, "running");
  await prompt(page, "sleep 9");
  mock.publish(TURN, started("t1", "sleep 9"), { type: "turn.queued", turn: "t2", text: "two" }, { type: "turn.queued", turn: "t3", text: "three" });
  await page.getByRole("button", { name: "Take back: two" }).click();
  mock.publish(TURN, sealed("t2", { stop_reason: "cancelled" }));
  await page.getByText("Taken back before it ran").waitFor();
  assert.deepEqual(await page.locator(`${part("queue")} li span`).allTextContents(), ["three"]);
  await page.getByRole("button", { name: "Cancel turn" }).click();
  mock.publish(TURN, sealed("t1", { stop_reason: "cancelled", exit_code: 143 }));
  assert.equal(await seal(page, "t1"), "Cancelled · exit code 143");
  const writes = mock.calls.filter(({ method }) => !["task.list", "task.switch"].includes(method));
  assert.deepEqual(writes.map(({ method }) => method), ["task.prompt", "task.dequeue", "task.cancel"]);
  for (const { data } of writes) assert.match(data.command_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  assert.equal(new Set(writes.map(({ data }) => data.command_id)).size, 3);
});

check("a command without an answer is sent again with its id after the connection is back", async () => {
  await opened();
  await shows(page, "running");
  mock.held = true;
  await prompt(page, "once");
  await page.getByText("sending…").waitFor();
  const sent = () => mock.received.filter(({ method }) => method === "task.prompt").map(({ data }) => data);
  await until("the prompt was sent", () => sent().length >= 1);
  for (const socket of mock.sockets.keys()) socket.terminate();
  mock.waiting = [];
  mock.release();
  await page.locator(part("queue")).waitFor({ state: "hidden" });
  assert.equal(sent().length, 2);
  assert.deepEqual(sent()[0], sent()[1]);
});

check("a refused prompt says what to do and gives the text back", async () => {
  await opened();
  await shows(page, "running");
  mock.methods["task.prompt"] = () => ({ error: { code: 1022, message: "STORAGE_FULL: 12 MiB free", temporary: true } });
  await prompt(page, "echo hi");
  await page.getByText("Free some space").waitFor();
  assert.equal(await page.inputValue(part("prompt")), "echo hi");
});

check("switching is shown though it takes milliseconds; it is neither reconnecting nor offline", async () => {
  await opened();
  await shows(page, "running");
  await pass(800); // past what counts as replay
  mock.node("switching");
  mock.node("running", "b", 5);
  await shows(page, "switching");
  await shows(page, "running");
  assert.deepEqual((await states(page)).filter((state) => state !== "connected"), ["connecting", "running", "switching", "running"]);
});

check("a lost socket is reconnecting while the node answers, offline when nothing does, and comes back by itself", async () => {
  await opened();
  await shows(page, "running");
  const accept = mock.upgrades.listeners("connection");
  mock.upgrades.removeAllListeners("connection").on("connection", (socket) => socket.terminate());
  for (const socket of mock.sockets.keys()) socket.terminate();
  await shows(page, "reconnecting");
  await pass(11_000); // longer than a silent node takes to be called offline: it answers, so it is not
  assert.equal(await page.evaluate(() => document.body.dataset.connection), "reconnecting");
  mock.statusAnswers = false;
  await shows(page, "offline");
  await page.locator("#banner", { hasText: "The node does not answer" }).waitFor();
  mock.statusAnswers = true;
  mock.upgrades.removeAllListeners("connection").on("connection", accept[0]);
  mock.publish(TURN, started("t1"), out("t1", "meanwhile\n"));
  await shows(page, "running");
  await says(page, "t1", "meanwhile");
});

check("scrolling: follows the end, stays when scrolled up, and jumps back", async () => {
  await opened();
  await shows(page, "running");
  const atEnd = () => page.evaluate(() => {
    const { scrollTop, scrollHeight, clientHeight } = document.querySelector('[data-part="scroller"]');
    return scrollHeight - scrollTop - clientHeight < 40;
  });
  mock.publish(TURN, started("t1"), out("t1", lines(1, 500)));
  await says(page, "t1", "line 500\n");
  assert.equal(await atEnd(), true);
  assert.equal(await page.locator(part("jump")).isVisible(), false);
  await page.locator(part("scroller")).hover();
  await page.mouse.wheel(0, -2000);
  await page.locator(part("jump")).waitFor();
  const top = await page.evaluate(() => document.querySelector('[data-part="scroller"]').scrollTop);
  mock.publish(TURN, out("t1", lines(501, 900)));
  await says(page, "t1", "line 900\n");
  assert.equal(await page.evaluate(() => document.querySelector('[data-part="scroller"]').scrollTop), top);
  await page.locator(part("jump")).click();
  await page.locator(part("jump")).waitFor({ state: "hidden" });
  mock.publish(TURN, out("t1", lines(901, 950)));
  await says(page, "t1", "line 950\n");
  assert.equal(await atEnd(), true);
});

check("a reload in the middle of a turn shows the whole turn again and goes on", async () => {
  await opened();
  await shows(page, "running");
  mock.publish(TURN, started("t1"), out("t1", lines(1, 3000)));
  await says(page, "t1", "line 3000\n");
  await page.reload();
  await says(page, "t1", "line 3000\n");
  mock.publish(TURN, out("t1", lines(3001, 3100)), sealed("t1"));
  await seal(page, "t1");
  assert.equal(await output(page, "t1"), lines(1, 3100));
});

check("after a lost connection a conversation goes on from its last event, and the new session's focus is told", async () => {
  await opened();
  await shows(page, "running");
  mock.publish(TURN, started("t1"), out("t1", "one\n"));
  await says(page, "t1", "one\n");
  const asked = () => mock.subscribes.filter(({ channel }) => channel === TURN);
  assert.deepEqual(asked(), [{ channel: TURN, offset: 0, epoch: "" }]);
  for (const socket of mock.sockets.keys()) socket.terminate();
  mock.publish(TURN, out("t1", "two\n"));
  await says(page, "t1", "two\n");
  assert.deepEqual(asked().at(-1), { channel: TURN, offset: 2, epoch: "e1" });
  assert.equal(await output(page, "t1"), "one\ntwo\n");
  const switches = () => mock.calls.filter(({ method }) => method === "task.switch").map(({ data }) => data.task);
  await until("the focus was moved twice", () => switches().length >= 2);
  assert.deepEqual(switches(), ["t", "t"], "once per session, though it is refused");
});

check("choosing another task moves this session's focus there", async () => {
  mock.methods["task.list"] = () => ({ tasks: ["t", "u"].map((task) => ({ task, skill: "command", state: "idle" })) });
  mock.methods["task.switch"] = () => ({});
  await opened();
  await shows(page, "running");
  await page.locator("#task-list button", { hasText: "u" }).click();
  await page.getByRole("heading", { name: "u", level: 1 }).waitFor();
  const switches = () => mock.calls.filter(({ method }) => method === "task.switch").map(({ data }) => data.task);
  await until("the focus was moved twice", () => switches().length >= 2);
  assert.deepEqual(switches(), ["t", "u"]);
});

check("a history that is gone starts over and says so", async () => {
  await opened();
  await shows(page, "running");
  mock.publish(TURN, started("t1"), out("t1", "old\n"));
  await says(page, "t1", "old\n");
  mock.channels.set(TURN, { epoch: "e2", events: [started("t7"), out("t7", "new\n")] });
  for (const socket of mock.sockets.keys()) socket.terminate();
  await says(page, "t7", "new\n");
  await page.getByText("The beginning of this conversation is no longer kept").waitFor();
  assert.equal(await page.locator('[data-turn="t1"]').count(), 0);
});

check("a turn of 100,000 events is shown whole and in order, and the page stays usable", async () => {
  const events = Array.from({ length: 100_000 }, (_, at) => out("t1", `line ${at + 1}\n`, at % 100 === 99 ? "stderr" : "stdout"));
  mock.log(TURN).events.push(started("t1"), ...events);
  const from = Date.now();
  await opened();
  await says(page, "t1", "line 100000\n", "stderr", 60_000);
  const shown = Date.now() - from;
  const elements = await page.evaluate(() => document.querySelectorAll("*").length);
  assert.ok(elements < 20_000, `${elements} elements`);
  const seen = () => page.evaluate(() => [...document.querySelectorAll('[data-turn="t1"] .piece')].map((piece) => piece.textContent).join(""));
  const tail = (await seen()).trimEnd().split("\n");
  assert.ok(tail.length >= 50_000, `${tail.length} lines in the page`);
  assert.deepEqual(tail, lines(100_001 - tail.length, 100_000).trimEnd().split("\n"));
  await page.evaluate(async () => {
    const earlier = [...document.querySelectorAll('[data-turn="t1"] button')].find((button) => button.textContent === "Show earlier output");
    while (!earlier.hidden) {
      earlier.click();
      await new Promise(requestAnimationFrame);
    }
  });
  const head = (await seen()).trimEnd().split("\n");
  assert.deepEqual(head, lines(1, head.length).trimEnd().split("\n"));
  await page.locator(part("jump")).click();
  mock.publish(TURN, sealed("t1"));
  await seal(page, "t1");
  console.log(`100,000 events: shown after ${shown} ms, ${elements} elements`);
});

check("on a phone a long waiting prompt leaves its button in sight, and the node's panel opens with its facts", async () => {
  page = await open(browser, `${mock.url}#token=secret&task=t`, { viewport: { width: 400, height: 800 } });
  await shows(page, "running");
  const long = "cargo bench --workspace --all-features --a-very-long-option=with-a-value";
  mock.publish(TURN, started("t1"), { type: "turn.queued", turn: "t2", text: long });
  const box = await page.getByRole("button", { name: `Take back: ${long}` }).boundingBox();
  assert.ok(box.x >= 0 && box.x + box.width <= 400, JSON.stringify(box));
  await page.locator("#node-pill").press("Enter");
  await page.locator("#node-panel dd", { hasText: "rt-a-0a1b2c3d" }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#node-panel").waitFor({ state: "hidden" });
});

check("opens tasks by keyboard alone, on a phone too", async () => {
  page = await open(browser, `${mock.url}#token=secret`, { viewport: { width: 390, height: 800 } });
  await shows(page, "running");
  await page.locator("#tasks-toggle").press("Enter");
  await page.locator("#open-name").fill("docs");
  await page.locator("#open-name").press("Enter");
  await page.getByRole("heading", { name: "docs", level: 1 }).waitFor();
  assert.equal(await page.locator("#sidebar").isVisible(), false);
  assert.deepEqual(mock.calls.find(({ method }) => method === "task.open").data.skill, "command");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
});

check("nothing a task writes becomes part of the page", async () => {
  const attack = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>';
  mock.methods["task.list"] = () => ({ tasks: [{ task: attack, skill: attack, state: attack }, { task: "t", skill: "command", state: "idle" }] });
  await opened();
  mock.publish(TURN, started("t1", attack), out("t1", attack), { type: "turn.queued", turn: "t2", text: attack }, sealed("t1", { stop_reason: attack }));
  await seal(page, "t1");
  assert.equal(await page.evaluate(() => [window.hit, document.querySelectorAll("main img, nav img, main script").length].join()), ",0");
});

// The node's update: each state apart from the others, and from a connection that is down.

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
    await opened();
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
  await opened();
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
  await opened();
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
  page = await open(browser, `${mock.url}#token=secret&task=t`, { permissions: ["clipboard-read", "clipboard-write"] });
  await shows(page, "running");
  await update("probation", { left: 60, operator_actions: ["rollback"] });
  await page.getByRole("button", { name: "Copy: holdfast rollback" }).click();
  await page.getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "holdfast rollback");
});

check("update: an ordinary switch is over before the page would jump, one that takes longer is shown", async () => {
  await opened();
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
  await opened();
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
  await opened();
  await shows(page, "running");
  mock.upgrades.removeAllListeners("connection").on("connection", (socket) => socket.terminate());
  for (const socket of mock.sockets.keys()) socket.terminate();
  await shows(page, "reconnecting");
  await update("rolling_back", { left: 20 });
  assert.equal(await strip().locator("strong").textContent(), "Rolling back");
});

check("update: nothing overflows a phone, in dark and in light", async () => {
  for (const colorScheme of ["dark", "light"]) {
    page = await open(browser, `${mock.url}#token=secret&task=t`, { viewport: { width: 360, height: 740 }, colorScheme });
    await shows(page, "running");
    await update("root_promotion_pending", { target_version: "1.2.3-a-very-long-prerelease.name.of.a.build.20261121", operator_actions: ["cancel", "rollback", "promote_root"] });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
    const prompt = await page.locator(part("prompt")).boundingBox();
    assert.ok(prompt.y + prompt.height <= 740, JSON.stringify(prompt));
    await page.context().close();
  }
  page = null;
});
