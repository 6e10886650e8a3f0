import assert from "node:assert/strict";
import { test } from "node:test";
import { AnsiParser, STYLES_MAX, applySgr, palette } from "../ansi.js";
import { COLUMN_MAX } from "../line.js";
import { CHUNK_LINES, OPEN_LINE_CHARS, Screen } from "../screen.js";

/** The text of one stream after these pieces. */
function shown(...texts) {
  const screen = new Screen();
  for (const text of texts) screen.feed("stdout", text);
  return screen.text();
}

const CASES = [
  ["plain", "a\nb", "a\nb"],
  ["carriage return writes over", "10%\r55%", "55%"],
  ["a shorter text leaves the rest", "hello\rHE", "HEllo"],
  ["carriage return before the line's end changes nothing", "a\r\nb\r\n", "a\nb\n"],
  ["erase to the end", "progress 99%\r\x1b[Kdone\n", "done\n"],
  ["erase all of the line", "abc\x1b[2K\rx", "x"],
  ["erase to the cursor", "abcdef\x1b[3D\x1b[1K", "    ef"],
  ["backspace", "abc\b\bX", "aXc"],
  ["column", "abc\x1b[2GX", "aXc"],
  ["forward", "a\x1b[3Cb", "a   b"],
  ["colours are no text", "\x1b[1;31mred\x1b[0m", "red"],
  ["cursor movement and modes are removed", "\x1b[2J\x1b[H\x1b[?25lx\x1b[10;5Hy\x1b[?25h", "xy"],
  ["a title is removed", "\x1b]0;title\x07x", "x"],
  ["a link is its text", "\x1b]8;;http://a.b\x1b\\here\x1b]8;;\x1b\\", "here"],
  ["strings are removed", "\x1bPq#0\x1b\\a\x1b_x\x1b\\b\x1b^y\x9cc", "abc"],
  ["an unended string ends with the line", "\x1b]0;never\nafter", "after"],
  ["character sets are removed", "\x1b(B\x1b=x\x1b#8y", "xy"],
  ["controls are removed", "a\x00\x07\x0b\x7f\x85b\tc", "ab\tc"],
  ["an escape within a sequence starts another", "\x1b[31\x1b[32mx", "x"],
  ["cancel abandons a sequence", "\x1b[31\x18mx", "mx"],
  ["C1 introduces too", "\x9b31mx\x9d0;t\x07y", "xy"],
  ["wide characters", "日本語\r日", "日本語"],
];

for (const [name, input, expected] of CASES) {
  test(`screen: ${name}`, () => assert.equal(shown(input), expected));
  test(`screen, cut anywhere: ${name}`, () => {
    for (let at = 1; at < input.length; at++) assert.equal(shown(input.slice(0, at), input.slice(at)), expected, `cut at ${at}`);
    assert.equal(shown(...input), expected);
  });
}

/** Runs as [text, style's set fields]. */
function runs(text) {
  const out = [];
  const style = (given) => (given ? Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null && value !== false)) : null);
  new AnsiParser().feed(text, { text: (string, given) => out.push([string, style(given)]) });
  return out;
}

test("styles: weights and the sixteen colours", () => {
  assert.deepEqual(runs("a\x1b[1;31mb\x1b[22;39mc"), [["a", null], ["b", { fg: 1, bold: true }], ["c", null]]);
  assert.deepEqual(runs("\x1b[97;104mx"), [["x", { fg: 15, bg: 12 }]]);
  assert.deepEqual(runs("\x1b[7mx\x1b[27;3;4;9my\x1b[mz"), [["x", { inverse: true }], ["y", { italic: true, underline: true, strike: true }], ["z", null]]);
});

test("styles: 256 colours and true colour, with semicolons and with colons", () => {
  assert.deepEqual(runs("\x1b[38;5;208mx"), [["x", { fg: "#ff8700" }]]);
  assert.deepEqual(runs("\x1b[38;5;1;1mx"), [["x", { fg: 1, bold: true }]]);
  assert.deepEqual(runs("\x1b[48;2;1;2;3;4mx"), [["x", { bg: "#010203", underline: true }]]);
  assert.deepEqual(runs("\x1b[38:2::10:20:30mx"), [["x", { fg: "#0a141e" }]]);
  assert.deepEqual(runs("\x1b[38;5;999mx\x1b[38mz"), [["x", null], ["z", null]]);
  assert.deepEqual([palette(16), palette(231), palette(232), palette(255)], ["#000000", "#ffffff", "#080808", "#eeeeee"]);
});

