//! How the answer to a prompt ends its turn.

use crate::acp::line::RpcError;
use crate::acp::{LINE_BYTES_MAX, code};
use crate::span::StopReason;
use holdfast_shared::error::Code;
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
    /// The code of the seal, where a bound of ours is the reason.
    pub code: Option<Code>,
}

impl Ending {
    fn new(stop_reason: StopReason, detail: &str) -> Self {
        Self { detail: Some(shortened(detail)), ..Self::plain(stop_reason) }
    }

    fn plain(stop_reason: StopReason) -> Self {
        Self { stop_reason, detail: None, code: None }
    }

    /// The agent answered, and nobody could read what.
    pub fn too_long() -> Self {
        let detail = format!("the agent ended the turn with an answer longer than {LINE_BYTES_MAX} bytes");
        Self { code: Some(Code::OutputLimit), ..Self::new(StopReason::Failed, &detail) }
    }

    /// What the agent's answer to `session/prompt` means. An error after a cancel was asked for is still `failed`
    /// here: who asked knows better.
    pub fn of(outcome: &Result<Value, RpcError>) -> Self {
        let result = match outcome {
            Ok(result) => result,
            Err(error) => return of_error(error),
        };
        match result.get("stopReason").and_then(Value::as_str) {
            Some("end_turn") => Self::plain(StopReason::EndTurn),
            Some("cancelled") => Self::plain(StopReason::Cancelled),
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
        code::REQUEST_CANCELLED => Ending::plain(StopReason::Cancelled),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_answer_to_a_prompt_ends_its_turn_for_a_reason() {
        let cases = [
            (json!({"stopReason": "end_turn"}), StopReason::EndTurn, None),
            (json!({"stopReason": "cancelled"}), StopReason::Cancelled, None),
            (json!({"stopReason": "max_tokens"}), StopReason::Limit, Some("limit of tokens")),
            (json!({"stopReason": "max_turn_requests"}), StopReason::Limit, Some("limit of requests")),
            (json!({"stopReason": "refusal"}), StopReason::Failed, Some("refused")),
            (json!({"stopReason": "later"}), StopReason::Failed, Some("unknown reason: later")),
            (json!({"stopReason": 5}), StopReason::Failed, Some("without a reason")),
            (json!({}), StopReason::Failed, Some("without a reason")),
            (Value::Null, StopReason::Failed, Some("without a reason")),
        ];
        for (result, reason, detail) in cases {
            let ending = Ending::of(&Ok(result.clone()));
            assert_eq!(ending.stop_reason, reason, "{result}");
            assert_eq!(ending.detail.is_some(), detail.is_some(), "{result}");
            assert!(ending.detail.unwrap_or_default().contains(detail.unwrap_or_default()), "{result}");
        }
    }

    #[test]
    fn an_error_says_which() {
        let of = |code, message: &str, data| {
            Ending::of(&Err(RpcError { code, message: message.to_owned(), data }))
        };
        let failed = of(-32603, "Internal error", json!({"details": "no model"}));
        assert_eq!(failed.stop_reason, StopReason::Failed);
        let expected = "the agent answered with an error: Internal error (code -32603): no model";
        assert_eq!(failed.detail.as_deref(), Some(expected));
        assert!(of(-32000, "log in", Value::Null).detail.unwrap().contains("authentication: log in"));
        assert_eq!(of(-32800, "cancelled", Value::Null).stop_reason, StopReason::Cancelled);
        let long = of(1, &"ä".repeat(100_000), Value::Null).detail.unwrap();
        assert!(long.chars().count() <= DETAIL_CHARS_MAX + 1 && long.ends_with('…'));
    }
}
