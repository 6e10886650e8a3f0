// Search in a conversation that is loaded: places in order, found a slice at a time so that the page stays usable.
//
// A place is {turn, part, at, text...}: `part` is "ask", {step, at} or {chunk}, and `nth` counts the places in it.

import { stepTexts } from "./steps.js";

/** Places found in one search; past this the search says "more than". */
export const PLACES_MAX = 2_000;
/** Shorter words are everywhere. */
export const QUERY_MIN = 2;
export const QUERY_MAX = 200;
/** Text looked through between two chances to stop. */
const SLICE_CHARS = 256 * 1024;

/** How texts are compared: without regard to case. */
export const normal = (text) => text.toLowerCase();

/** The parts of a turn that can be searched: {part, text}. */
export function* parts(turn) {
  if (turn.text !== null) yield { part: "ask", text: turn.text };
  for (const step of turn.steps.list) {
    let at = 0;
    for (const text of stepTexts(step)) yield { part: { step: step.number, at: at++ }, text };
  }
  for (const chunk of turn.screen.chunks) yield { part: { chunk: chunk.number }, text: chunkText(chunk) };
}

export function chunkText({ pieces }) {
  const texts = [];
  for (const { runs, open } of pieces) {
    for (const run of runs) texts.push(run.text);
    for (const run of open?.runs ?? []) texts.push(run.text);
  }
  return texts.join("");
}

/** How often `query` is in `text`, counted without overlaps, up to `max`. */
export function countIn(text, query, max) {
  const where = normal(text);
  let count = 0;
  for (let at = where.indexOf(query); at >= 0 && count < max; at = where.indexOf(query, at + query.length)) count++;
  return count;
}

/**
 * Looks through a conversation's turns. Yields an array of places after each slice of text; ends after all of it, or
 * after PLACES_MAX places.
 */
export function* find(conversation, text) {
  const query = normal(text);
  if (query.length < QUERY_MIN) return;
  let [found, batch, looked] = [0, [], 0];
  for (const turn of conversation.shown()) {
    for (const { part, text: where } of parts(turn)) {
      const count = countIn(where, query, PLACES_MAX - found);
      for (let nth = 0; nth < count; nth++) batch.push({ turn: turn.id, part, nth });
      found += count;
      looked += where.length;
      if (found >= PLACES_MAX) return yield batch;
      if (looked < SLICE_CHARS) continue;
      yield batch;
      [batch, looked] = [[], 0];
    }
  }
  yield batch;
}
