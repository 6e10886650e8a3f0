// An agent's turns in the page, against a stand-in for the sidecar.
import assert from "node:assert/strict";
import { pass, until } from "./node.mjs";
import { part, seal } from "./page.mjs";
import { calls, check, close, count, mock, opened, page, size, tasks, tool, turn } from "./stage.mjs";
import { MODES, NEW, OLD, asks, says, sealed, started, story, thinks, update } from "./story.mjs";

const TURN = "conversation:t";

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
  ["failed", { code: "BOOTSTRAP_FAILED", detail: "no such program" }, "Failed", true, "The task's worker could not be started. Opening the task again tries it once more. BOOTSTRAP_FAILED: no such program"],
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
    if (colorScheme === "dark") await close();
  }
});
