// Long conversations in the page, against a stand-in for the sidecar: their last turns first, older ones when asked for.
import assert from "node:assert/strict";
import { pass, until } from "./node.mjs";
import { lines, part, seal } from "./page.mjs";
import { announced, calls, check, mock, opened, page, search, turn } from "./stage.mjs";
import { out, says, sealed, started } from "./story.mjs";

const LONG = "conversation:u";
/** Turns `from` to `to`, of as many lines as fill a good part of a page. */
const fill = (from, to, log = mock.log(LONG)) => {
  for (let n = from; n <= to; n++) log.events.push(started(`t${n}`, `prompt ${n}`), out(`t${n}`, lines(1, 12, `turn ${n} line`)), sealed(`t${n}`));
};
const turns = () => page.evaluate(() => [...document.querySelectorAll(".transcript > .turn")].map((one) => one.dataset.turn));
const older = () => page.locator(".transcript > .older");
const scroller = part("scroller");
const scrollTo = (top) => page.locator(scroller).evaluate((one, to) => one.scrollTo(0, to), top);
/** Where a turn stands in its pane. */
const placeOf = (id) => page.evaluate(([of, box]) => document.querySelector(`[data-turn="${of}"]`).getBoundingClientRect().top - document.querySelector(box).getBoundingClientRect().top, [id, scroller]);

check("a conversation begins with its last turns, and only those are asked for", async () => {
  fill(1, 200);
  await opened("&task=u");
  await seal(page, "t200");
  const shown = await turns();
  assert.deepEqual([shown.length, shown[0], shown.at(-1)], [20, "t181", "t200"]);
  const [asked] = calls("conversation.history");
  assert.deepEqual([asked.last.turns, asked.limit], [20, 0]);
  const { offset } = mock.subscribes.find(({ channel }) => channel === LONG);
  assert.equal(offset, 180 * 3);
  assert.equal(await older().textContent(), "Load older turns");
  mock.publish(LONG, started("t201", "live"), out("t201", "goes on\n"));
  await turn("t201").getByText("goes on").waitFor();
});

check("older turns come by the button; what is read stays where it is, and the keyboard's place too", async () => {
  fill(1, 50);
  await opened("&task=u");
  await seal(page, "t50");
  await scrollTo(0);
  await turn("t11").waitFor({ state: "attached" }); // the top was reached: more came by itself
  await until("twenty more", async () => (await turns()).length === 40);
  await page.keyboard.press("Escape");
  await older().focus();
  const before = await placeOf("t11");
  await page.keyboard.press("Enter");
  await turn("t1").waitFor({ state: "attached" });
  assert.deepEqual(await turns(), Array.from({ length: 50 }, (_, at) => `t${at + 1}`));
  assert.ok(Math.abs((await placeOf("t11")) - before) < 2, `moved by ${(await placeOf("t11")) - before} px`);
  assert.equal(await older().isVisible(), false, "there are no more");
  assert.equal(await page.evaluate(() => document.activeElement.dataset.part), "scroller");
  assert.match(await announced(), /10 older turns/);
});

check("whoever scrolls up is given older turns before the top is reached, and stays where they read", async () => {
  fill(1, 100);
  await opened("&task=u");
  await seal(page, "t100");
  for (const [first, all] of [["t61", 40], ["t41", 60]]) {
    await scrollTo(150);
    const top = (await turns())[0];
    const before = await placeOf(top);
    await turn(first).waitFor({ state: "attached" });
    await until("they are in the page", async () => (await turns()).length === all);
    assert.ok(Math.abs((await placeOf(top)) - before) < 2, `${top} moved by ${(await placeOf(top)) - before} px`);
  }
  mock.publish(LONG, started("t101", "live"), out("t101", "goes on\n"));
  await turn("t101").waitFor({ state: "attached" });
  assert.equal(await page.locator(part("jump")).isVisible(), true, "and is not taken to the end");
});

