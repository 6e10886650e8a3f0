/** A UUIDv7 of `now` (unix milliseconds) and 10 random bytes: command ids, ordered by the time of their making. */
export function uuidv7(now, random) {
  const time = Math.floor(now).toString(16).padStart(12, "0").slice(-12);
  const bytes = Array.from(random.slice(0, 10));
  bytes[0] = (bytes[0] & 0x0f) | 0x70;
  bytes[2] = (bytes[2] & 0x3f) | 0x80;
  const rest = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${time.slice(0, 8)}-${time.slice(8)}-${rest.slice(0, 4)}-${rest.slice(4, 8)}-${rest.slice(8)}`;
}
