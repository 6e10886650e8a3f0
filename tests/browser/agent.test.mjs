// An agent's turns in the page, panes side by side and search, against a stand-in for the sidecar.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { launch, skip } from "./chromium.mjs";
import { Mock } from "./mock.mjs";
import { pass, until } from "./node.mjs";
import { lines, open, part, seal, shows } from "./page.mjs";
import { MODES, NEW, OLD, answers, asks, out, says, sealed, started, story, thinks, update } from "./story.mjs";

const TURN = "conversation:t";
const TASKS = () => [
  { task: "t", skill: "demo", protocol: "acp", state: "active", queued: [], modes: MODES, updated_at: 1 },
  { task: "u", skill: "command", protocol: "command", state: "idle", queued: [] }, { task: "v", skill: "demo", protocol: "acp", state: "idle", queued: [] },
  { task: "w", skill: "command", protocol: "command", state: "idle", queued: [] },
];

let browser, mock, page, tasks;
before(async () => {
  if (!skip) browser = await launch();
});
after(() => browser?.close());
beforeEach(async () => {
  mock = await new Mock().listen();
  tasks = TASKS();
  mock.methods = {
    "task.list": () => ({ tasks }), "task.switch": () => ({}), "task.prompt": () => ({ turn: "t9" }), "task.mode": ({ task, mode }) => ({ task, mode }),
    "permission.answer": ({ task, request, option }) => ({ task, request, outcome: option === null ? "cancelled" : "selected", option_id: option, won: true }),
    "conversation.history": (data) => mock.history(data),
  };
  mock.node("running");
});
afterEach(async () => {
  await page?.context().close();
  page = null;
  await mock.close();
});

const opened = async (hash = "&task=t", options = {}) => {
  page = await open(browser, `${mock.url}#token=secret${hash}`, options);
  await shows(page, "running");
  return page;
};
const check = (name, body) => test(name, { skip, timeout: 120_000 }, async () => {
  await body();
  assert.deepEqual(page.errors, []);
});
const size = (width, height = 900) => ({ viewport: { width, height } });
const turn = (id = "t1") => page.locator(`[data-turn="${id}"]`);
const tool = (title) => turn().locator(".tool", { hasText: title });
const calls = (method) => mock.calls.filter((call) => call.method === method).map(({ data }) => data);
const count = (selector) => page.locator(selector).count();

check("an agent's turn: words with a little Markdown, its thoughts and its log folded, its plan as a list", async () => {
  mock.log(TURN).events.push(...story());
  await opened();
  await turn().locator(".words[data-voice=message] strong", { hasText: "first argument" }).waitFor();
  assert.equal(await turn().locator(".words pre").textContent(), "let name = std::env::args().nth(1);");
  assert.equal(await turn().locator(".thought").getAttribute("open"), null);
  await turn().locator(".thought summary").click();
  await turn().locator(".thought .words", { hasText: "I read it first." }).waitFor();
  assert.deepEqual(await turn().locator(".plan li").evaluateAll((all) => all.map((one) => one.dataset.status)), ["completed", "in_progress", "pending"]);
  await turn().getByText("mood_update · an update that this page does not know").waitFor();
  assert.equal(await turn().locator(".log .piece").count(), 0);
  await turn().locator(".log summary", { hasText: "2 lines" }).press("Enter");
  await turn().locator(".log .piece", { hasText: "not json" }).waitFor();
  assert.deepEqual(await turn().locator(".log .piece").allTextContents(), ["warning: model is slow\n", "not json\n"]);
});

check("words stream in, and what is drawn is not drawn again", async () => {
  await opened();
  mock.publish(TURN, started("t1", "x"), says("t1", "# Head\n\nfirst **bo"));
  await turn().locator(".heading", { hasText: "Head" }).evaluate((heading) => { heading.kept = true; });
  for (const text of ["ld** <b>not", " bold</b>\n\n", "- item", "\n- two"]) mock.publish(TURN, says("t1", text));
  await turn().locator(".list li", { hasText: "two" }).waitFor();
  assert.equal(await turn().locator(".words p", { hasText: "first" }).textContent(), "first bold <b>not bold</b>");
  assert.equal(await turn().locator(".heading").evaluate((heading) => heading.kept), true);
});

