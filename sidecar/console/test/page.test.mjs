import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const folder = new URL("../", import.meta.url);
const files = readdirSync(folder).filter((name) => /\.(js|html|css)$/.test(name)).map((name) => ({ name, text: readFileSync(new URL(name, folder), "utf8") }));

test("no module makes markup of text", () => {
  for (const { name, text } of files) assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function/, name);
});

test("every part that a view asks for is in the page, once", () => {
  const page = files.find(({ name }) => name === "index.html").text;
  const there = [...page.matchAll(/data-part="([a-z-]+)"/g)].map(([, part]) => part);
  assert.deepEqual(there.filter((part, at) => there.indexOf(part) !== at), []);
  for (const { name, text } of files) {
    for (const [, part] of text.matchAll(/\bpart\("([a-z-]+)"\)/g)) assert.ok(there.includes(part), `${name} asks for ${part}`);
    for (const [, id] of text.matchAll(/\bbyId\("([a-z-]+)"\)/g)) assert.ok(page.includes(`id="${id}"`), `${name} asks for #${id}`);
  }
});

test("pure modules import no view and touch no page", () => {
  const views = ["app.js", "client.js", "desk.js", "dom.js", "marks.js", "pane.js", "place.js", "transport.js"];
  for (const { name, text } of files) {
    if (!name.endsWith(".js") || name.startsWith("view-") || views.includes(name)) continue;
    assert.doesNotMatch(text, /\bdocument\.|\bwindow\.(add|location|inner)|from "\.\/(view-|dom)/, name);
  }
});
