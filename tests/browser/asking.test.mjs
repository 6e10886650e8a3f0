// Who asks, wherever it is looked at: the list, the page's title, the button of the list, a screen reader.
import assert from "node:assert/strict";
import { until } from "./node.mjs";
import { announced, check, mock, opened, page, size, tasks, turn } from "./stage.mjs";
import { answers, asks, started } from "./story.mjs";

const changed = (task, permissions, at = 5) => mock.publish("tasks", { type: "task.permissions", task, state: "active", queued: 0, permissions, at });
const entry = (task) => page.locator(`#task-list [data-task="${task}"]`);
const note = (task) => entry(task).locator(".note").textContent();

check("the list says which task asks, also of tasks that are in no pane, as it changes", async () => {
  tasks[2].permissions = 1;
  await opened("&task=t");
  await until("v asks", async () => (await note("v")) === "asks you");
  assert.match(await page.title(), /^\? v asks · t/);
  changed("w", 2);
  await until("w asks", async () => (await note("w")) === "asks you");
  assert.match(await page.title(), /^\? 2 tasks ask · t/);
  assert.match(await announced(), /^w: asks you$/);
  changed("v", 0);
  changed("w", 0, 6);
  await until("nobody asks", async () => !(await page.title()).includes("?"));
  assert.equal(await note("w"), "");
});

check("of a task in a pane its conversation says whether it asks; of one that is closed the list does", async () => {
  tasks[0].permissions = 1;
  mock.log("conversation:t").events.push(started("t1", "go"), asks("t1", "7"));
  await opened("&task=t");
  await turn().locator(".permission").waitFor();
  await until("t asks", async () => (await note("t")) === "asks you");
  mock.publish("conversation:t", answers("t1", "7", "once"));
  // The list hears of it a moment later.
  await until("t asks no more", async () => (await note("t")) !== "asks you");
  changed("t", 0);
  assert.ok(!(await page.title()).startsWith("?"));
});

check("on a phone, where the list is behind a button, that says how many ask", async () => {
  tasks[2].permissions = 1;
  await opened("&task=u", size(390, 800));
  const toggle = page.locator("#tasks-toggle[data-asks]");
  await toggle.waitFor();
  assert.deepEqual([await toggle.getAttribute("data-count"), await toggle.getAttribute("aria-label")], ["1", "Tasks, one asks you"]);
  await toggle.click();
  await entry("v").click();
  changed("v", 0);
  await page.locator("#tasks-toggle:not([data-asks])").waitFor();
  assert.equal(await page.locator("#tasks-toggle").getAttribute("aria-label"), "Tasks");
});
