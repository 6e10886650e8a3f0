// Turns of commands in the page, against a stand-in for the sidecar: what is hard to bring about with a real node.
import assert from "node:assert/strict";
import { beforeEach } from "node:test";
import { lines, output, part, prompt, says, seal, shows } from "./page.mjs";
import { loosely as check, load, mock, page, tasks } from "./stage.mjs";
import { out, sealed, started } from "./story.mjs";

const TURN = "conversation:t";
// One task, whose prompts are command lines.
beforeEach(() => tasks.splice(0, tasks.length, { task: "t", skill: "command", state: "idle", queued: [] }));

check("a turn is shown live: stderr apart, colours, lines written over, exit code", async () => {
  await load();
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
  await load();
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
  const writes = mock.calls.filter(({ method }) => !["task.list", "task.switch", "conversation.history"].includes(method));
  assert.deepEqual(writes.map(({ method }) => method), ["task.prompt", "task.dequeue", "task.cancel"]);
  for (const { data } of writes) assert.match(data.command_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  assert.equal(new Set(writes.map(({ data }) => data.command_id)).size, 3);
});

check("a refused prompt says what to do and gives the text back", async () => {
  await load();
  await shows(page, "running");
  mock.methods["task.prompt"] = () => ({ error: { code: 1022, message: "STORAGE_FULL: 12 MiB free", temporary: true } });
  await prompt(page, "echo hi");
  await page.getByText("Free some space").waitFor();
  assert.equal(await page.inputValue(part("prompt")), "echo hi");
});

check("scrolling: follows the end, stays when scrolled up, and jumps back", async () => {
  await load();
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

check("a turn of 100,000 events is shown whole and in order, and the page stays usable", async () => {
  const events = Array.from({ length: 100_000 }, (_, at) => out("t1", `line ${at + 1}\n`, at % 100 === 99 ? "stderr" : "stdout"));
  mock.log(TURN).events.push(started("t1"), ...events);
  const from = Date.now();
  await load();
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
  await load("#token=secret&task=t", { viewport: { width: 400, height: 800 } });
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
  await load("#token=secret", { viewport: { width: 390, height: 800 } });
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
  await load();
  mock.publish(TURN, started("t1", attack), out("t1", attack), { type: "turn.queued", turn: "t2", text: attack }, sealed("t1", { stop_reason: attack }));
  await seal(page, "t1");
  assert.equal(await page.evaluate(() => [window.hit, document.querySelectorAll("main img, nav img, main script").length].join()), ",0");
});
