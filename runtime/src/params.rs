//! The parameters of every method. Unknown fields are refused, and a refusal names the field.

use holdfast_shared::error::{ApiError, Code};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Turns that one `conversation.history` looks for from the end: the file of each is looked at.
pub const LAST_TURNS: u32 = 100;
/// Characters of a refusal of parameters, which may name a field of theirs.
const MESSAGE_CHARS: usize = 1000;

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
    /// At most so many; with 0 only whether there are any.
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
    /// Instead: whole turns, counted from the end.
    #[serde(default)]
    pub last: Option<Last>,
    /// At most so many events.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Whole turns, counted from the end of a conversation, or from a position backwards. Of its bounds the first that is
/// reached counts; one turn is given even if it is larger.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// So many, 1 to [`LAST_TURNS`].
    pub turns: u32,
    /// Only what lies before this event; absent: from the end.
    #[serde(default)]
    pub before: Option<Since>,
    /// Together at most so many events.
    #[serde(default)]
    pub max_events: Option<u64>,
    /// Together at most about so many bytes, as they lie on disk.
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

impl History {
    /// Checks what its fields alone do not say.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, naming the field.
    pub fn check(&self) -> Result<(), ApiError> {
        let Some(last) = &self.last else { return Ok(()) };
        let wrong = if self.since.is_some() {
            Some("last: not together with since".to_owned())
        } else if !(1..=LAST_TURNS).contains(&last.turns) {
            Some(format!("last.turns: {} is not between 1 and {LAST_TURNS}", last.turns))
        } else if last.max_events == Some(0) {
            Some("last.max_events: at least 1".to_owned())
        } else if last.max_bytes == Some(0) {
            Some("last.max_bytes: at least 1".to_owned())
        } else {
            None
        };
        wrong.map_or(Ok(()), |message| Err(ApiError::new(Code::InvalidRequest, message)))
    }
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
        let message: String = match path.as_str() {
            "." => format!("params: {}", error.inner()),
            field => format!("{field}: {}", error.inner()),
        };
        ApiError::new(Code::InvalidRequest, message.chars().take(MESSAGE_CHARS).collect::<String>())
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
    fn turns_from_the_end_are_asked_for_within_bounds() {
        let check =
            |text: &str| parse::<History>(&text.replace('~', r#""conversation":"x""#)).unwrap().check();
        for good in
            ["{~}", r#"{~,"last":{"turns":1}}"#, r#"{~,"last":{"turns":100,"max_bytes":1,"max_events":1}}"#]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, begins) in [
            (r#"{~,"last":{"turns":0}}"#, "last.turns: 0"),
            (r#"{~,"last":{"turns":101}}"#, "last.turns: 101"),
            (r#"{~,"last":{"turns":1},"since":{"offset":1}}"#, "last: not together"),
            (r#"{~,"last":{"turns":1,"max_events":0}}"#, "last.max_events"),
            (r#"{~,"last":{"turns":1,"max_bytes":0}}"#, "last.max_bytes"),
        ] {
            let error = check(bad).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest);
            assert!(error.message.starts_with(begins), "{error}");
        }
        refused::<History>(r#"{"conversation":"x","last":{}}"#, "last: missing field `turns`");
        refused::<History>(r#"{"conversation":"x","last":{"turns":1,"more":2}}"#, "last.more: unknown field");
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
