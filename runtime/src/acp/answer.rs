//! What a request of an agent asks for, and how it is refused.

use crate::acp::permission::Permission;
use crate::acp::terminal::Terminal;
use crate::acp::{LINE_BYTES_MAX, code, method, usage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is asked for. Paths are as they were written; the workspace decides on them.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Whether it may.
    Permission(Permission),
    /// The text of a file.
    ReadFile {
        /// Which.
        path: String,
        /// The first line wanted, from 1.
        line: Option<u64>,
        /// The most lines wanted.
        limit: Option<u64>,
    },
    /// A file to be written, whole.
    WriteFile {
        /// Which.
        path: String,
        /// What is to be in it.
        content: String,
    },
    /// A command.
    Terminal(Terminal),
    /// No method that is known; to be answered by [`Refusal::unknown_method`].
    Unknown,
}

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// See [`code`].
    pub code: i64,
    /// What was wrong.
    pub message: String,
}

impl Refusal {
    /// The parameters are wrong.
    pub fn invalid(what: &str) -> Self {
        Self { code: code::INVALID_PARAMS, message: format!("invalid params: {what}") }
    }

    /// It was withdrawn, or overtaken by a cancel of its turn, before it was served.
    pub fn cancelled() -> Self {
        Self { code: code::REQUEST_CANCELLED, message: "the request was cancelled".to_owned() }
    }

    /// It is no valid request.
    pub fn malformed() -> Self {
        Self { code: code::INVALID_REQUEST, message: "this is no valid request".to_owned() }
    }

    /// Its line is too long to be read.
    pub fn too_long() -> Self {
        let message = format!("the request is longer than {LINE_BYTES_MAX} bytes");
        Self { code: code::INVALID_REQUEST, message }
    }

    /// There is no such method.
    pub fn unknown_method(method: &str) -> Self {
        // What it is called is the agent's own text: no more of it than a name could have.
        let name: String = method.chars().take(100).collect();
        Self { code: code::METHOD_NOT_FOUND, message: format!("method not found: {name}") }
    }

    /// What was named is not there.
    pub fn not_found(what: &str) -> Self {
        Self { code: code::RESOURCE_NOT_FOUND, message: format!("not found: {what}") }
    }

    /// It could not be done, for no fault of the agent's.
    pub fn internal(what: &str) -> Self {
        Self { code: code::INTERNAL_ERROR, message: what.to_owned() }
    }
}

/// Reads a request.
///
/// # Errors
/// When the parameters are not of the method's form, with what is to be answered.
pub fn asked(name: &str, params: &Value) -> Result<Asked, Refusal> {
    if let Some(terminal) = Terminal::read(name, params) {
        return terminal.map(Asked::Terminal);
    }
    match name {
        method::REQUEST_PERMISSION => Permission::read(params).map(Asked::Permission),
        method::READ_TEXT_FILE => Ok(Asked::ReadFile {
            path: text(params, "path")?,
            line: optional(params, "line", usage::count)?,
            limit: optional(params, "limit", usage::count)?,
        }),
        method::WRITE_TEXT_FILE => {
            Ok(Asked::WriteFile { path: text(params, "path")?, content: text(params, "content")? })
        }
        _ => Ok(Asked::Unknown),
    }
}

/// The result of `fs/read_text_file`.
pub fn read(content: &str) -> Value {
    json!({"content": content})
}

/// The result of what has nothing to say: `fs/write_text_file`, `terminal/kill`, `terminal/release`.
pub fn done() -> Value {
    json!({})
}

pub(super) fn text(params: &Value, field: &str) -> Result<String, Refusal> {
    let text = params.get(field).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Refusal::invalid(&format!("{field} is not a string")))
}

/// A field that may be missing or `null`, but not of another kind.
pub(super) fn optional<T>(
    params: &Value,
    field: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    match params.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            read(value).map(Some).ok_or_else(|| Refusal::invalid(&format!("{field} is not of its kind")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_by_their_method() {
        let file = |line, limit| Asked::ReadFile { path: "/w/a".to_owned(), line, limit };
        let cases = [
            (method::READ_TEXT_FILE, json!({"sessionId": "s", "path": "/w/a"}), file(None, None)),
            (
                method::READ_TEXT_FILE,
                json!({"path": "/w/a", "line": 2.0, "limit": 3}),
                file(Some(2), Some(3)),
            ),
            (method::READ_TEXT_FILE, json!({"path": "/w/a", "line": null, "limit": 0}), file(None, Some(0))),
            (
                method::WRITE_TEXT_FILE,
                json!({"path": "relative", "content": ""}),
                Asked::WriteFile { path: "relative".to_owned(), content: String::new() },
            ),
            ("_vendor/thing", json!({}), Asked::Unknown),
            ("", Value::Null, Asked::Unknown),
            ("session/update", Value::Null, Asked::Unknown),
            ("FS/READ_TEXT_FILE", json!({"path": "/w/a"}), Asked::Unknown),
        ];
        for (name, params, expected) in cases {
            assert_eq!(asked(name, &params), Ok(expected), "{name} {params}");
        }
        let terminal = asked("terminal/kill", &json!({"terminalId": "t"})).unwrap();
        assert_eq!(terminal, Asked::Terminal(Terminal::Kill("t".to_owned())));
        let options = json!([{"optionId": "a"}]);
        let permission = asked(method::REQUEST_PERMISSION, &json!({"toolCall": {}, "options": options}));
        assert!(matches!(permission, Ok(Asked::Permission(_))));
    }

    #[test]
    fn parameters_of_another_form_are_refused() {
        let cases = [
            (method::READ_TEXT_FILE, json!(null)),
            (method::READ_TEXT_FILE, json!({})),
            (method::READ_TEXT_FILE, json!({"path": 5})),
            (method::READ_TEXT_FILE, json!({"path": "/a", "line": -1})),
            (method::READ_TEXT_FILE, json!({"path": "/a", "line": 1.5})),
            (method::READ_TEXT_FILE, json!({"path": "/a", "limit": "all"})),
            (method::READ_TEXT_FILE, json!(["/a"])),
            (method::WRITE_TEXT_FILE, json!({"path": "/a"})),
            (method::WRITE_TEXT_FILE, json!({"path": "/a", "content": null})),
            (method::WRITE_TEXT_FILE, json!({"content": "x"})),
            (method::REQUEST_PERMISSION, json!({})),
            ("terminal/create", json!({})),
            ("terminal/output", json!({})),
        ];
        for (name, params) in cases {
            let refusal = asked(name, &params).unwrap_err();
            assert_eq!(refusal.code, code::INVALID_PARAMS, "{name} {params}");
        }
    }

    #[test]
    fn a_refusal_repeats_no_more_of_a_method_than_a_name_has() {
        let refusal = Refusal::unknown_method(&"ä".repeat(10_000));
        assert_eq!(refusal.code, -32601);
        assert!(refusal.message.chars().count() < 130);
        assert_eq!((Refusal::not_found("x").code, Refusal::internal("x").code), (-32002, -32603));
    }
}