check("tool calls are folded, updates find their call, diffs are coloured", async () => {
  mock.log(TURN).events.push(...story());
  await opened();
  await tool("cargo test --offline").waitFor();
  assert.equal(await count(".tool[open]"), 0);
  assert.deepEqual(await turn().locator(".tool").evaluateAll((all) => all.map((one) => one.dataset.status)), ["completed", "completed", "failed", "in_progress"]);
  assert.equal(await tool("Edit").locator(".facts").textContent(), "+2−2");
  await tool("Edit").locator("summary").click();
  assert.deepEqual(await tool("Edit").locator(".minus .text").allTextContents(), OLD.split("\n").slice(1, 3));
  assert.deepEqual(await tool("Edit").locator(".plus .text").allTextContents(), NEW.split("\n").slice(1, 3));
  const ground = (kind) => tool("Edit").locator(`.${kind}`).first().evaluate((row) => getComputedStyle(row).backgroundColor);
  assert.notEqual(await ground("plus"), await ground("minus"));
  await turn().locator(".tool", { hasText: /^✗/ }).locator("summary").click();
  await turn().getByText("Terminal term-1").waitFor();
  mock.publish(TURN, update("t1", "tool_call_update", { toolCallId: "c4", status: "completed", content: [{ type: "content", content: { type: "text", text: "42 passed" } }] }));
  await turn().locator('.tool[data-status="completed"]', { hasText: "cargo test --offline" }).locator("summary").press("Enter");
  await turn().getByText("42 passed").waitFor();
  assert.equal(await turn().locator(".tool").count(), 4);
});

check("a permission is answered by a button, once; the card says what was chosen", async () => {
  await opened();
  mock.publish(TURN, started("t1", "clean"), asks("t1", "41", { toolCallId: "c1", title: "Edit a.txt", content: [{ type: "diff", path: "/w/a.txt", oldText: "a\n", newText: "b\n" }] }));
  const card = turn().locator(".permission");
  await card.getByText("The agent asks for permission").waitFor();
  await card.locator(".plus", { hasText: "b" }).waitFor();
  assert.deepEqual(await card.getByRole("button").allTextContents(), ["Allow once", "Allow always", "Reject"]);
  assert.match(await page.title(), /^\? /);
  mock.held = true;
  await card.getByRole("button", { name: "Allow once" }).click();
  await card.getByText("Sending your answer…").waitFor();
  assert.equal(await card.getByRole("button", { name: "Reject" }).isDisabled(), true);
  mock.release();
  mock.publish(TURN, answers("t1", "41", "once"));
  await card.getByText("Allowed by local:0: Allow once").waitFor();
  assert.equal(await card.getByRole("button", { name: "Allow once" }).getAttribute("aria-pressed"), "true");
  assert.equal(await card.getByRole("button", { name: "Reject" }).isDisabled(), true);
  const sent = calls("permission.answer");
  assert.deepEqual(sent.map(({ task, request, option }) => [task, request, option]), [["t", "41", "once"]]);
  assert.match(sent[0].command_id, /^[0-9a-f]{8}-/);
});

check("a permission that somebody else answers is closed here, and who was too late is told", async () => {
  await opened();
  mock.publish(TURN, started("t1", "clean"), asks("t1", "41"), asks("t1", "42", { toolCallId: "c2", title: "Second" }));
  const card = (title) => turn().locator(".permission", { hasText: title });
  await card("Second").waitFor();
  mock.publish(TURN, answers("t1", "42", "no", "anna"));
  await card("Second").getByText("Rejected by anna: Reject").waitFor();
  mock.methods["permission.answer"] = ({ task, request }) => ({ task, request, outcome: "selected", option_id: "no", won: false });
  await card("Remove build/").getByRole("button", { name: "Allow always" }).click();
  await card("Remove build/").getByText("Somebody else answered first. Rejected: Reject").waitFor();
  mock.publish(TURN, answers("t1", "41", "no", "bert"));
  await card("Remove build/").getByText("Somebody else answered first. Rejected by bert: Reject").waitFor();
});

check("a press that was meant for what stood there before answers no question", async () => {
  await opened();
  await page.evaluate(() => {
    window.firstSeen = []; // whether each answer could be pressed in the very frame it came
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const node of addedNodes) for (const button of node.querySelectorAll?.(".permission .options button") ?? []) window.firstSeen.push(button.disabled);
    }).observe(document.body, { subtree: true, childList: true });
  });
  mock.publish(TURN, started("t1", "clean"), asks("t1", "41"));
  await turn().getByRole("button", { name: "Allow once" }).click(); // waits until it can be pressed
  await until("the answer", () => calls("permission.answer").length === 1);
  const locked = await page.evaluate(() => window.firstSeen);
  assert.ok(locked.length >= 3 && locked.every(Boolean), locked.join());
});

