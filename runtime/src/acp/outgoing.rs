//! What is written to an agent: each message one line, its newline included.

use crate::acp::line::RequestId;
use crate::acp::{PROTOCOL_VERSION, method};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The first request. `version` is this program's.
pub fn initialize(number: u64, version: &str) -> Vec<u8> {
    let params = json!({
        "protocolVersion": PROTOCOL_VERSION,
        "clientCapabilities": {"fs": {"readTextFile": true, "writeTextFile": true}, "terminal": false},
        "clientInfo": {"name": "holdfast", "title": "Holdfast", "version": version},
    });
    request(number, method::INITIALIZE, &params)
}

/// Authentication by one of the agent's methods.
pub fn authenticate(number: u64, method_id: &str) -> Vec<u8> {
    request(number, method::AUTHENTICATE, &json!({"methodId": method_id}))
}

/// A new session in this directory (absolute).
pub fn session_new(number: u64, cwd: &str) -> Vec<u8> {
    request(number, method::SESSION_NEW, &json!({"cwd": cwd, "mcpServers": []}))
}

/// A session that was, to be replayed.
pub fn session_load(number: u64, session: &str, cwd: &str) -> Vec<u8> {
    request(number, method::SESSION_LOAD, &json!({"sessionId": session, "cwd": cwd, "mcpServers": []}))
}

/// A session that was, without a replay.
pub fn session_resume(number: u64, session: &str, cwd: &str) -> Vec<u8> {
    request(number, method::SESSION_RESUME, &json!({"sessionId": session, "cwd": cwd, "mcpServers": []}))
}

/// A turn.
pub fn session_prompt(number: u64, session: &str, text: &str) -> Vec<u8> {
    let params = json!({"sessionId": session, "prompt": [{"type": "text", "text": text}]});
    request(number, method::SESSION_PROMPT, &params)
}

/// The turn is to end. The prompt is still answered by the agent, with `cancelled`.
pub fn session_cancel(session: &str) -> Vec<u8> {
    let params = json!({"sessionId": session});
    line(&json!({"jsonrpc": "2.0", "method": method::SESSION_CANCEL, "params": params}))
}

/// Another mode.
pub fn session_set_mode(number: u64, session: &str, mode: &str) -> Vec<u8> {
    request(number, method::SESSION_SET_MODE, &json!({"sessionId": session, "modeId": mode}))
}

/// The answer to a request of the agent.
pub fn reply_result(id: &RequestId, result: &Value) -> Vec<u8> {
    reply(id, Some(result), None)
}

/// The refusal of a request of the agent; codes in [`crate::acp::code`].
pub fn reply_error(id: &RequestId, code: i64, message: &str) -> Vec<u8> {
    reply(id, None, Some(&json!({"code": code, "message": message})))
}

fn request(number: u64, method: &str, params: &Value) -> Vec<u8> {
    line(&json!({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
}

fn reply(id: &RequestId, result: Option<&Value>, error: Option<&Value>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a> {
        jsonrpc: &'static str,
        id: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Value>,
    }
    let id: &RawValue = serde_json::from_str(id.as_json()).expect("a request id is JSON text");
    line(&Reply { jsonrpc: "2.0", id, result, error })
}

fn line(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(message).expect("a message of values and texts has JSON text");
    bytes.push(b'\n');
    bytes
}
