//! The end of a turn's stretch of a conversation.

use serde::{Deserialize, Serialize};

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The worker ended it.
    EndTurn,
    /// Cancelled by command.
    Cancelled,
    /// The worker failed.
    Failed,
    /// The worker was lost, or its prompt could not be given to it again.
    Interrupted,
    /// The output quota was reached.
    Limit,
}

impl StopReason {
    /// The name in events and listings.
    pub fn name(self) -> &'static str {
        match self {
            StopReason::EndTurn => "end_turn",
            StopReason::Cancelled => "cancelled",
            StopReason::Failed => "failed",
            StopReason::Interrupted => "interrupted",
            StopReason::Limit => "limit",
        }
    }
}

/// The end of a span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Why the turn ended.
    pub stop_reason: StopReason,
    /// The worker's exit code, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it was sealed, unix milliseconds.
    pub sealed_at: u64,
    /// All output records of the span.
    pub outputs: u64,
}
