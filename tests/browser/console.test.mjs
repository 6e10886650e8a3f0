// The console page on a real node: watches a running command while the programs behind it are replaced and killed.
import assert from "node:assert/strict";
import { until } from "./node.mjs";
import { lines, open, output, part, prompt, says, seal, shows, states } from "./page.mjs";
import { browser, check, node } from "./real.mjs";

let page;

/** The page on a task of its own, opened as people open it. */
async function openTask(task) {
  page = await open(browser, node.ready.open);
  await shows(page, "running");
  await page.fill("#open-name", task);
  await page.press("#open-name", "Enter");
  await page.getByRole("heading", { name: task, level: 1 }).waitFor();
  await page.getByText("No turns yet").waitFor();
}

/** Prints `to` numbered lines, one each 20 ms. */
const counting = (to) => `for i in $(seq 1 ${to}); do echo line $i; sleep 0.02; done`;

const neverDown = async () => assert.deepEqual((await states(page)).filter((state) => ["reconnecting", "offline", "signed-out"].includes(state)), []);

check("held and gapless: switches and kills in the middle of a turn are seen as switches, and no line is lost or doubled", async () => {
  await openTask("held");
  await prompt(page, `${counting(600)}; exit 3`);
  await says(page, "t1", "line 20\n");
  await node.switch();
  await says(page, "t1", "line 100\n");
  await node.killActive();
  await says(page, "t1", "line 200\n");
  await node.switch();
  await node.killActive();
  assert.match(await seal(page, "t1", 90_000), /Exit code 3/);
  assert.equal(await output(page, "t1"), lines(1, 600));
  await neverDown();
  assert.ok((await states(page)).some((state) => state === "switching" || state === "settling"), "the page showed the transitions");
  assert.deepEqual(page.errors, []);
});

check("held: a supervisor killed in the middle of a turn is not noticed in the page", async () => {
  await openTask("supervisor");
  await prompt(page, counting(200));
  await says(page, "t1", "line 20\n");
  const { supervisor } = await node.status();
  process.kill(supervisor.pid, "SIGKILL");
  await until("another supervisor", async () => {
    const now = (await node.status())?.supervisor;
    return now?.pid && now.pid !== supervisor.pid;
  });
  await seal(page, "t1");
  assert.equal(await output(page, "t1"), lines(1, 200));
  await neverDown();
});

check("held: an active runtime that stands still is replaced, and a prompt sent meanwhile runs once", async () => {
  await openTask("still");
  await prompt(page, counting(300));
  await says(page, "t1", "line 20\n");
  const before = await node.active();
  process.kill(before.pid, "SIGSTOP");
  await prompt(page, "echo queued meanwhile");
  await node.active(before.runtime_instance_id);
  await seal(page, "t1");
  assert.equal(await output(page, "t1"), lines(1, 300));
  await seal(page, "t2");
  assert.equal(await output(page, "t2"), "queued meanwhile\n");
  assert.equal(await page.locator(".turn").count(), 2);
  await neverDown();
});

check("gapless: a sidecar killed in the middle of a turn costs a reconnect and no line", async () => {
  await openTask("sidecar");
  await prompt(page, counting(300));
  await says(page, "t1", "line 20\n");
  process.kill((await node.status()).sidecar.pid, "SIGKILL");
  await shows(page, "reconnecting");
  await shows(page, "running", "settling");
  await seal(page, "t1");
  assert.equal(await output(page, "t1"), lines(1, 300));
  assert.equal((await states(page)).includes("offline"), false);
});

check("a turn of 100,000 lines is shown while it is written and after a reload", async () => {
  await openTask("long");
  await prompt(page, "seq -f 'line %.0f' 1 100000");
  const tail = async () => (await output(page, "t1")).trimEnd().split("\n");
  const whole = async () => {
    await says(page, "t1", "line 100000\n");
    await seal(page, "t1");
    const seen = await tail();
    assert.deepEqual(seen, lines(100_001 - seen.length, 100_000).trimEnd().split("\n"));
    assert.match(await page.locator('[data-turn="t1"] footer').textContent(), /100.000 lines/);
  };
  await whole();
  await page.reload();
  await whole();
});

