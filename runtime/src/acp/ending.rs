//! How the answer to a prompt ends its turn.

use crate::acp::code;
use crate::acp::line::RpcError;
use crate::span::StopReason;
use serde_json::Value;

/// Characters of a detail that are kept.
pub const DETAIL_CHARS_MAX: usize = 1000;

/// The end of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The reason of the seal.
    pub stop_reason: StopReason,
    /// For people, where the reason alone does not say it.
    pub detail: Option<String>,
}

impl Ending {
    fn new(stop_reason: StopReason, detail: &str) -> Self {
        Self { stop_reason, detail: Some(shortened(detail)) }
    }

    /// What the agent's answer to `session/prompt` means. An error after a cancel was asked for is still `failed`
    /// here: who asked knows better.
    pub fn of(outcome: &Result<Value, RpcError>) -> Self {
        let result = match outcome {
            Ok(result) => result,
            Err(error) => return of_error(error),
        };
        match result.get("stopReason").and_then(Value::as_str) {
            Some("end_turn") => Self { stop_reason: StopReason::EndTurn, detail: None },
            Some("cancelled") => Self { stop_reason: StopReason::Cancelled, detail: None },
            Some("max_tokens") => Self::new(StopReason::Limit, "the agent reached its limit of tokens"),
            Some("max_turn_requests") => {
                Self::new(StopReason::Limit, "the agent reached its limit of requests in a turn")
            }
            Some("refusal") => Self::new(StopReason::Failed, "the agent refused to go on"),
            Some(other) => {
                Self::new(StopReason::Failed, &format!("the agent stopped for an unknown reason: {other}"))
            }
            None => Self::new(StopReason::Failed, "the agent ended the turn without a reason"),
        }
    }
}

fn of_error(error: &RpcError) -> Ending {
    match error.code {
        code::REQUEST_CANCELLED => Ending { stop_reason: StopReason::Cancelled, detail: None },
        code::AUTH_REQUIRED => {
            Ending::new(StopReason::Failed, &format!("the agent asks for authentication: {error}"))
        }
        _ => Ending::new(StopReason::Failed, &format!("the agent answered with an error: {error}")),
    }
}

/// At most [`DETAIL_CHARS_MAX`] characters.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
