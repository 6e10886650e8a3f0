// The commands that an agent offers, as the person types one: `/rev` offers `/review`.

/** Offered at once; the rest is reached by typing on. */
export const OFFERED_MAX = 8;

/** The commands that fit what stands in the prompt: it begins with a slash and has no space yet. */
export function offered(commands, text) {
  const match = /^\/(\S*)$/.exec(text);
  if (!match) return [];
  const word = match[1].toLowerCase();
  const rank = ({ name }) => (name.toLowerCase().startsWith(word) ? 0 : name.toLowerCase().includes(word) ? 1 : 2);
  return commands.filter((command) => rank(command) < 2).sort((one, other) => rank(one) - rank(other)).slice(0, OFFERED_MAX);
}