check("a reload in the middle of a turn shows the whole turn again and goes on", async () => {
  await openTask("reload");
  await prompt(page, counting(300));
  await says(page, "t1", "line 100\n");
  await page.reload();
  await says(page, "t1", "line 150\n");
  await seal(page, "t1");
  assert.equal(await output(page, "t1"), lines(1, 300));
  assert.equal(await page.locator('[data-turn="t1"]').count(), 1);
});

check("a conversation of many turns begins with its last ones; those before them come when they are wanted, through a switch", async () => {
  await node.rpc("task.open", { task: "many", skill: "command" });
  for (let n = 1; n <= 45; n++) await node.holdfast("task", "prompt", "many", "--wait", `for i in $(seq 6); do echo turn ${n} line $i; done`);
  await openTask("beside");
  await page.locator('#task-list [data-task="many"]').click();
  await says(page, "t45", "turn 45 line 6\n");
  const turns = () => page.locator(".transcript > .turn").evaluateAll((all) => all.map((turn) => turn.dataset.turn));
  assert.deepEqual([(await turns()).length, (await turns())[0]], [20, "t26"]);
  await node.switch();
  await page.locator(part("scroller")).evaluate((one) => one.scrollTo(0, 0));
  await page.locator('[data-turn="t6"]').waitFor({ state: "attached" });
  await page.locator(part("find-open")).click();
  await page.fill(part("find-text"), "turn 2 line 3");
  await page.locator(part("find-excerpts")).locator("button").first().click();
  await says(page, "t2", "turn 2 line 3\n");
  assert.deepEqual(await turns(), Array.from({ length: 45 }, (_, at) => `t${at + 1}`));
  for (const n of [1, 20, 45]) assert.equal(await output(page, `t${n}`), lines(1, 6, `turn ${n} line`));
  await neverDown();
});

check("stderr is apart, escape codes are colours, and the exit code is shown", async () => {
  await openTask("streams");
  await prompt(page, "printf 'one\\ntwo\\n'; printf '\\033[31mwarning\\033[0m\\n' >&2; printf '10%%\\r55%%\\n'; exit 7");
  assert.match(await seal(page, "t1"), /Exit code 7/);
  assert.equal(await output(page, "t1"), "one\ntwo\n55%\n");
  assert.equal(await output(page, "t1", "stderr"), "warning\n");
  assert.equal(await page.locator('[data-stream="stderr"] .f1').textContent(), "warning");
});

check("cancel ends the turn, and a queued prompt runs behind it or is taken back", async () => {
  await openTask("queue");
  await prompt(page, "echo running; sleep 600");
  await says(page, "t1", "running\n");
  await prompt(page, "echo second");
  await page.locator(`${part("queue")} li`, { hasText: "echo second" }).waitFor();
  await prompt(page, "echo third");
  await page.getByRole("button", { name: "Take back: echo third" }).click();
  await page.getByText("Taken back before it ran").waitFor();
  await page.getByRole("button", { name: "Cancel turn" }).click();
  assert.match(await seal(page, "t1"), /Cancelled/);
  assert.match(await seal(page, "t2"), /Exit code 0/);
  assert.equal(await output(page, "t2"), "second\n");
});

check("a prompt sent while the active runtime is dead runs exactly once", async () => {
  await openTask("once");
  const { pid } = await node.active();
  process.kill(pid, "SIGKILL");
  await prompt(page, "echo once");
  assert.match(await seal(page, "t1"), /Exit code 0/);
  assert.equal(await output(page, "t1"), "once\n");
  assert.equal(await page.locator(".turn").count(), 1);
  await neverDown();
});

