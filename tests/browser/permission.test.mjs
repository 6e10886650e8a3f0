// Questions of an agent, answered in the page, against a stand-in for the sidecar.
import assert from "node:assert/strict";
import { until } from "./node.mjs";
import { lines, part } from "./page.mjs";
import { calls, check, mock, opened, page, size, turn } from "./stage.mjs";
import { answers, asks, says, sealed, started } from "./story.mjs";

const TURN = "conversation:t";

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
