// What changed between two texts, line by line, with a bound on the work: past it the part that differs is shown as
// taken out and put in whole.

/** Cells of the table that finds the longest common lines (two bytes each, for a moment). */
export const CELLS_MAX = 1_000_000;
/** Unchanged lines shown around a change. */
export const CONTEXT_LINES = 3;
/** Rows of one diff in the page. */
export const ROWS_MAX = 2_000;
/** Texts longer than this together are not compared. */
export const DIFF_CHARS = 2 * 1024 * 1024;

const split = (text) => (text === "" ? [] : text.replace(/\n$/, "").split("\n"));

/**
 * The rows of a unified diff, {sign, text, old?, new?} with sign " ", "+", "-" or "@" (`text` says how many unchanged
 * lines are left out), and how much changed: {rows, added, removed, cut}. `cut` are rows past ROWS_MAX.
 */
export function diff(oldText, newText) {
  if (oldText.length + newText.length > DIFF_CHARS) return { rows: [], added: 0, removed: 0, cut: 0, tooLong: true };
  const rows = number(edits(split(oldText), split(newText)));
  const shown = fold(rows);
  const count = (sign) => rows.reduce((sum, row) => sum + (row.sign === sign ? 1 : 0), 0);
  return { rows: shown.slice(0, ROWS_MAX), added: count("+"), removed: count("-"), cut: Math.max(0, shown.length - ROWS_MAX), tooLong: false };
}

/** [{sign, text}] of all lines. */
function edits(from, to) {
  let start = 0;
  while (start < from.length && start < to.length && from[start] === to[start]) start++;
  let end = 0;
  while (end < from.length - start && end < to.length - start && from[from.length - 1 - end] === to[to.length - 1 - end]) end++;
  const keep = (lines) => lines.map((text) => ({ sign: " ", text }));
  const middle = changed(from.slice(start, from.length - end), to.slice(start, to.length - end));
  return [...keep(from.slice(0, start)), ...middle, ...keep(end === 0 ? [] : from.slice(-end))];
}

function changed(from, to) {
  if (from.length * to.length > CELLS_MAX || from.length === 0 || to.length === 0) {
    return [...from.map((text) => ({ sign: "-", text })), ...to.map((text) => ({ sign: "+", text }))];
  }
  return walk(from, to, lengths(from, to));
}

/** Longest common subsequence of what is left from (i, j) on. Both have at most CELLS_MAX lines, and their common part fits 16 bits. */
function lengths(from, to) {
  const width = to.length + 1;
  const table = new Uint16Array((from.length + 1) * width);
  for (let i = from.length - 1; i >= 0; i--) {
    for (let j = to.length - 1; j >= 0; j--) {
      table[i * width + j] = from[i] === to[j] ? table[(i + 1) * width + j + 1] + 1 : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  return table;
}

function walk(from, to, table) {
  const width = to.length + 1;
  const out = [];
  let [i, j] = [0, 0];
  while (i < from.length && j < to.length) {
    if (from[i] === to[j]) {
      out.push({ sign: " ", text: from[i++] });
      j++;
    } else if (table[(i + 1) * width + j] >= table[i * width + j + 1]) {
      out.push({ sign: "-", text: from[i++] });
    } else {
      out.push({ sign: "+", text: to[j++] });
    }
  }
  while (i < from.length) out.push({ sign: "-", text: from[i++] });
  while (j < to.length) out.push({ sign: "+", text: to[j++] });
  return out;
}

function number(rows) {
  let [old, now] = [0, 0];
  return rows.map((row) => ({
    ...row,
    old: row.sign === "+" ? null : ++old,
    new: row.sign === "-" ? null : ++now,
  }));
}

/** Leaves out the unchanged lines that no change is near to. */
function fold(rows) {
  const near = new Uint8Array(rows.length);
  rows.forEach(({ sign }, at) => {
    if (sign !== " ") near.fill(1, Math.max(0, at - CONTEXT_LINES), at + CONTEXT_LINES + 1);
  });
  const out = [];
  for (let at = 0; at < rows.length; ) {
    let end = at;
    while (end < rows.length && !near[end]) end++;
    if (end - at > 1) out.push({ sign: "@", text: String(end - at) });
    else if (end > at) out.push(rows[at]);
    for (at = end; at < rows.length && near[at]; at++) out.push(rows[at]);
  }
  return out;
}
