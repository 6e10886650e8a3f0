// The page's way to the node and back, against a stand-in for the sidecar: tokens, lost connections, switches.
import assert from "node:assert/strict";
import { beforeEach } from "node:test";
import { pass, until } from "./node.mjs";
import { lines, output, part, prompt, says, seal, shows, states } from "./page.mjs";
import { loosely as check, load, mock, page, tasks } from "./stage.mjs";
import { out, sealed, started } from "./story.mjs";

const TURN = "conversation:t";
// One task, whose prompts are command lines.
beforeEach(() => tasks.splice(0, tasks.length, { task: "t", skill: "command", state: "idle", queued: [] }));

check("the token is taken from the fragment, erased there, and survives a reload in this tab", async () => {
  await load("#token=secret&task=t");
  await shows(page, "running");
  assert.equal(new URL(page.url()).hash, "#task=t");
  await page.reload();
  await shows(page, "running");
  assert.equal(await page.evaluate(() => Object.values(localStorage).join() + document.cookie), "");
  assert.deepEqual(page.errors, []);
});

check("without a token the page asks for one, takes a whole link too, and says when it is wrong", async () => {
  await load("");
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

check("a command without an answer is sent again with its id after the connection is back", async () => {
  await load();
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

check("switching is shown though it takes milliseconds; it is neither reconnecting nor offline", async () => {
  await load();
  await shows(page, "running");
  await pass(800); // past what counts as replay
  mock.node("switching");
  mock.node("running", "b", 5);
  await shows(page, "switching");
  await shows(page, "running");
  assert.deepEqual((await states(page)).filter((state) => state !== "connected"), ["connecting", "running", "switching", "running"]);
});

check("a lost socket is reconnecting while the node answers, offline when nothing does, and comes back by itself", async () => {
  await load();
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

check("a reload in the middle of a turn shows the whole turn again and goes on", async () => {
  await load();
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
  await load();
  await shows(page, "running");
  mock.publish(TURN, started("t1"), out("t1", "one\n"));
  await says(page, "t1", "one\n");
  const asked = () => mock.subscribes.filter(({ channel }) => channel === TURN);
  assert.deepEqual(asked(), [{ channel: TURN, offset: 0, epoch: "e1" }]);
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
  await load();
  await shows(page, "running");
  await page.locator("#task-list button", { hasText: "u" }).click();
  await page.getByRole("heading", { name: "u", level: 1 }).waitFor();
  const switches = () => mock.calls.filter(({ method }) => method === "task.switch").map(({ data }) => data.task);
  await until("the focus was moved twice", () => switches().length >= 2);
  assert.deepEqual(switches(), ["t", "u"]);
});

check("a history that is gone starts over and says so", async () => {
  await load();
  await shows(page, "running");
  mock.publish(TURN, started("t1"), out("t1", "old\n"));
  await says(page, "t1", "old\n");
  mock.channels.set(TURN, { epoch: "e2", events: [started("t7"), out("t7", "new\n")] });
  for (const socket of mock.sockets.keys()) socket.terminate();
  await says(page, "t7", "new\n");
  await page.getByText("The beginning of this conversation is no longer kept").waitFor();
  assert.equal(await page.locator('[data-turn="t1"]').count(), 0);
});
