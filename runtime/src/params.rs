//! The parameters of every method. Unknown fields are refused, and a refusal names the field.

use holdfast_shared::error::{ApiError, Code};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `task.open`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The task.
    pub task: String,
    /// Its skill.
    pub skill: String,
}

/// `task.switch`, `task.cancel`, `task.stop`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskOnly {
    /// The task.
    pub task: String,
}

/// `task.prompt`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The task.
    pub task: String,
    /// The prompt.
    pub text: String,
    /// Wait behind a running turn.
    #[serde(default)]
    pub queue: bool,
}

/// `task.dequeue`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskTurn {
    /// The task.
    pub task: String,
    /// The turn that waits.
    pub turn: String,
}

/// `permission.answer`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The task.
    pub task: String,
    /// The request, as `permission.requested` names it.
    pub request: String,
    /// The option chosen; none: cancelled.
    #[serde(default)]
    pub option: Option<String>,
}

/// `task.mode`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    /// The task.
    pub task: String,
    /// The mode.
    pub mode: String,
}

/// `task.list`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only tasks behind this id.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// `conversation.history`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// The conversation: its task's id.
    pub conversation: String,
    /// The position after which to read; absent: from the beginning.
    #[serde(default)]
    pub since: Option<Since>,
    /// At most so many events.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// A position in a conversation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Its epoch; empty matches any.
    #[serde(default)]
    pub epoch: String,
    /// Offset of the last event known; larger ones than any log has are taken for the largest.
    #[serde(deserialize_with = "offset")]
    pub offset: u64,
}

fn offset<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    u64::deserialize(deserializer).map(|offset| offset.min(i64::MAX as u64))
}

/// No parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The parameters with this text.
///
/// # Errors
/// `INVALID_REQUEST`, naming the field.
pub fn parse<Params: DeserializeOwned>(text: &str) -> Result<Params, ApiError> {
    let mut parser = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let path = error.path().to_string();
        let message = match path.as_str() {
            "." => format!("params: {}", error.inner()),
            field => format!("{field}: {}", error.inner()),
        };
        ApiError::new(Code::InvalidRequest, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused<Params: DeserializeOwned>(text: &str, begins: &str) {
        let Err(error) = parse::<Params>(text) else { panic!("{text} was taken") };
        assert_eq!(error.code, Code::InvalidRequest);
        assert!(error.message.starts_with(begins), "{error}");
    }

    #[test]
    fn a_refusal_names_the_field() {
        refused::<Open>(r#"{"task":"x"}"#, "params: missing field `skill`");
        refused::<Open>(r#"{"task":1,"skill":"command"}"#, "task: invalid type: integer `1`");
        refused::<Open>(r#"{"task":"x","skill":"command","more":1}"#, "more: unknown field `more`");
        refused::<Prompt>(r#"{"task":"x","text":"y","queue":"yes"}"#, "queue: invalid type");
        refused::<History>(r#"{"conversation":"x","since":{"offset":-1}}"#, "since.offset: invalid value");
        refused::<Nothing>("[1]", "params: ");
        refused::<Open>("", "params: EOF");
    }
}