check("the list of tasks says which of the open ones asks", async () => {
  await opened("&task=t&task=u", size(1500));
  mock.publish(TURN, started("t1", "clean"), asks("t1", "41"));
  const row = (task) => page.locator(`#task-list button[data-task="${task}"]`);
  await row("t").getByText("asks you").waitFor();
  assert.equal(await row("u").getByText("asks you").count(), 0);
  mock.publish(TURN, answers("t1", "41", "once"));
  await row("t").getByText("asks you").waitFor({ state: "detached" });
});

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

check("a permission is reached and answered by keyboard alone, on a phone too", async () => {
  await opened("&task=t", size(390, 740));
  mock.publish(TURN, started("t1", "clean"), asks("t1", "41"), says("t1", lines(1, 200).replaceAll("\n", "\n\n")));
  await page.locator(part("scroller")).evaluate((scroller) => scroller.scrollTo(0, 0));
  await page.locator(part("pending")).press("Enter");
  await page.waitForFunction(() => document.activeElement?.dataset.option === "once");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await until("the answer", () => calls("permission.answer").length === 1);
  assert.equal(calls("permission.answer")[0].option, "always");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
});

check("a token that only reads sees the question and no buttons", async () => {
  mock.methods["task.switch"] = () => ({ error: { code: 1010, message: "FORBIDDEN: this token does not allow task.switch" } });
  mock.log(TURN).events.push(started("t1", "clean"), asks("t1", "41"));
  await opened();
  await turn().getByText("This token only reads: somebody else has to answer.").waitFor();
  assert.equal(await turn().locator(".permission button").count(), 0);
  assert.equal(await page.locator(part("prompt")).isDisabled(), true);
  assert.equal(await page.locator(part("prompt-cancel")).isVisible(), false);
  assert.equal(await page.locator(part("task-stop")).isVisible(), false);
  assert.equal(await page.locator(part("mode")).isDisabled(), true);
});

check("modes: chosen by the person, changed by the agent, on a phone too", async () => {
  await opened("&task=t", size(390, 740));
  const mode = page.locator(part("mode"));
  await until("the mode on", async () => (await mode.inputValue()) === "ask");
  await mode.selectOption("code");
  await until("the command", () => calls("task.mode").length === 1);
  assert.deepEqual([calls("task.mode")[0].task, calls("task.mode")[0].mode], ["t", "code"]);
  await until("it stays", async () => (await mode.inputValue()) === "code" && !(await mode.isDisabled()));
  tasks[0].modes = { ...MODES, currentModeId: "ask" };
  mock.publish(TURN, started("t1", "x"), update("t1", "current_mode_update", { currentModeId: "ask" }));
  await until("the agent's own change", async () => (await mode.inputValue()) === "ask");
  mock.methods["task.mode"] = () => ({ error: { code: 1005, message: "INVALID_REQUEST: no such mode" } });
  await mode.selectOption("code");
  await page.getByText("INVALID_REQUEST: no such mode").waitFor();
  assert.equal(await mode.inputValue(), "ask");
});

check("modes come with task.ready, and a worker that could not be started says why", async () => {
  await opened("&task=v");
  await page.getByText("No turns yet").waitFor();
  assert.equal(await page.locator(part("mode")).isVisible(), false);
  mock.publish("task:v", { type: "task.error", task: "v", at: 5, state: "errored", code: "BOOTSTRAP_FAILED", message: "no such program" });
  await page.locator(part("trouble"), { hasText: "BOOTSTRAP_FAILED: no such program" }).waitFor();
  mock.publish("task:v", { type: "task.ready", task: "v", at: 6, state: "ready", session: { resumed: false, modes: MODES } });
  await page.locator(part("trouble")).waitFor({ state: "hidden" });
  assert.deepEqual(await page.locator(part("mode")).locator("option").allTextContents(), ["Ask", "Code"]);
});

check("the context that is used is a meter, and a turn's end says its tokens", async () => {
  mock.log(TURN).events.push(...story());
  await opened();
  await page.locator(part("usage-text"), { hasText: "16 % of 200k" }).waitFor();
  await page.locator(part("plan"), { hasText: "1/3 Take the name" }).waitFor();
  mock.publish(TURN, sealed("t1", { stop_reason: "end_turn", usage: { used: 190_000, size: 200_000, input_tokens: 1200, output_tokens: 80 } }));
  await turn().locator("footer", { hasText: "1.2k in, 80 out tokens" }).waitFor();
  assert.equal(await page.locator(part("usage")).getAttribute("data-tone"), "bad");
});

