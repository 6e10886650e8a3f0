// Tasks side by side in the page, against a stand-in for the sidecar.
import assert from "node:assert/strict";
import { until } from "./node.mjs";
import { part } from "./page.mjs";
import { calls, check, mock, opened, page, size, turn } from "./stage.mjs";
import { asks, out, says, sealed, started, story } from "./story.mjs";

const TURN = "conversation:t";

check("a screen reader finds each pane and what in it scrolls, not every turn, among the page's regions", async () => {
  mock.log(TURN).events.push(...story(), asks("t1", "41"));
  await opened("&task=t&task=u", size(1500));
  await turn().locator(".permission").waitFor();
  const named = (role) => page.getByRole(role).evaluateAll((all) => all.filter((one) => one.checkVisibility()).map((one) => one.getAttribute("aria-label")));
  assert.deepEqual((await named("region")).sort(), ["Task t", "Task u", "Turns of t", "Turns of u"]);
  assert.deepEqual(await named("article"), ["Turn t1"]);
  assert.ok((await named("group")).includes("Permission: Remove build/"));
});

check("nothing of a pane's head lies outside of it, however narrow", async () => {
  mock.log("conversation:u").events.push(started("t1", "make"), out("t1", "oops\n", "stderr"), sealed("t1"));
  await opened("&task=u&task=t&task=v", size(1470));
  await page.locator('.pane[data-task="u"] [data-part="show"]').waitFor();
  const outside = await page.evaluate(() => [...document.querySelectorAll(".pane:not([hidden])")].flatMap((pane) => {
    const edge = pane.getBoundingClientRect().right;
    return [...pane.querySelectorAll(".task-head > *, .status > *")].filter((one) => one.getBoundingClientRect().right > edge + 0.5).map((one) => `${pane.dataset.task} ${one.dataset.part}`);
  }));
  assert.deepEqual(outside, []);
});

check("what was begun in a prompt is there again when its task is opened again, and so is what was refused meanwhile", async () => {
  await opened("&task=t");
  await page.fill(part("prompt"), "half a thought");
  const choose = (task) => page.locator(`#task-list button[data-task="${task}"]`).click();
  await choose("u");
  await page.locator('.pane[data-task="u"]').waitFor();
  assert.equal(await page.inputValue(part("prompt")), "");
  mock.held = true;
  await page.fill(part("prompt"), "echo u");
  await page.press(part("prompt"), "Enter");
  await until("it was sent", () => mock.received.some(({ method }) => method === "task.prompt"));
  await choose("t");
  await page.locator('.pane[data-task="t"]').waitFor();
  assert.equal(await page.inputValue(part("prompt")), "half a thought");
  mock.methods["task.prompt"] = () => ({ error: { code: 1009, message: "BUSY: sixteen wait already" } });
  mock.release();
  await page.getByText("u: sixteen wait already").waitFor();
  await choose("u");
  await page.locator('.pane[data-task="u"]').waitFor();
  assert.equal(await page.inputValue(part("prompt")), "echo u");
});

const panes = () => page.locator(".pane:visible").evaluateAll((all) => all.map((pane) => [pane.dataset.task, pane.hasAttribute("data-focused")].join()));

check("tasks stand side by side, each with its own prompt; the focus is told to the node", async () => {
  await opened("&task=t", size(1500));
  await page.getByRole("button", { name: "Open u beside" }).click();
  await page.getByRole("button", { name: "Open v beside" }).click();
  assert.deepEqual(await panes(), ["t,false", "u,false", "v,true"]);
  mock.publish("conversation:u", started("t1", "make u"), out("t1", "from u\n"));
  mock.publish(TURN, started("t1", "x"), says("t1", "from t"));
  const pane = (task) => page.locator(`.pane[data-task="${task}"]`);
  await pane("u").getByText("from u").waitFor();
  await pane("t").getByText("from t").waitFor();
  assert.equal(await pane("v").getByText("from").count(), 0);
  await pane("u").locator('[data-part="prompt"]').fill("echo u");
  await pane("u").locator('[data-part="prompt"]').press("Enter");
  await until("the prompt", () => calls("task.prompt").length === 1);
  assert.equal(calls("task.prompt")[0].task, "u");
  assert.deepEqual(calls("task.switch").map(({ task }) => task), ["t", "u", "v", "u"]);
  assert.deepEqual(new URLSearchParams(new URL(page.url()).hash.slice(1)).getAll("task"), ["u", "t", "v"]);
  await pane("u").getByRole("button", { name: "Close this pane" }).click();
  assert.deepEqual(await panes(), ["t,true", "v,false"]);
  await page.reload();
  await page.locator(".pane").first().waitFor();
  await until("the panes again", async () => (await panes()).length === 2);
  assert.deepEqual(await panes(), ["t,true", "v,false"]);
});

check("as many panes are seen as there is room for, on a narrow page one", async () => {
  await opened("&task=t&task=u&task=v&task=w", size(1900));
  await until("four panes", async () => (await panes()).length === 4);
  await page.setViewportSize({ width: 1200, height: 900 });
  await until("two panes", async () => (await panes()).length === 2);
  await page.setViewportSize({ width: 390, height: 740 });
  await until("one pane", async () => (await panes()).length === 1);
  assert.deepEqual(await panes(), ["t,true"]);
  await page.locator("#tasks-toggle").click();
  assert.equal(await page.getByRole("button", { name: /beside/ }).count(), 0);
  await page.locator('#task-list button[data-task="w"]').click();
  await until("another one", async () => (await panes()).join() === "w,true");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
});
