// A change of a file, coloured.

import { diff } from "./diff.js";
import { el } from "./dom.js";

export function diffView({ path, oldText, newText, created }) {
  const result = diff(oldText, newText);
  const head = el("div", { className: "diff-head" }, el("span", { className: "path" }, path || "(no path)"), ...counts(result), created ? el("span", { className: "note" }, "new file") : "");
  if (result.tooLong) return el("div", { className: "diff" }, head, el("p", { className: "note" }, "Too long to be compared here."));
  const rows = el("div", { className: "rows", role: "group", "aria-label": `Changes of ${path}` }, ...result.rows.map(row));
  const more = result.cut > 0 ? [el("p", { className: "note" }, `${result.cut.toLocaleString()} more lines`)] : [];
  const none = result.rows.length === 0 ? [el("p", { className: "note" }, "Nothing differs.")] : [];
  return el("div", { className: "diff" }, head, rows, ...more, ...none);
}

/** "+3 −1" */
export function counts({ added, removed, tooLong }) {
  if (tooLong) return [];
  return [el("span", { className: "added" }, `+${added}`), el("span", { className: "removed" }, `−${removed}`)];
}

function row({ sign, text, old, new: now }) {
  if (sign === "@") return el("div", { className: "row skip" }, `⋯ ${text} unchanged lines`);
  const kind = { "+": "plus", "-": "minus", " ": "same" }[sign];
  const line = el("span", { className: "line", "aria-hidden": "true" }, String((sign === "-" ? old : now) ?? ""));
  return el("div", { className: `row ${kind}` }, line, el("span", { className: "sign" }, sign === "-" ? "−" : sign), el("span", { className: "text" }, text));
}