check("search finds what is in older turns, the newest first, and brings the turn that is chosen", async () => {
  fill(1, 200);
  mock.log(LONG).events.splice(3 * 9 + 1, 1, out("t10", "a needle in t10\n"));
  mock.log(LONG).events.splice(3 * 89, 1, started("t90", "look for the needle"));
  await opened("&task=u");
  await seal(page, "t200");
  await search("needle");
  await page.locator(part("find-older-count"), { hasText: "2 in older turns that are not loaded" }).waitFor();
  assert.equal(await page.locator(part("find-count")).textContent(), "Nothing found");
  const excerpts = page.locator(part("find-excerpts")).locator("button");
  assert.deepEqual(await excerpts.allTextContents(), ["t90 look for the needle", "t10 a needle in t10 "]);
  await excerpts.nth(1).click();
  await turn("t10").waitFor({ state: "attached" });
  await until("the place is found", async () => (await page.locator(part("find-count")).textContent()) === "1 of 2");
  await until("and in sight", () => turn("t10").evaluate((one) => {
    const { top, bottom } = one.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  }));
  await page.keyboard.press("Escape");
});

check("an error while older turns are read is said, and they come when they are asked for again", async () => {
  fill(1, 60);
  const { "conversation.history": history } = mock.methods;
  await opened("&task=u");
  await seal(page, "t60");
  mock.methods["conversation.history"] = () => ({ error: { code: 1013, message: "INTERNAL_ERROR: the disk is gone", temporary: false } });
  await scrollTo(0);
  await page.locator(part("errors")).getByText("the disk is gone").waitFor();
  assert.equal((await turns()).length, 20);
  mock.methods["conversation.history"] = history;
  await older().click();
  await turn("t21").waitFor({ state: "attached" });
});

check("a prompt that waits from before what is loaded is in the queue, and one taken back ends nothing", async () => {
  const log = mock.log("conversation:t");
  log.events.push(started("t1", "first"), { type: "turn.queued", turn: "t3", text: "third" }, sealed("t1"), started("t2", "second"), says("t2", "works"));
  mock.methods["conversation.history"] = (data) => mock.history({ ...data, ...(data.last && !data.last.before ? { last: { turns: 1 } } : {}) });
  await opened("&task=t");
  await turn("t2").getByText("works").waitFor();
  mock.publish("conversation:t", { type: "turn.sealed", turn: "t3", stop_reason: "cancelled", at: 3 });
  await turn("t3").locator(".seal", { hasText: "Taken back before it ran" }).waitFor();
  assert.equal(await turn("t2").locator(".badge.running").count(), 1);
  await older().click();
  await turn("t3").getByText("third").waitFor();
  assert.deepEqual(await turns(), ["t1", "t2", "t3"]);
});

check("where the history is another one after a lost connection, its last turns are shown anew", async () => {
  fill(1, 60);
  await opened("&task=u");
  await seal(page, "t60");
  mock.channels.set(LONG, { epoch: "e2", events: [] });
  fill(101, 140);
  for (const socket of mock.sockets.keys()) socket.terminate();
  await seal(page, "t140");
  assert.deepEqual([(await turns())[0], (await turns()).at(-1)], ["t121", "t140"]);
  await scrollTo(0);
  await turn("t101").waitFor({ state: "attached" });
});

check("a long history is there at once: what is loaded does not depend on how much there is", async () => {
  const line = `${"y".repeat(120)}\n`.repeat(80);
  for (let n = 1; n <= 4000; n++) mock.log(LONG).events.push(started(`t${n}`, "much"), out(`t${n}`, line), sealed(`t${n}`));
  await opened("&task=u");
  await seal(page, "t4000");
  await pass(300);
  assert.equal((await turns()).length, 20);
  const { offset } = mock.subscribes.find(({ channel }) => channel === LONG);
  assert.equal(offset, 3 * 3980);
});