test("styles: private and unknown sequences change nothing", () => {
  assert.deepEqual(runs("\x1b[>4;1mx\x1b[?1my\x1b[999mz"), [["x", null], ["y", null], ["z", null]]);
});

test("styles: the same look is the same object, and the memory of looks is bounded", () => {
  assert.equal(applySgr(null, "31"), applySgr(null, "31"));
  assert.equal(applySgr(applySgr(null, "31"), "0"), null);
  for (let n = 0; n < STYLES_MAX + 10; n++) applySgr(null, `38;2;${n >> 8};${n & 255};7`);
  assert.equal(applySgr(null, "31").fg, 1);
});

test("a sequence without an end is skipped, not kept", () => {
  const parser = new AnsiParser();
  const out = [];
  parser.feed(`\x1b[${"1;".repeat(100_000)}mx`, { text: (string, style) => out.push([string, style]) });
  assert.deepEqual(out, [["x", null]]);
  assert.ok(parser.sequence.length < 300);
});

test("streams are parsed apart: a warning in a progress bar spoils neither", () => {
  const screen = new Screen();
  screen.feed("stdout", "\x1b[31mprogress 1%");
  screen.feed("stderr", "warn");
  screen.feed("stdout", "\rprogress 2%");
  screen.feed("stderr", "ing\n");
  screen.feed("stdout", "\rprogress 3%\nend\n");
  assert.equal(screen.text("stdout"), "progress 3%\nend\n");
  assert.equal(screen.text("stderr"), "warning\n");
  assert.deepEqual(screen.chunks[0].pieces.map(({ stream }) => stream), ["stdout", "stderr", "stdout"]);
  assert.equal(screen.chunks[0].pieces[1].runs[0].style, null);
});

test("lines fill chunks; what was drained is not touched again", () => {
  const screen = new Screen();
  for (let n = 0; n < CHUNK_LINES * 3 + 1; n++) screen.feed("stdout", `line ${n}\n`);
  assert.deepEqual(screen.chunks.map(({ lines, number }) => [lines, number]), [[200, 0], [200, 1], [200, 2], [1, 3]]);
  assert.equal(screen.takeTouched().size, 4);
  assert.equal(screen.takeTouched().size, 0);
  screen.feed("stdout", "x");
  assert.equal(screen.takeTouched().size, 1);
});

test("past its bound a screen lets the oldest go and says how much", () => {
  const screen = new Screen({ maxChars: 10_000 });
  for (let n = 0; n < 5_000; n++) screen.feed("stdout", `line ${n}\n`);
  assert.ok(screen.chars <= 10_000 + 40_000);
  assert.ok(screen.droppedLines > 0);
  assert.equal(screen.text().split("\n")[0], `line ${screen.droppedLines}`);
  assert.equal(screen.chunks[0].number, screen.dropped);
});

test("a line without an end is bounded and loses nothing", () => {
  const screen = new Screen();
  for (let n = 0; n < 100; n++) screen.feed("stdout", "x".repeat(1000));
  assert.equal(screen.text().length, 100_000);
  const open = screen.chunks.at(-1).pieces.at(-1).open;
  assert.ok((open?.length ?? 0) <= OPEN_LINE_CHARS + 1000);
});

test("moves of a cursor far to the right are bounded", () => {
  assert.equal(shown("\x1b[99999999Gx").length, COLUMN_MAX + 1);
  assert.equal(shown(`${"\x1b[99999C".repeat(50)}x`).length, COLUMN_MAX + 1);
});

test("what was let go of is kept by nothing, though nobody looked", () => {
  const screen = new Screen({ maxChars: 10_000 });
  for (let n = 0; n < 20_000; n++) screen.feed("stdout", `line ${n}\n`);
  const kept = new Set(screen.chunks.flatMap(({ pieces }) => pieces));
  assert.ok([...screen.touched].every((piece) => kept.has(piece)));
});
