// How much of an agent's context is used, as the agent says it.

const count = (value) => (Number.isFinite(value) && value >= 0 ? value : null);
const either = (usage, snake, camel) => count(usage[snake] ?? usage[camel]);

/** {used, size, input, output, total}, each a number or null; or null where nothing is said. */
export function readUsage(usage) {
  if (usage === null || typeof usage !== "object") return null;
  const read = {
    used: count(usage.used), size: count(usage.size) || null, input: either(usage, "input_tokens", "inputTokens"),
    output: either(usage, "output_tokens", "outputTokens"), total: either(usage, "total_tokens", "totalTokens"),
  };
  return Object.values(read).every((value) => value === null) ? null : read;
}

/** What was said before stays where the newer word does not name it. */
export function mergeUsage(before, usage) {
  if (usage === null) return before;
  const merged = { ...before };
  for (const [name, value] of Object.entries(usage)) if (value !== null || merged[name] === undefined) merged[name] = value;
  return merged;
}

/** For a meter: {share, text, tone}, or null where used and size are not both known. */
export function meter(usage) {
  if (!usage || usage.used === null || usage.size === null) return null;
  const share = Math.min(1, usage.used / usage.size);
  const percent = Math.round(share * 100);
  return { share, percent, text: `${short(usage.used)} of ${short(usage.size)} tokens`, tone: percent >= 95 ? "bad" : percent >= 80 ? "warn" : "quiet" };
}

/** What a turn took, in a few words, or null. */
export function usageText(usage) {
  if (!usage) return null;
  const words = [];
  if (usage.input !== null) words.push(`${short(usage.input)} in`);
  if (usage.output !== null) words.push(`${short(usage.output)} out`);
  if (words.length > 0) return `${words.join(", ")} tokens`;
  if (usage.total !== null) return `${short(usage.total)} tokens`;
  return usage.used === null ? null : `${short(usage.used)} tokens of context`;
}

/** 950, 1.2k, 31k, 1.5M */
export function short(value) {
  if (value < 1000) return String(value);
  const [divisor, unit] = value < 1_000_000 ? [1000, "k"] : [1_000_000, "M"];
  const scaled = value / divisor;
  return `${scaled < 10 ? scaled.toFixed(1).replace(/\.0$/, "") : Math.round(scaled)}${unit}`;
}
