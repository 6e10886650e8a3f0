// Search in a conversation that is in the page, against a stand-in for the sidecar.
import assert from "node:assert/strict";
import { until } from "./node.mjs";
import { lines, part, seal } from "./page.mjs";
import { calls, check, count, findCount, mock, opened, page, search, tasks, turn } from "./stage.mjs";
import { out, says, sealed, started, thinks, update } from "./story.mjs";

const TURN = "conversation:t";

/** What is marked strongly: [text, whether it is in sight]. */
const marked = () => page.evaluate(() => [...(CSS.highlights.get("found-current") ?? [])].map((range) => {
  const [box, view] = [range.getBoundingClientRect(), document.querySelector('.pane[data-focused] [data-part="scroller"]').getBoundingClientRect()];
  return [String(range), box.height > 0 && box.top >= view.top && box.bottom <= view.bottom];
}));

check("search goes from place to place, unfolds what it finds, and leaves no mark behind", async () => {
  mock.log(TURN).events.push(started("t1", "where is the Needle"), thinks("t1", "a needle, I think"), update("t1", "tool_call", { toolCallId: "1", title: "Look", status: "completed", content: [{ type: "content", content: { type: "text", text: `${lines(1, 60)}the needle` } }] }),
    says("t1", lines(1, 100).replaceAll("\n", "\n\n")), sealed("t1", { stop_reason: "end_turn" }));
  await opened();
  await search("needle");
  await until("the newest place", async () => (await findCount()) === "3 of 3");
  assert.deepEqual(await marked(), [["needle", true]]);
  assert.equal(await count(".tool[open]"), 1);
  await page.keyboard.press("Shift+Enter");
  assert.equal(await findCount(), "2 of 3");
  assert.equal(await count(".thought[open]"), 1);
  assert.deepEqual(await marked(), [["needle", true]]);
  await page.locator(part("find-previous")).click();
  assert.deepEqual(await marked(), [["Needle", true]]);
  await page.locator(part("find-previous")).click();
  assert.equal(await findCount(), "3 of 3");
  mock.publish(TURN, started("t2", "another needle"));
  await turn("t2").waitFor();
  await page.locator(part("find-next")).click();
  assert.equal(await findCount(), "4 of 4");
  await page.fill(part("find-text"), "nowhere to be found");
  await until("nothing", async () => (await findCount()) === "Nothing found");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator(part("find")).isVisible(), false);
  assert.equal(await page.evaluate(() => CSS.highlights.get("found")?.size ?? 0), 0);
});

check("search reaches output that is not in the page now", async () => {
  mock.log(TURN).events.push(started("t1", "x"), out("t1", lines(1, 90_000)), sealed("t1"));
  for (const [at, task] of tasks.entries()) if (task.task === "t") tasks[at] = { ...task, skill: "command", protocol: "command", modes: undefined };
  await opened();
  await seal(page, "t1");
  await search("line 777\n".trim());
  await until("places", async () => / of /.test(await findCount()));
  const all = Number((await findCount()).split(" of ")[1]);
  assert.equal(all, 1 + 10 + 100);
  await page.locator(part("find-next")).click();
  assert.equal(await findCount(), "1 of 111");
  assert.deepEqual(await marked(), [["line 777", true]]);
});

check("search asks the node for what the page let go of, in pieces", async () => {
  const big = `${"y".repeat(1023)}\n`.repeat(900);
  mock.log("conversation:u").events.push(started("t1", "old"), out("t1", "the needle is here\n"));
  for (let n = 0; n < 60; n++) mock.log("conversation:u").events.push(out("t1", big));
  mock.log("conversation:u").events.push(sealed("t1"), started("t2", "new"));
  for (let n = 0; n < 60; n++) mock.log("conversation:u").events.push(out("t2", big));
  mock.log("conversation:u").events.push(sealed("t2"));
  await opened("&task=u");
  await seal(page, "t2");
  await search("needle");
  await page.locator(part("find-older-count"), { hasText: "1 in older turns that are not loaded" }).waitFor({ timeout: 60_000 });
  assert.equal(await findCount(), "Nothing found");
  assert.equal(await page.locator(part("find-excerpts")).locator("mark").textContent(), "needle");
  const asked = calls("conversation.history").filter(({ since }) => since).map(({ since }) => since.offset);
  assert.ok(asked.length > 1 && asked.every((offset, at) => at === 0 || offset > asked[at - 1]), asked.join());
});
