// The Centrifuge client protocol in JSON, as far as the console speaks it: frames in, frames out, and what its codes
// mean. Nothing here knows of sockets or time.

/** Error code of an expired token; only a new token helps. */
export const TOKEN_EXPIRED = 109;
/** Error code of a position that the server no longer has. */
export const UNRECOVERABLE_POSITION = 112;
/** What one frame may carry (the server's own limit is 1 MiB). */
export const FRAME_MAX_BYTES = 1024 * 1024;
/** A command larger than this would fill the session's bound of unanswered commands (256 KiB) by itself. */
export const COMMAND_MAX_BYTES = 200 * 1024;

/** Commands to one text message: a JSON object a line. */
export function encode(commands) {
  return commands.map((command) => JSON.stringify(command)).join("\n");
}

/** One text message to its replies, in order. Throws ProtocolError on anything that is not an object a line. */
export function decode(text) {
  const replies = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    replies.push(parseReply(line));
  }
  return replies;
}

function parseReply(line) {
  let reply;
  try {
    reply = JSON.parse(line);
  } catch {
    throw new ProtocolError(`a reply is not JSON: ${line.slice(0, 80)}`);
  }
  if (reply === null || typeof reply !== "object" || Array.isArray(reply)) {
    throw new ProtocolError(`a reply is not an object: ${line.slice(0, 80)}`);
  }
  return reply;
}

/** The server said something that this protocol does not have. */
export class ProtocolError extends Error {}

/** An empty object is the server's ping. */
export function isPing(reply) {
  return Object.keys(reply).length === 0;
}

/** Whether a socket closed with `code` is to be dialled again (codes 3500-3999 and 4500-4999 say no). */
export function mayReconnect(code) {
  return !((code >= 3500 && code < 4000) || (code >= 4500 && code < 5000));
}

/** Whether an unsubscribe push asks for a new subscribe (2500 and above) or ends the subscription. */
export function mayResubscribe(code) {
  return code >= 2500;
}

/**
 * An error reply {code, message, temporary} as {code, name, message, temporary}: `name` is the string code in front of
 * the message (`TASK_NOT_FOUND: no task t1`), or null where the protocol's own errors have none.
 */
export function readError(error) {
  const text = typeof error.message === "string" ? error.message : "";
  const match = /^([A-Z][A-Z_]+): ?/.exec(text);
  return {
    code: Number(error.code) || 0,
    name: match ? match[1] : null,
    message: match ? text.slice(match[0].length) : text,
    temporary: error.temporary === true,
  };
}

// Nobody has decided these yet: the page sends the command again. Other temporary refusals (a full queue, a full disk,
// a dead worker) wait for a person.
const UNDECIDED = new Set(["OUTCOME_PENDING", "UNAVAILABLE", "NOT_ACTIVE"]);

/** Whether the page itself sends the command again, with the same command id; a read has none, and no outcome to be unknown. */
export function isResent(error, isRead = false) {
  return (error.temporary && (error.name === null || UNDECIDED.has(error.name))) || (isRead && error.name === "OUTCOME_UNKNOWN");
}
