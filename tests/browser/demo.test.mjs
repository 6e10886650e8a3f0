// The console on a real node with a real agent: the built-in one, whose prompts are scripts (`holdfast agent-demo --help`).
import assert from "node:assert/strict";
import { until } from "./node.mjs";
import { open, part, prompt, seal, shows, states } from "./page.mjs";
import { browser, check, node } from "./real.mjs";

let page;

/** The page on a task of the demo agent's own, opened as people open it. */
async function openTask(task) {
  page = await open(browser, node.ready.open);
  await shows(page, "running");
  await page.fill("#open-name", task);
  await page.getByRole("button", { name: "Use skill demo" }).click();
  await page.getByRole("button", { name: "Open task" }).click();
  await page.getByRole("heading", { name: task, level: 1 }).waitFor();
  await page.getByText("No turns yet").waitFor();
}

const turn = (id = "t1", on = page) => on.locator(`[data-turn="${id}"]`);
const words = (id = "t1", on = page) => turn(id, on).locator('.words[data-voice="message"]').evaluateAll((all) => all.map(({ textContent }) => textContent).join("\n"));
const spoken = (text, id = "t1", on = page) => until(`"${text}"`, async () => (await words(id, on)).includes(text));
const card = (id = "t1", on = page) => turn(id, on).locator(".permission");
const neverDown = async () => {
  assert.deepEqual((await states(page)).filter((state) => ["reconnecting", "offline", "signed-out"].includes(state)), []);
  assert.deepEqual(page.errors, []);
};
/** The numbers that `count` said, in order. */
const numbers = (text) => [...text.matchAll(/^\d+$/gm)].map(([number]) => Number(number));
const upTo = (count) => Array.from({ length: count }, (_, at) => at + 1);

check("work goes on: an agent's turn with a permission goes through a switch and a crash, and is seen once", async () => {
  await openTask("whole");
  await prompt(page, "think I look at it first; plan read it|write it; edit a.txt old|new; permit delete build; tool cargo test; count 300 20; say all done");
  await card().getByRole("button", { name: "Allow", exact: true }).click();
  await card().getByText(/^Allowed.*: Allow$/).waitFor();
  await spoken("delete build: allow");
  await spoken("\n20\n");
  await node.switch();
  await spoken("\n100\n");
  await node.killActive();
  assert.equal(await seal(page, "t1"), "Done");
  const said = await words();
  assert.deepEqual(numbers(said), upTo(300));
  assert.equal(said.split("all done").length, 2);
  assert.equal(await turn().locator(".seal").count(), 1);
  assert.equal(await page.locator(".turn").count(), 1);
  assert.deepEqual(await turn().locator(".plan li span:nth-child(2)").allTextContents(), ["read it", "write it"]);
  assert.deepEqual(await turn().locator(".tool").evaluateAll((all) => all.map((tool) => tool.dataset.status)), ["completed", "completed", "completed"]);
  await turn().locator(".thought summary").click();
  await turn().locator(".thought .words", { hasText: "I look at it first" }).waitFor();
  const before = await turn().textContent();
  await page.reload();
  await seal(page, "t1");
  await turn().locator(".thought summary").click();
  await turn().locator(".thought .words").waitFor();
  assert.equal(await turn().textContent(), before, "late it is the same turn");
});

check("a permission that waits while the runtime is switched is answered by the next one, once", async () => {
  await openTask("waits");
  await prompt(page, "permit write the file; say behind it");
  const other = await open(browser, `${node.ready.open}&task=waits`);
  await card().getByRole("button", { name: "Allow", exact: true }).waitFor();
  await node.switch();
  await node.killActive();
  await card("t1", other).getByRole("button", { name: "Reject" }).click();
  await card().getByText(/^Rejected/).waitFor();
  assert.equal(await card().getByRole("button", { name: "Allow", exact: true }).isDisabled(), true);
  assert.equal(await seal(page, "t1"), "Done");
  assert.match(await words(), /write the file: (?!allow)/);
  assert.equal(await words("t1", other), await words());
  await neverDown();
  await other.context().close();
});

