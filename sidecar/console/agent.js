// Session updates of an agent (ACP) as lines of a turn's screen: its words, its thoughts, what it does.

/** Streams of a screen that an agent speaks on, beside stdout and stderr. */
export const AGENT_STREAMS = ["message", "thought", "note"];

/** Writes one `session/update` to the screen. Kinds that have nothing to show are passed over. */
export function describeUpdate(screen, update) {
  if (update === null || typeof update !== "object") return;
  const write = UPDATES[update.sessionUpdate];
  if (write) write(screen, update);
}

const UPDATES = {
  agent_message_chunk: (screen, { content }) => speak(screen, "message", contentText(content)),
  agent_thought_chunk: (screen, { content }) => speak(screen, "thought", contentText(content)),
  tool_call: (screen, update) => note(screen, `▸ ${update.title ?? update.kind ?? "tool call"}${status(update)}`),
  tool_call_update: (screen, update) => {
    const named = update.title ?? update.toolCallId ?? "tool call";
    if (update.status === "completed" || update.status === "failed") note(screen, `  ${named}${status(update)}`);
  },
  plan: (screen, { entries }) => {
    for (const entry of Array.isArray(entries) ? entries : []) {
      note(screen, `${entry.status === "completed" ? "☑" : "☐"} ${entry.content ?? ""}`);
    }
  },
};

const status = ({ status }) => (typeof status === "string" ? ` · ${status.replace("_", " ")}` : "");

function contentText(content) {
  if (content?.type === "text" && typeof content.text === "string") return content.text;
  return content?.type ? `[${content.type}]` : "";
}

function note(screen, text) {
  speak(screen, "note", `${text.replace(/\s+/g, " ").trimEnd()}\n`);
}

/** An agent says one thing after the other: a new stream ends the line of the one before. */
function speak(screen, stream, text) {
  if (text === "") return;
  for (const other of AGENT_STREAMS) {
    if (other !== stream && screen.writer(other).piece) screen.writer(other).newline();
  }
  screen.feed(stream, text);
}
