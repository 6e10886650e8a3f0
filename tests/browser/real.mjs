// A real node and a browser for the tests of one file: begun before the first, ended after the last.
import { after, afterEach, before, test } from "node:test";
import { launch, skip as noBrowser } from "./chromium.mjs";
import { Node, skip as noNode } from "./node.mjs";

const skip = noNode || noBrowser;

/** Both are there as long as tests run. */
export let browser = null;
export let node = null;

before(async () => {
  if (!skip) [browser, node] = await Promise.all([launch(), Node.up()]);
});
after(async () => {
  await browser?.close();
  await node?.end();
});
afterEach(async () => {
  for (const context of browser?.contexts() ?? []) await context.close();
});

/** A test that shows what the node wrote when it fails. */
export const check = (name, body) =>
  test(name, { skip, timeout: 180_000 }, async () => {
    try {
      await body();
    } catch (error) {
      console.error(node.logs());
      throw error;
    }
  });