check("the list and the title say that an agent asks though its task is in no pane, through a switch and a crash", async () => {
  await openTask("near");
  await node.rpc("task.open", { task: "far", skill: "demo" });
  await node.rpc("task.prompt", { task: "far", text: "permit write far" });
  const note = (on = page) => on.locator('#task-list [data-task="far"] .note').textContent();
  await until("it asks", async () => (await note()) === "asks you");
  assert.match(await page.title(), /^\? far asks · near/);
  assert.equal(await page.locator("#announce").textContent(), "far: asks you");
  await node.switch();
  await node.killActive();
  const late = await open(browser, `${node.ready.open}&task=near`);
  await until("whoever comes later is told", async () => (await note(late)) === "asks you");
  assert.equal(await note(), "asks you");
  await page.locator('#task-list [data-task="far"]').click();
  await card().getByRole("button", { name: "Allow", exact: true }).click();
  await card().getByText(/^Allowed/).waitFor();
  await until("it asks no more", async () => (await note(late)) !== "asks you");
  assert.ok(!(await late.title()).startsWith("?"));
  await neverDown();
  await late.context().close();
});

check("a token that only reads watches the same turn and cannot answer", async () => {
  const { token } = JSON.parse(await node.holdfast("token", "new", "--role", "viewer", "--json"));
  await openTask("viewer");
  await prompt(page, "permit something; say done");
  const viewer = await open(browser, `${node.ready.url}#token=${token}&task=viewer`);
  await card("t1", viewer).getByText("This token only reads").waitFor();
  assert.equal(await card("t1", viewer).locator("button").count(), 0);
  await card().getByRole("button", { name: "Allow", exact: true }).click();
  await card("t1", viewer).getByText(/^Allowed/).waitFor();
  assert.equal(await seal(viewer, "t1"), "Done");
  await viewer.context().close();
});

check("the mode that is chosen here is the agent's: it asks no more", async () => {
  await openTask("modes");
  await prompt(page, "say hello");
  await seal(page, "t1");
  const mode = page.locator(part("mode"));
  await until("the agent's mode", async () => (await mode.isVisible()) && (await mode.inputValue()) === "ask");
  await mode.selectOption("code");
  await until("it is set", async () => !(await mode.isDisabled()));
  await prompt(page, "permit anything");
  assert.equal(await seal(page, "t2"), "Done");
  assert.match(await words("t2"), /not asked/);
  assert.equal(await card("t2").count(), 0);
  await page.reload();
  await until("it is still on", async () => (await mode.isVisible()) && (await mode.inputValue()) === "code");
});

check("an agent that dies in the middle leaves a loud sign, cancel a quiet one, and the next prompt is answered", async () => {
  await openTask("ends");
  await prompt(page, "say begun; stderr about to die; die 3");
  assert.match(await seal(page, "t1"), /^Interrupted/);
  assert.equal(await turn().locator("footer.loud").count(), 1);
  await turn().locator(".log summary").click();
  await turn().locator(".log", { hasText: "about to die" }).waitFor();
  await prompt(page, "say waiting; sleep 600000");
  await spoken("waiting", "t2");
  await page.locator(part("prompt-cancel")).click();
  assert.equal(await seal(page, "t2"), "Cancelled");
  await prompt(page, "usage 500 1000; say again");
  assert.equal(await seal(page, "t3"), "Done");
  await page.locator(part("usage-text"), { hasText: "50 % of 1k" }).waitFor();
});

check("tasks side by side, each with its own agent and secret, through a switch", async () => {
  page = await open(browser, node.ready.open, { viewport: { width: 1500, height: 900 } });
  await shows(page, "running");
  const tasks = ["one", "two", "three"];
  for (const task of tasks) {
    await node.holdfast("task", "open", task, "--skill", "demo");
    await node.rpc("task.prompt", { task, text: `remember secret of ${task}` });
  }
  await page.locator('#task-list button[data-task="one"]').click();
  for (const task of ["two", "three"]) await page.getByRole("button", { name: `Open ${task} beside` }).click();
  const pane = (task) => page.locator(`.pane[data-task="${task}"]`);
  for (const task of tasks) await pane(task).locator('[data-turn="t1"] .seal').waitFor();
  await node.switch();
  for (const task of tasks) {
    await pane(task).locator('[data-part="prompt"]').fill("secret");
    await pane(task).locator('[data-part="prompt"]').press("Enter");
  }
  for (const task of tasks) {
    await pane(task).locator('[data-turn="t2"] .words', { hasText: `I was told: secret of ${task}` }).waitFor();
    for (const other of tasks.filter((name) => name !== task)) assert.equal(await pane(task).getByText(`secret of ${other}`).count(), 0);
  }
  await neverDown();
});
