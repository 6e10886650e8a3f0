// The modes of an agent's session: which there are and which is on, from whoever said it last.

export const MODES_MAX = 50;

/** {current, all: [{id, name, description}]} of what the node says, or null where an agent has none. */
export function readModes(modes) {
  if (modes === null || typeof modes !== "object" || !Array.isArray(modes.availableModes)) return null;
  const named = modes.availableModes.filter((mode) => typeof mode?.id === "string").slice(0, MODES_MAX);
  if (named.length === 0) return null;
  const all = named.map(({ id, name, description }) => ({ id, name: String(name ?? id), description: typeof description === "string" ? description : "" }));
  return { current: typeof modes.currentModeId === "string" ? modes.currentModeId : null, all };
}
