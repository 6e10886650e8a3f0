//! What a request of an agent asks for, and how it is refused.

use crate::acp::permission::Permission;
use crate::acp::terminal::Terminal;
use crate::acp::{code, method, usage};
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
