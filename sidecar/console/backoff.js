// How long to wait before the next try: doubling up to a bound, half of it jitter so that a thousand pages that lost
// the same node do not come back at once. `random` is in 0..1.

/** Between dials. */
export const DIAL_FIRST_MS = 250;
export const DIAL_LAST_MS = 15_000;
/** Between tries of a command or subscription that was answered "try again". */
export const RETRY_FIRST_MS = 250;
export const RETRY_LAST_MS = 4_000;

const wait = (first, last, attempt, random) => Math.min(last, first * 2 ** Math.min(attempt, 16)) * (0.5 + random / 2);

export const backoff = {
  dial: (attempt, random) => wait(DIAL_FIRST_MS, DIAL_LAST_MS, attempt, random),
  retry: (attempt, random) => wait(RETRY_FIRST_MS, RETRY_LAST_MS, attempt, random),
};