check("the agent's commands are offered behind a slash and taken by keyboard", async () => {
  mock.log(TURN).events.push(...story());
  await opened();
  await tool("cargo test --offline").waitFor();
  await page.fill(part("prompt"), "/");
  const offer = page.locator(part("offer"));
  assert.deepEqual(await offer.locator(".name").allTextContents(), ["/review", "/compact"]);
  await page.press(part("prompt"), "ArrowDown");
  assert.equal(await offer.locator('[aria-selected="true"] .name').textContent(), "/compact");
  await page.press(part("prompt"), "Enter");
  assert.equal(await page.inputValue(part("prompt")), "/compact");
  assert.equal(await offer.isVisible(), false);
  await page.press(part("prompt"), "Enter");
  await until("the prompt", () => calls("task.prompt").length === 1);
  assert.equal(calls("task.prompt")[0].text, "/compact");
});

const ENDS = [
  ["end_turn", {}, "Done", false], ["cancelled", {}, "Cancelled", false], ["failed", { detail: "log in first" }, "Failed", true],
  ["interrupted", { detail: "lost at a power cut" }, "Interrupted: the agent is gone, and it was not run again", true],
  ["failed", { code: "BOOTSTRAP_FAILED", detail: "no such program" }, "Failed", true, "The task's worker could not be started. The node's log says why (“holdfast logs”). BOOTSTRAP_FAILED: no such program"],
  ["limit", { detail: "max_tokens" }, "Stopped at a limit", true], ["some_new_reason", {}, "Ended: some_new_reason", false],
];
check("each end of a turn has its sign; what broke off is loud and says why", async () => {
  ENDS.forEach(([stop_reason, rest], at) => mock.log(TURN).events.push(started(`t${at + 1}`, stop_reason), says(`t${at + 1}`, "words"), sealed(`t${at + 1}`, { stop_reason, ...rest })));
  await opened();
  for (const [at, [reason, { detail }, text, loud, why = detail]] of ENDS.entries()) {
    assert.equal(await seal(page, `t${at + 1}`), `${text}${why ?? ""}`, reason);
    assert.equal(await turn(`t${at + 1}`).locator("footer.loud").count(), loud ? 1 : 0, reason);
  }
});

check("what an agent left open when its turn was interrupted does not go on running", async () => {
  await opened();
  mock.publish(TURN, started("t1", "x"), update("t1", "tool_call", { toolCallId: "1", title: "Build", status: "in_progress" }), asks("t1", "9"));
  await turn().getByRole("button", { name: "Allow once" }).waitFor();
  mock.publish(TURN, sealed("t1", { stop_reason: "interrupted", detail: "the machine lost power" }));
  await turn().getByText("Not answered: the turn ended before.").waitFor();
  assert.equal(await turn().getByRole("button", { name: "Allow once" }).isDisabled(), true);
  assert.equal(await tool("Build").locator(".state").textContent(), "not finished");
  assert.equal(await page.locator(part("pending")).isVisible(), false);
});

check("a reconnect in the middle of a turn doubles no word, no tool and no question", async () => {
  await opened();
  mock.publish(TURN, ...story(), asks("t1", "41"));
  await turn().locator(".permission").waitFor();
  const before = await turn().locator(".steps").textContent();
  for (const socket of mock.sockets.keys()) socket.terminate();
  mock.publish(TURN, says("t1", "and on"));
  await turn().getByText("and on").waitFor();
  const steps = turn().locator(".steps > *");
  assert.equal(await steps.count(), 10);
  assert.equal(await turn().locator(".steps").textContent(), `${before}and on`);
  await page.reload();
  await turn().getByText("and on").waitFor();
  assert.equal(await steps.count(), 10);
});

