// A signed release handed to a real node, seen in the page.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, skip as noBrowser } from "./chromium.mjs";
import { Node, skip as noNode } from "./node.mjs";
import { open, shows, states } from "./page.mjs";

const skip = noBrowser || noNode;
/** Long enough to be looked at, short enough to be waited for. */
const SETTINGS = "[supervisor]\ncountdown_ms = 5000\nminimum_update_period_ms = 0\n";

let browser, node;
before(async () => {
  if (skip) return;
  browser = await launch();
  node = await Node.up(SETTINGS);
  await node.holdfast("release", "keygen", "--trust", "--out", node.root);
});
after(async () => {
  await browser?.close();
  await node?.end();
});

async function pack(version) {
  const bundle = join(node.root, `${version}.tar.zst`);
  await node.holdfast("release", "pack", "--key", join(node.root, "holdfast-release.key"), "--version", version, "--out", bundle);
  return bundle;
}

const shownUpdate = (page, state) => page.waitForFunction((wanted) => document.body.dataset.update === wanted, state, { timeout: 60_000 });

test("an update is shown from its countdown to its end, and the connection stays", { skip, timeout: 120_000 }, async () => {
  const bundle = await pack("9.0.0");
  const page = await open(browser, node.ready.open);
  await shows(page, "running");
  const updating = node.holdfast("update", bundle);
  await shownUpdate(page, "countdown");
  const strip = page.locator("#update-strip");
  await strip.getByText("Release 9.0.0.").waitFor();
  assert.match(await strip.locator(".left").textContent(), /^begins in [0-5] s$/);
  assert.deepEqual(await strip.locator("code").allTextContents(), ["holdfast update cancel", "holdfast update defer"]);
  await updating;
  await shownUpdate(page, "none");
  await page.locator("#node-brief", { hasText: "release 9.0.0" }).waitFor();
  assert.equal(await strip.isVisible(), false);
  const seen = await states(page);
  assert.deepEqual(seen.filter((state) => ["reconnecting", "restarting", "offline"].includes(state)), [], seen.join());
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

test("an update that is refused says why, and stays said to whoever opens the page later", { skip, timeout: 120_000 }, async () => {
  const bundle = await pack("9.1.0");
  const bytes = readFileSync(bundle);
  bytes[bytes.length >> 1] ^= 1;
  writeFileSync(bundle, bytes);
  await assert.rejects(node.holdfast("update", bundle));
  const attempts = JSON.parse(await node.holdfast("attempts", "--json")).attempts;
  const reason = attempts[0].failure_reason;
  const page = await open(browser, node.ready.open);
  await shownUpdate(page, "failed");
  await page.locator("#update-strip").getByText(`Reason: ${reason} (while preparing).`).waitFor();
  assert.equal(await page.evaluate(() => document.body.dataset.connection), "running");
  await node.switch();
  await shownUpdate(page, "none");
  await page.context().close();
});
