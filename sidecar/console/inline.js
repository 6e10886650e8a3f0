// The small part of Markdown that is shown within a line: code, bold, italic, struck, links. Spans of text go out, never
// markup, so that nothing an agent writes can become part of the page.

/** Emphasis within emphasis; deeper is shown as written. */
const DEPTH_MAX = 3;
/** Only these can be followed; everything else stays text. */
const LINK = /^https?:\/\//;

// Each alternative ends at the next of its own marks or at the line's end, so that a text costs what it is long.
const TOKEN = new RegExp([
  "`([^`\\n]+)`",
  "\\*\\*([^*\\n]+)\\*\\*",
  "(?<![\\w*])\\*([^*\\s][^*\\n]*)\\*(?!\\w)",
  "(?<!\\w)__([^_\\n]+)__(?!\\w)",
  "(?<!\\w)_([^_\\s][^_\\n]*)_(?!\\w)",
  "~~([^~\\n]+)~~",
  "\\[([^\\]\\n]{1,500})\\]\\((https?:\\/\\/[^\\s)]{1,2000})\\)",
  "(https?:\\/\\/[^\\s<>\"'`)\\]]{1,2000})",
].join("|"), "g");
const LOOKS = [{ code: true }, { bold: true }, { italic: true }, { bold: true }, { italic: true }, { strike: true }];

/** The text as spans {text, code?, bold?, italic?, strike?, href?}, in order. */
export function spans(text, look = {}, depth = 0) {
  const out = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > at) out.push({ ...look, text: text.slice(at, match.index) });
    out.push(...marked(match, look, depth));
    at = match.index + match[0].length;
  }
  if (at < text.length) out.push({ ...look, text: text.slice(at) });
  return out;
}

function marked(match, look, depth) {
  const [whole, ...groups] = match;
  const which = LOOKS.findIndex((_, index) => groups[index] !== undefined);
  if (which === 0) return [{ ...look, code: true, text: groups[0] }];
  if (which > 0) {
    const inner = { ...look, ...LOOKS[which] };
    return depth + 1 >= DEPTH_MAX ? [{ ...inner, text: groups[which] }] : spans(groups[which], inner, depth + 1);
  }
  const [label, target, bare] = groups.slice(LOOKS.length);
  const href = target ?? bare;
  return LINK.test(href) ? [{ ...look, text: label ?? bare, href }] : [{ ...look, text: whole }];
}

/** The text as it is read, without marks. */
export const plain = (text) => spans(text).map((span) => span.text).join("");
