// Which chunks of a long turn are in the page. Numbers only: a window is {first, last} of chunk numbers, `last`
// excluded; `kept` is the first number still kept and `end` the number after the newest.

/** Chunks in the page at once: 300 x 200 lines, or at most 9.6 MiB of text. */
export const WINDOW_CHUNKS = 300;
/** Chunks added by one "show earlier" or "show later". */
export const PAGE_CHUNKS = 60;

/** At the end, following. */
export function atEnd({ kept, end }) {
  return { first: Math.max(kept, end - WINDOW_CHUNKS), last: end };
}

/** While someone reads further up nothing above moves; the window grows at its end until it is full. */
export function staying(window, { kept, end }) {
  const first = Math.max(window.first, kept);
  return { first, last: Math.max(first, Math.min(end, Math.max(window.last, first + WINDOW_CHUNKS))) };
}

export function earlier(window, { kept, end }) {
  const first = Math.max(kept, window.first - PAGE_CHUNKS);
  return { first, last: Math.min(end, window.last, first + WINDOW_CHUNKS) };
}

export function later(window, { kept, end }) {
  const last = Math.min(end, window.last + PAGE_CHUNKS);
  return { first: Math.max(kept, window.first, last - WINDOW_CHUNKS), last };
}
