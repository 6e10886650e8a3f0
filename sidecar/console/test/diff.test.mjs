import assert from "node:assert/strict";
import { test } from "node:test";
import { ROWS_MAX, diff } from "../diff.js";

const short = (from, to) => diff(from, to).rows.map(({ sign, text }) => `${sign}${text}`);
const numbered = (count, change = () => null) => Array.from({ length: count }, (_, at) => change(at) ?? `line ${at}`).join("\n");

test("a change within unchanged lines, with what is near to it", () => {
  const rows = short(numbered(20), numbered(20, (at) => (at === 10 ? "other" : null)));
  assert.deepEqual(rows, ["@7", " line 7", " line 8", " line 9", "-line 10", "+other", " line 11", " line 12", " line 13", "@6"]);
});

test("lines have the numbers of the side they are on", () => {
  const { rows, added, removed } = diff("a\nb\nc", "a\nx\ny\nc");
  assert.deepEqual(rows.map(({ sign, old, new: now }) => [sign, old, now]), [[" ", 1, 1], ["-", 2, null], ["+", null, 2], ["+", null, 3], [" ", 3, 4]]);
  assert.deepEqual([added, removed], [2, 1]);
});

test("new, emptied and same files", () => {
  assert.deepEqual(short("", "a\nb\n"), ["+a", "+b"]);
  assert.deepEqual(short("a\n", ""), ["-a"]);
  assert.deepEqual(short("a\nb\n", "a\nb\n"), ["@2"]);
  assert.deepEqual(short("", ""), []);
});

test("applied to the old text a diff gives the new one", () => {
  let seed = 7;
  const random = (below) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
  for (let round = 0; round < 200; round++) {
    const from = Array.from({ length: random(12) }, () => "abcd"[random(4)]);
    const to = Array.from({ length: random(12) }, () => "abcd"[random(4)]);
    const { rows } = diff(from.join("\n"), to.join("\n"));
    if (rows.some(({ sign }) => sign === "@")) continue;
    const side = (signs) => rows.filter(({ sign }) => signs.includes(sign)).map(({ text }) => text);
    assert.deepEqual([side(" -"), side(" +")], [from, to]);
  }
});

test("work and rows are bounded", () => {
  const wide = diff(numbered(5000, (at) => `old ${at}`), numbered(5000, (at) => `new ${at}`));
  assert.deepEqual([wide.rows.length, wide.cut, wide.added, wide.removed], [ROWS_MAX, 10_000 - ROWS_MAX, 5000, 5000]);
  assert.equal(diff("x".repeat(2_000_000), "y".repeat(2_000_000)).tooLong, true);
});
