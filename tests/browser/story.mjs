// What an agent's conversation looks like on the wire: events for tests that show it.

export const started = (turn, text = "make", at = 1000) => ({ type: "turn.started", turn, text, at });
export const out = (turn, text, stream = "stdout") => ({ type: "turn.output", turn, stream, text });
export const sealed = (turn, rest = { stop_reason: "end_turn", exit_code: 0 }) => ({ type: "turn.sealed", turn, ...rest });
export const update = (turn, sessionUpdate, fields = {}) => ({ type: "turn.update", turn, update: { sessionUpdate, ...fields } });
export const says = (turn, text, kind = "agent_message_chunk") => update(turn, kind, { content: { type: "text", text } });
export const thinks = (turn, text) => says(turn, text, "agent_thought_chunk");

export const OPTIONS = [
  { optionId: "once", name: "Allow once", kind: "allow_once" }, { optionId: "always", name: "Allow always", kind: "allow_always" },
  { optionId: "no", name: "Reject", kind: "reject_once" },
];
export const asks = (turn, request, tool_call = { toolCallId: "c9", title: "Remove build/", kind: "delete" }, options = OPTIONS) => ({ type: "permission.requested", turn, request, tool_call, options });
export const answers = (turn, request, option_id, by = "local:0") => ({ type: "permission.answered", turn, request, outcome: "selected", option_id, by, at: 2 });

export const OLD = 'fn main() {\n    let name = "world";\n    println!("hello {name}");\n}\n\n// one\n// two\n// three\n// four\n// five\n';
export const NEW = 'fn main() {\n    let name = std::env::args().nth(1).unwrap_or("world".into());\n    println!("hello, {name}!");\n}\n\n// one\n// two\n// three\n// four\n// five\n';

export const MODES = { currentModeId: "ask", availableModes: [{ id: "ask", name: "Ask", description: "asks before it writes" }, { id: "code", name: "Code" }] };

/** A turn with everything in it, still running. */
export const story = (turn = "t1") => [
  started(turn, "Greet whoever is named on the command line, and be polite."),
  thinks(turn, "The program has one file. It prints a fixed name; an argument should "), thinks(turn, "replace it.\n\nI read it first."),
  update(turn, "plan", { entries: [{ content: "Read the program", status: "completed", priority: "high" }, { content: "Take the name from the command line", status: "in_progress", priority: "high" }, { content: "Run the tests", status: "pending", priority: "medium" }] }),
  update(turn, "tool_call", { toolCallId: "c1", title: "Read src/main.rs", kind: "read", status: "pending", locations: [{ path: "/w/src/main.rs", line: 1 }] }),
  update(turn, "tool_call_update", { toolCallId: "c1", status: "completed", content: [{ type: "content", content: { type: "text", text: OLD } }] }),
  says(turn, "The name is fixed in `src/main.rs`. "), says(turn, "I will\n\n1. take it from the **first argument**,\n2. keep *world* where there is none.\n\n```rust\nlet name = std::env::args()"), says(turn, ".nth(1);\n```\n"),
  update(turn, "tool_call", { toolCallId: "c2", title: "Edit src/main.rs", kind: "edit", status: "completed", content: [{ type: "diff", path: "/w/src/main.rs", oldText: OLD, newText: NEW }] }),
  update(turn, "tool_call", { toolCallId: "c3", title: "cargo test", kind: "execute", status: "failed", rawInput: { command: ["cargo", "test"] }, content: [{ type: "terminal", terminalId: "term-1" }, { type: "content", content: { type: "text", text: "error: could not find `Cargo.toml`" } }] }),
  out(turn, "warning: model is slow\n", "stderr"), out(turn, "not json\n"),
  update(turn, "available_commands_update", { availableCommands: [{ name: "review", description: "Looks through the changes", input: { hint: "what to look for" } }, { name: "compact", description: "Makes the context smaller" }] }),
  update(turn, "usage_update", { used: 31_400, size: 200_000 }),
  update(turn, "mood_update", { mood: "good" }),
  update(turn, "tool_call", { toolCallId: "c4", title: "cargo test --offline", kind: "execute", status: "in_progress" }),
];
