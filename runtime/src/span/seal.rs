//! The end of a turn's stretch of a conversation.

use crate::acp::usage::Usage;
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
    /// A limit was reached: the output quota, the time without a sign of life, or one of the agent's own.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The code of what went wrong, as on every surface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// More about why it ended, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What an agent said that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl Seal {
    /// One without more to say.
    pub fn new(stop_reason: StopReason, exit_code: Option<i32>, sealed_at: u64, outputs: u64) -> Self {
        Self { stop_reason, exit_code, sealed_at, outputs, code: None, detail: None, usage: None }
    }
}
