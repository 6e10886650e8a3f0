// The console page as a test sees it: what it shows, and every word its pill ever showed.

/** A named part of the pane that has the focus. */
export const part = (name) => `.pane[data-focused] [data-part="${name}"]`;
const PROMPT = part("prompt");

/** Opens `url` in a context of its own. `errors` collects what the page complained about. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 760 }, ...options });
  const page = await context.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error.stack)));
  page.on("console", (message) => {
    if (message.type() === "error") page.errors.push(message.text());
  });
  await page.addInitScript(recordStates);
  await page.goto(url);
  return page;
}

/** Runs in the page: keeps the sequence of connection words. */
function recordStates() {
  window.shownStates = [];
  new MutationObserver(() => {
    const state = document.body?.dataset.connection;
    if (state && window.shownStates.at(-1) !== state) window.shownStates.push(state);
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-connection"] });
}

export const states = (page) => page.evaluate(() => window.shownStates);

/** Waits until the pill shows one of these. */
export function shows(page, ...wanted) {
  return page.waitForFunction((names) => names.includes(document.body.dataset.connection), wanted, { timeout: 30_000 });
}

/** Text of one turn's stream, as it is in the page. */
export function output(page, turn, stream = "stdout") {
  return page.evaluate(
    ([id, name]) => [...document.querySelectorAll(`[data-turn="${id}"] .piece[data-stream="${name}"]`)].map((piece) => piece.textContent).join(""),
    [turn, stream],
  );
}

/** Waits until one turn's stream contains `text`. */
export function says(page, turn, text, stream = "stdout", timeout = 30_000) {
  return page.waitForFunction(
    ([id, name, wanted]) => [...document.querySelectorAll(`[data-turn="${id}"] .piece[data-stream="${name}"]`)].map((piece) => piece.textContent).join("").includes(wanted),
    [turn, stream, text], { timeout },
  );
}

/** Waits for a turn's end; what the page says about it. */
export async function seal(page, turn, timeout = 60_000) {
  const found = page.locator(`[data-turn="${turn}"] .seal`);
  await found.waitFor({ timeout });
  return found.textContent();
}

export async function prompt(page, text) {
  await page.fill(PROMPT, text);
  await page.press(PROMPT, "Enter");
}

/** "line 1\nline 2\n..." */
export const lines = (from, to, word = "line") => Array.from({ length: to - from + 1 }, (_, at) => `${word} ${from + at}\n`).join("");