check("while the node switches a pane says what that means, and no longer", async () => {
  mock.log(TURN).events.push(started("t1", "x"), says("t1", "words"));
  await opened();
  await turn().waitFor();
  await pass(800); // past what counts as replay
  mock.node("switching");
  await page.locator(part("pause"), { hasText: "The node is switching. Output may pause; nothing is lost." }).waitFor();
  mock.node("settling");
  await page.locator(part("pause"), { hasText: "The node is settling." }).waitFor();
  mock.node("running", "b", 5);
  await page.locator(part("pause")).waitFor({ state: "hidden" });
  assert.equal(await page.locator(part("hint")).isVisible(), true);
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

check("an answer that comes behind its turn's end is no error: the card says what became of the question", async () => {
  await opened();
  mock.publish(TURN, started("t1", "clean"), asks("t1", "41"));
  mock.methods["permission.answer"] = () => ({ error: { code: 1006, message: "INVALID_REQUEST: no permission waits" } });
  mock.held = true;
  await turn().getByRole("button", { name: "Allow once" }).click();
  await turn().getByText("Sending your answer…").waitFor();
  mock.publish(TURN, sealed("t1", { stop_reason: "cancelled" }));
  await turn().getByText("Not answered: the turn ended before.").waitFor();
  mock.release();
  await until("the answer", () => calls("permission.answer").length === 1);
  mock.publish(TURN, started("t2", "next"));
  await turn("t2").waitFor();
  assert.equal(await page.locator(`${part("errors")} .problem`).count(), 0);
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

const findCount = () => page.locator(part("find-count")).textContent();
const search = async (text) => {
  await page.locator(part("find-open")).click();
  await page.fill(part("find-text"), text);
};
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
  await page.locator(part("find-older-count"), { hasText: "1 in what this page no longer keeps" }).waitFor({ timeout: 60_000 });
  assert.equal(await findCount(), "Nothing found");
  assert.equal(await page.locator(part("find-excerpts")).locator("mark").textContent(), "needle");
  const asked = calls("conversation.history").map(({ since }) => since.offset);
  assert.ok(asked.length > 1 && asked.every((offset, at) => at === 0 || offset > asked[at - 1]), asked.join());
});

check("a turn of 10,000 events stays fluid and small, and shows all of itself on demand", async () => {
  const events = [started("t1", "much")];
  for (let n = 1; n <= 2500; n++) {
    events.push(update("t1", "tool_call", { toolCallId: `c${n}`, title: `Step ${n}`, kind: "execute", status: "pending" }), update("t1", "tool_call_update", { toolCallId: `c${n}`, status: "completed" }), says("t1", `word ${n} `), says("t1", "more\n\n"));
  }
  mock.log(TURN).events.push(...events);
  await opened();
  const from = Date.now();
  await tool("Step 2500").waitFor();
  const elements = await count("*");
  assert.ok(elements < 6_000, `${elements} elements`);
  mock.publish(TURN, says("t1", "live"));
  await turn().getByText("live").waitFor();
  await page.evaluate(async () => {
    const earlier = [...document.querySelectorAll("button")].find((button) => button.textContent === "Show earlier steps");
    while (!earlier.hidden) {
      earlier.click();
      await new Promise(requestAnimationFrame);
    }
  });
  await tool(/^✓RunStep 1done$/).waitFor();
  assert.ok((await count("*")) < 6_000);
  console.log(`10,000 events: shown within ${Date.now() - from} ms, ${elements} elements`);
});

check("nothing an agent says becomes part of the page", async () => {
  const attack = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>[x](javascript:window.hit=1)';
  const content = [{ type: "content", content: { type: "text", text: attack } }, { type: "diff", path: attack, oldText: attack, newText: "" }, { type: "terminal", terminalId: attack }];
  mock.log(TURN).events.push(started("t1", attack), says("t1", `# ${attack}\n\n${attack}\n\n- ${attack}\n\n\`\`\`${attack}\n${attack}\n\`\`\`\n`), thinks("t1", attack), update("t1", attack), update("t1", "plan", { entries: [{ content: attack, status: attack, priority: attack }] }),
    update("t1", "tool_call", { toolCallId: attack, title: attack, kind: attack, status: "completed", content, rawInput: { attack } }), asks("t1", "1", { toolCallId: "1", title: attack, content }, [{ optionId: attack, name: attack, kind: attack }]),
    update("t1", "available_commands_update", { availableCommands: [{ name: attack, description: attack }] }), update("t1", "session_info_update", { title: attack }), sealed("t1", { stop_reason: "failed", detail: attack }));
  await opened();
  await seal(page, "t1");
  await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
  await page.fill(part("prompt"), "/");
  await page.locator(part("offer")).locator("li").waitFor();
  assert.equal(await page.evaluate(() => [window.hit, document.querySelectorAll("main img, main script").length, [...document.querySelectorAll("a")].filter(({ href }) => href.startsWith("javascript")).length].join()), ",0,0");
});

check("nothing of an agent's turn overflows a phone, in dark and in light", async () => {
  mock.log(TURN).events.push(...story(), asks("t1", "41"));
  for (const colorScheme of ["dark", "light"]) {
    await opened("&task=t", { ...size(360, 740), colorScheme });
    await turn().locator(".permission").waitFor();
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
    const box = await turn().getByRole("button", { name: "Reject" }).boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 360, JSON.stringify(box));
    if (colorScheme === "dark") await page.context().close();
  }
});