check("a page opened after the turn shows the same turn", async () => {
  await openTask("late");
  await prompt(page, "seq 1 5000; echo end >&2");
  await seal(page, "t1");
  const first = await output(page, "t1");
  const late = await open(browser, `${node.ready.open}&task=late`);
  await seal(late, "t1");
  assert.equal(await output(late, "t1"), first);
  await late.context().close();
});

check("the token is taken from the fragment, erased there and kept in this tab only", async () => {
  page = await open(browser, node.ready.open);
  await shows(page, "running");
  assert.equal(await page.evaluate((token) => location.href.includes(token), node.ready.token), false);
  assert.equal(await page.evaluate(() => Object.values(localStorage).join() + document.cookie), "");
  await page.reload();
  await shows(page, "running");
});

check("without a token nothing answers but the page and the public status", async () => {
  page = await open(browser, node.ready.url);
  await page.locator("#sign-in").waitFor();
  await page.getByText("The node is there").waitFor();
  const status = async (path, options) => (await fetch(new URL(path, node.ready.url), options)).status;
  assert.equal(await status("supervisor/public/update-status"), 200);
  assert.equal(await status("api/v1/rpc/task.list", { method: "POST", body: "{}" }), 401);
  assert.equal(await status("api/v1/history/conversation:held"), 401);
  await page.fill("#token", "not-a-token");
  await page.press("#token", "Enter");
  await page.getByText("not known to this node").waitFor();
});

check("a token that only reads watches a turn and is offered nothing that it may not do", async () => {
  await openTask("watched");
  await prompt(page, "echo seen; sleep 2");
  const { token } = JSON.parse(await node.holdfast("token", "new", "--role", "viewer", "--json"));
  const viewer = await open(browser, `${node.ready.url}#token=${token}&task=watched`);
  await says(viewer, "t1", "seen\n");
  await until("the prompt is shut", () => viewer.locator(part("prompt")).isDisabled());
  assert.equal(await viewer.locator(part("prompt")).getAttribute("placeholder"), "This token only reads.");
  for (const name of ["prompt-cancel", "task-stop"]) assert.equal(await viewer.locator(part(name)).isVisible(), false);
  assert.match(await seal(viewer, "t1"), /Exit code 0/);
  assert.equal(await page.locator(part("prompt")).isDisabled(), false);
  assert.deepEqual(viewer.errors, []);
});

check("tasks stand side by side, and each goes on through a switch", async () => {
  page = await open(browser, node.ready.open, { viewport: { width: 1500, height: 900 } });
  await shows(page, "running");
  const tasks = ["left", "middle", "right"];
  for (const task of tasks) await node.rpc("task.open", { task, skill: "command" });
  await page.locator('#task-list button[data-task="left"]').click();
  for (const task of tasks.slice(1)) await page.getByRole("button", { name: `Open ${task} beside` }).click();
  const pane = (task) => page.locator(`.pane[data-task="${task}"]`);
  for (const task of tasks) {
    await pane(task).locator('[data-part="prompt"]').fill(`echo ${task} begins; sleep 1; echo ${task} ends`);
    await pane(task).locator('[data-part="prompt"]').press("Enter");
  }
  await node.switch();
  for (const task of tasks) {
    await pane(task).locator(".seal").waitFor();
    assert.deepEqual(await pane(task).locator(".piece").allTextContents(), [`${task} begins\n${task} ends\n`]);
  }
  await neverDown();
});

check("the node's transitions are told in its panel", async () => {
  page = await open(browser, node.ready.open);
  await shows(page, "running");
  await page.click("#node-pill");
  const before = await node.active();
  const now = await node.switch();
  assert.notEqual(now.slot, before.slot);
  await page.locator("#node-panel dd", { hasText: now.runtime_instance_id }).waitFor();
  await until("the switch is in the list", async () => /Switching/.test(await page.locator("#node-panel ol").textContent()));
});
