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
        "clientCapabilities": {"fs": {"readTextFile": true, "writeTextFile": true}, "terminal": true},
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acp::line::{Line, parse};

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    /// What is sent, as a value; one line each.
    fn sent(bytes: Vec<u8>) -> Value {
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(bytes.last(), Some(&b'\n'));
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn requests_are_as_the_protocol_has_them() {
        let capabilities = json!({"fs": {"readTextFile": true, "writeTextFile": true}, "terminal": true});
        let info = json!({"name": "holdfast", "title": "Holdfast", "version": "1.2.3"});
        let initialize =
            json!({"protocolVersion": 1, "clientCapabilities": capabilities, "clientInfo": info});
        let session = json!({"sessionId": "s", "cwd": "/w", "mcpServers": []});
        let prompt = json!({"sessionId": "s", "prompt": [{"type": "text", "text": "do\n\"it\""}]});
        let cases = [
            (super::initialize(1, "1.2.3"), "initialize", initialize),
            (authenticate(1, "m"), "authenticate", json!({"methodId": "m"})),
            (session_new(1, "/w"), "session/new", json!({"cwd": "/w", "mcpServers": []})),
            (session_load(1, "s", "/w"), "session/load", session.clone()),
            (session_resume(1, "s", "/w"), "session/resume", session),
            (session_prompt(1, "s", "do\n\"it\""), "session/prompt", prompt),
            (session_set_mode(1, "s", "m"), "session/set_mode", json!({"sessionId": "s", "modeId": "m"})),
        ];
        for (bytes, method, params) in cases {
            let expected = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            assert_eq!(sent(bytes), expected, "{method}");
        }
        let cancel = json!({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": "s"}});
        assert_eq!(sent(session_cancel("s")), cancel);
    }

    #[test]
    fn a_number_is_written_with_all_its_digits() {
        assert!(text(session_prompt(u64::MAX, "s", "x")).contains(r#""id":18446744073709551615"#));
    }

    #[test]
    fn replies_bear_the_id_and_either_a_result_or_an_error() {
        let id = RequestId::new("\"a\\u0062\"").unwrap();
        let result = text(reply_result(&id, &Value::Null));
        assert_eq!(result, "{\"jsonrpc\":\"2.0\",\"id\":\"a\\u0062\",\"result\":null}\n");
        let error = text(reply_error(&RequestId::new("null").unwrap(), -32601, "no\nsuch"));
        let expected = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"no\nsuch"}}"#;
        assert_eq!(error, format!("{expected}\n"));
    }

    #[test]
    fn what_is_written_here_is_read_here() {
        assert!(matches!(parse(&session_prompt(16, "s", "x")), Line::Request { .. }));
        assert!(matches!(parse(&session_cancel("s")), Line::Notification { .. }));
        let reply = reply_error(&RequestId::new("16").unwrap(), 1, "m");
        assert!(matches!(parse(&reply), Line::Response { id: Some(16), outcome: Err(_) }));
    }
}
