//! What the agent says, as the protocol has it. Pure.

use serde_json::{Value, json};

/// The version of the protocol that is spoken.
const PROTOCOL: u64 = 1;
/// The modes: whether permission is asked for.
pub const MODES: [&str; 2] = ["ask", "code"];

/// The answer to `initialize`.
pub fn initialized() -> Value {
    json!({
        "protocolVersion": PROTOCOL,
        "agentCapabilities": {
            "loadSession": true,
            "promptCapabilities": {"image": false, "audio": false, "embeddedContext": false},
        },
        "agentInfo": {"name": "holdfast-demo", "title": "Holdfast demo", "version": env!("CARGO_PKG_VERSION")},
        "authMethods": [],
    })
}

/// Modes as an answer to a session request has them.
pub fn modes(current: &str) -> Value {
    json!({
        "currentModeId": current,
        "availableModes": [
            {"id": MODES[0], "name": "Ask", "description": "Asks before it does what needs permission"},
            {"id": MODES[1], "name": "Code", "description": "Does it without asking"},
        ],
    })
}

/// A piece of text: `kind` is `agent_message_chunk`, `agent_thought_chunk` or `user_message_chunk`.
pub fn chunk(kind: &str, text: &str) -> Value {
    json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}})
}

/// A plan; nothing of it is done yet.
pub fn plan(entries: &[String]) -> Value {
    let entry = |content: &String| json!({"content": content, "priority": "medium", "status": "pending"});
    json!({"sessionUpdate": "plan", "entries": entries.iter().map(entry).collect::<Vec<Value>>()})
}

/// A tool call begins.
pub fn tool(id: &str, title: &str, kind: &str) -> Value {
    json!({"sessionUpdate": "tool_call", "toolCallId": id, "title": title, "kind": kind, "status": "pending"})
}

/// A tool call goes on; `content` may be empty.
pub fn tool_update(id: &str, status: &str, content: Vec<Value>) -> Value {
    let mut update = json!({"sessionUpdate": "tool_call_update", "toolCallId": id, "status": status});
    if !content.is_empty() {
        update["content"] = Value::Array(content);
    }
    update
}

/// Text in a tool call.
pub fn tool_text(text: &str) -> Value {
    json!({"type": "content", "content": {"type": "text", "text": text}})
}

/// A difference in a tool call.
pub fn tool_diff(path: &str, old: &str, new: &str) -> Value {
    json!({"type": "diff", "path": path, "oldText": old, "newText": new})
}

/// Tokens in use and the most there may be.
pub fn usage(used: u64, size: u64) -> Value {
    json!({"sessionUpdate": "usage_update", "used": used, "size": size})
}

/// What permission is asked for, and what may be answered.
pub fn permission(session: &str, id: &str, title: &str) -> Value {
    let option = |id: &str, name: &str, kind: &str| json!({"optionId": id, "name": name, "kind": kind});
    json!({
        "sessionId": session,
        "toolCall": {"toolCallId": id, "title": title, "kind": "edit", "status": "pending"},
        "options": [
            option("allow", "Allow", "allow_once"),
            option("always", "Always allow", "allow_always"),
            option("reject", "Reject", "reject_once"),
        ],
    })
}
