// Marks on found words, without a change to the page: ranges that the browser paints (CSS custom highlights). Where it
// cannot, the element that holds the words is outlined.

/** Ranges marked at once for one search. */
const MARKS_MAX = 500;

const supported = typeof Highlight === "function" && globalThis.CSS?.highlights !== undefined;
const owners = new Map(); // owner -> {all: [Range], current: Range | null, element}

/** Marks all places of `query` in `element`, the `nth` one strongly, and brings that into sight. */
export function markIn(owner, element, query, nth) {
  clearMarks(owner, false);
  const ranges = rangesIn(element, query);
  const current = ranges[Math.min(nth, ranges.length - 1)] ?? null;
  owners.set(owner, { all: ranges, current, element });
  if (current === null || !supported) element.classList.add("found-here");
  paint();
  bring(current, element);
}

export function clearMarks(owner, repaint = true) {
  owners.get(owner)?.element.classList.remove("found-here");
  owners.delete(owner);
  if (repaint) paint();
}

function paint() {
  if (!supported) return;
  const all = [...owners.values()];
  CSS.highlights.set("found", new Highlight(...all.flatMap((one) => one.all)));
  const strong = new Highlight(...all.map(({ current }) => current).filter(Boolean));
  strong.priority = 1;
  CSS.highlights.set("found-current", strong);
}

/** The element is scrolled to, then within it the words: what is not drawn yet has no place of its own. */
function bring(range, element) {
  element.scrollIntoView({ block: "center" });
  if (range === null) return;
  const scroller = element.closest(".scroller");
  const box = range.getBoundingClientRect();
  if (!scroller || box.height === 0) return;
  const view = scroller.getBoundingClientRect();
  if (box.top < view.top + 40 || box.bottom > view.bottom - 40) scroller.scrollTop += box.top - view.top - view.height / 2;
}

function rangesIn(element, query) {
  const nodes = [];
  let text = "";
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    nodes.push({ node, from: text.length });
    text += node.data.toLowerCase();
  }
  const ranges = [];
  let which = 0;
  for (let at = text.indexOf(query); at >= 0 && ranges.length < MARKS_MAX; at = text.indexOf(query, at + query.length)) {
    const start = pointAt(nodes, at, (which = nodeAt(nodes, at, which)));
    const end = pointAt(nodes, at + query.length, nodeAt(nodes, at + query.length - 1, which));
    const range = new Range();
    range.setStart(start.node, start.offset);
    range.setEnd(end.node, end.offset);
    ranges.push(range);
  }
  return ranges;
}

function nodeAt(nodes, at, from) {
  let which = from;
  while (which + 1 < nodes.length && nodes[which + 1].from <= at) which++;
  return which;
}

/** Letters that grow in lower case may shift a mark, but never beyond its node. */
function pointAt(nodes, at, which) {
  const { node, from } = nodes[which];
  return { node, offset: Math.min(node.data.length, at - from) };
}
