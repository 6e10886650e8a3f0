// A page before a stand-in for the sidecar, for the tests of one file: a new one of each before every test.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { launch, skip } from "./chromium.mjs";
import { Mock } from "./mock.mjs";
import { open, part, shows } from "./page.mjs";
import { MODES } from "./story.mjs";

const TASKS = () => [
  { task: "t", skill: "demo", protocol: "acp", state: "active", queued: [], modes: MODES, updated_at: 1 },
  { task: "u", skill: "command", protocol: "command", state: "idle", queued: [] }, { task: "v", skill: "demo", protocol: "acp", state: "idle", queued: [] },
  { task: "w", skill: "command", protocol: "command", state: "idle", queued: [] },
];

/** All three, and the tasks that the stand-in lists, are there as long as a test runs. */
export let browser = null;
export let mock = null;
export let page = null;
export let tasks = null;

before(async () => {
  if (!skip) browser = await launch();
});
after(() => browser?.close());
beforeEach(async () => {
  mock = await new Mock().listen();
  tasks = TASKS();
  mock.methods = {
    "task.list": () => ({ tasks }), "task.switch": () => ({}), "task.prompt": () => ({ turn: "t9" }), "task.mode": ({ task, mode }) => ({ task, mode }),
    "task.cancel": () => ({}), "task.dequeue": () => ({}), "task.open": ({ task }) => ({ task, mode: "created", state: "ready" }),
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

/** Opens the page with the token and these tasks in its address. */
export const load = async (hash = "#token=secret&task=t", options = {}) => {
  page = await open(browser, mock.url + hash, options);
  return page;
};
/** The same, connected. */
export const opened = async (hash = "&task=t", options = {}) => {
  await load(`#token=secret${hash}`, options);
  await shows(page, "running");
  return page;
};

/** A test that looks itself at what the page complains about: connections that it breaks are such. */
export const loosely = (name, body) => test(name, { skip, timeout: 120_000 }, body);
/** A test whose page complains about nothing. */
export const check = (name, body) => loosely(name, async () => {
  await body();
  assert.deepEqual(page.errors, []);
});
/** For a test with several pages: the one that there is goes. */
export const close = async () => {
  await page.context().close();
  page = null;
};
export const size = (width, height = 900) => ({ viewport: { width, height } });
export const turn = (id = "t1") => page.locator(`[data-turn="${id}"]`);
export const tool = (title) => turn().locator(".tool", { hasText: title });
/** What was asked by this method, in order. */
export const calls = (method) => mock.calls.filter((call) => call.method === method).map(({ data }) => data);
export const count = (selector) => page.locator(selector).count();
/** What a screen reader was told last. */
export const announced = () => page.locator("#announce").textContent();

// The search bar.

/** Searches for these words in the pane that has the focus. */
export async function search(text) {
  await page.locator(part("find-open")).click();
  await page.locator(part("find-text")).fill(text);
}
export const findCount = () => page.locator(part("find-count")).textContent();
