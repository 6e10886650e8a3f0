//! What is said of a message that cannot be read, so that nobody waits for it. Pure.

use super::code;
use super::line::{Line, RpcError};
use super::outline::{Outline, Passed};
use serde_json::Value;

/// A line that no reader takes (a number without a value, nesting or elements without end): whoever asks in it is
/// refused, and an answer of ours counts as an error. Anything else stays what it was: agents write logs, too.
pub fn outlined(line: &[u8]) -> Line {
    let mut outline = Outline::default();
    outline.push(line);
    match outline.end() {
        Passed::Request(id) => Line::Invalid { id },
        Passed::Response(Some(number)) => answer(number, "the answer cannot be read".to_owned()),
        Passed::Notification | Passed::Response(None) | Passed::Nothing | Passed::Unclear => Line::Junk,
    }
}

/// Stands for an answer that is not read, and why.
pub fn answer(number: u64, message: String) -> Line {
    let outcome = Err(RpcError { code: code::PARSE_ERROR, message, data: Value::Null });
    Line::Response { id: Some(number), outcome }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acp::line::{RequestId, parse};

    #[test]
    fn who_asks_or_answers_at_an_edge_of_json_is_heard() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let many = format!("[0{}]", ",0".repeat(1024 * 1024 + 1));
        for edge in ["1e400", &deep, &many] {
            let asks =
                format!(r#"{{"jsonrpc":"2.0","id":"a","method":"fs/read_text_file","params":{edge}}}"#);
            assert_eq!(parse(asks.as_bytes()), Line::Junk);
            let id = RequestId::new("\"a\"").unwrap();
            assert_eq!(outlined(asks.as_bytes()), Line::Invalid { id });
            let answers = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"_meta":{edge}}}}}"#);
            assert!(matches!(outlined(answers.as_bytes()), Line::Response { id: Some(7), outcome: Err(_) }));
            let tells = format!(r#"{{"jsonrpc":"2.0","method":"session/update","params":{edge}}}"#);
            assert_eq!(outlined(tells.as_bytes()), Line::Junk);
        }
        assert_eq!(outlined(b"id: 7, method: GET"), Line::Junk, "a log");
    }
}
