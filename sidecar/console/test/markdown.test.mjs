import assert from "node:assert/strict";
import { test } from "node:test";
import { plain, spans } from "../inline.js";
import { BLOCK_CHARS, Markdown, blockSource, blockText } from "../markdown.js";

function blocks(...texts) {
  const markdown = new Markdown();
  for (const text of texts) markdown.feed(text);
  return markdown.all();
}
const short = (text) => blocks(text).map((block) => [block.kind, block.kind === "list" ? block.items.map(({ depth, mark, checked, text: words }) => `${depth}${mark}${checked ?? ""} ${words}`) : block.text]);

const CASES = [
  ["paragraphs", "one\ntwo\n\nthree", [["paragraph", "one\ntwo"], ["paragraph", "three"]]],
  ["headings", "# A #\ntext\n### B", [["heading", "A"], ["paragraph", "text"], ["heading", "B"]]],
  ["no heading without a space", "#tag", [["paragraph", "#tag"]]],
  ["code", "a\n```js\nx\n\n# y\n```\nb", [["paragraph", "a"], ["code", "x\n\n# y"], ["paragraph", "b"]]],
  ["longer fences hold shorter ones", "````\n```\n````\n", [["code", "```"]]],
  ["a fence of the other kind does not end code", "~~~\n```\n~~~\n", [["code", "```"]]],
  ["code without an end", "```\nx", [["code", "x"]]],
  ["lists", "- a\n  - b\n1. c\n   more\n- [x] d\n- [ ] e", [["list", ["0• a", "1• b", "01. c\nmore", "0•true d", "0•false e"]]]],
  ["quotes", "> a\n> b\nc\n\nd", [["quote", "a\nb\nc"], ["paragraph", "d"]]],
  ["rules", "a\n\n---\n***", [["paragraph", "a"], ["rule", ""], ["rule", ""]]],
  ["tables as they are written", "| a | b |\n|---|---|\n| 1 | 2 |", [["table", "| a | b |\n|---|---|\n| 1 | 2 |"]]],
  ["carriage returns", "a\r\nb\r\n\r\nc", [["paragraph", "a\nb"], ["paragraph", "c"]]],
  ["nothing", "\n\n", []],
];
for (const [name, input, expected] of CASES) {
  test(`markdown: ${name}`, () => assert.deepEqual(short(input), expected));
  test(`markdown, cut anywhere: ${name}`, () => {
    const whole = blocks(`${input}\n`);
    for (let at = 1; at < input.length; at++) assert.deepEqual(blocks(input.slice(0, at), `${input.slice(at)}\n`), whole, `cut at ${at}`);
    assert.deepEqual(blocks(...input, "\n"), whole);
  });
}

test("markdown: closed blocks never change again", () => {
  const markdown = new Markdown();
  const seen = [];
  for (const char of "# A\n\ntext **b**\n\n```\ncode\n```\n- x\n- y\n\nend") {
    markdown.feed(char);
    seen.forEach((block, at) => assert.equal(markdown.blocks[at], block));
    seen.splice(0, seen.length, ...markdown.blocks);
  }
  assert.ok(seen.length >= 4);
});

test("markdown: blocks are bounded, whatever they are", () => {
  for (const text of ["x".repeat(100_000), "x\n".repeat(50_000), `\`\`\`\n${"y\n".repeat(50_000)}`, "- z\n".repeat(25_000)]) {
    for (const block of blocks(text)) assert.ok(blockText(block).length <= BLOCK_CHARS * 2 + 4, `${block.kind} of ${blockText(block).length}`);
  }
  assert.equal(blocks("x".repeat(100_000)).map(blockText).join(""), "x".repeat(100_000));
});

test("markdown: what was written can be had again", () => {
  const source = "# A\n\ntext **b**\n\n```js\ncode\n```\n\n- x\n  - [x] y\n\n> q\n\n---";
  assert.equal(blocks(source).map(blockSource).join("\n\n"), source);
});

const SPANS = [
  ["plain", [{ text: "plain" }]],
  ["a `b*c*` d", [{ text: "a " }, { text: "b*c*", code: true }, { text: " d" }]],
  ["**b _i_** *x* ~~s~~", [{ text: "b ", bold: true }, { text: "i", bold: true, italic: true }, { text: " " }, { text: "x", italic: true }, { text: " " }, { text: "s", strike: true }]],
  ["2 * 3 * 4", [{ text: "2 * 3 * 4" }]],
  ["snake_case_name", [{ text: "snake_case_name" }]],
  ["[here](https://a.b/c)", [{ text: "here", href: "https://a.b/c" }]],
  ["[x](javascript:alert(1))", [{ text: "[x](javascript:alert(1))" }]],
  ["see https://a.b/c.", [{ text: "see " }, { text: "https://a.b/c.", href: "https://a.b/c." }]],
  ["<b>no markup</b>", [{ text: "<b>no markup</b>" }]],
  ["**open", [{ text: "**open" }]],
];
for (const [input, expected] of SPANS) test(`inline: ${input}`, () => assert.deepEqual(spans(input), expected));

test("inline: depth and work are bounded", () => {
  assert.equal(plain("**_~~`x`~~_**"), "`x`");
  for (const text of ["*".repeat(8000), "[".repeat(8000), "`a".repeat(4000), "_a ".repeat(2700), "**a*".repeat(2000)]) {
    assert.equal(typeof plain(text), "string");
  }
});
