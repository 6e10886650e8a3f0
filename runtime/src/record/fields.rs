//! The fields of each kind of record.

use crate::acp::usage::Usage;
use crate::span::StopReason;
use holdfast_shared::worker::Protocol;
use serde::{Deserialize, Serialize};

/// See [`Body::NodeBooted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeBooted {
    /// The machine's boot.
    pub boot_id: String,
    /// Epoch of the channels `tasks`, `task:<id>` and `members`; taken from the first record only.
    pub channel_epoch: String,
    /// Conversations whose open spool may have lost records that were shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<CutConversation>,
}

/// An open conversation after a power cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutConversation {
    /// The task.
    pub task: String,
    /// Its new epoch.
    pub epoch: String,
    /// Output records that are left.
    pub outputs: u64,
}

/// How a task came to be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenMode {
    /// It was missing.
    Created,
    /// It was stopped.
    Resumed,
    /// It was errored.
    Recovered,
}

/// See [`Body::TaskOpened`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskOpened {
    /// The task.
    pub task: String,
    /// Its skill.
    pub skill: String,
    /// From what.
    pub mode: OpenMode,
    /// Epoch of its conversation; taken at creation only.
    pub conversation_epoch: String,
    /// What its workers speak.
    #[serde(default = "command", skip_serializing_if = "is_command")]
    pub protocol: Protocol,
}

fn command() -> Protocol {
    Protocol::Command
}

fn is_command(protocol: &Protocol) -> bool {
    *protocol == Protocol::Command
}

/// See [`Body::TaskReady`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReady {
    /// The task.
    pub task: String,
}

/// See [`Body::TaskStopped`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStopped {
    /// The task.
    pub task: String,
    /// Place of the queued turns' seals in the open span.
    pub after: u64,
    /// For an agent whose turn runs: the inbox message that asks it to cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// See [`Body::TurnStarted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnStarted {
    /// The task.
    pub task: String,
    /// The turn: new, or the first of the queue.
    pub turn: String,
    /// The prompt.
    pub text: String,
    /// The worker ordered, or the standing worker that serves it.
    pub spawn_id: String,
    /// For an agent: the inbox messages that bring it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<TurnNumbers>,
}

/// The inbox messages that bring a turn to a standing worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnNumbers {
    /// The turn's mark.
    pub mark: u64,
    /// Its prompt.
    pub prompt: u64,
}

/// See [`Body::TurnQueued`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnQueued {
    /// The task.
    pub task: String,
    /// The turn.
    pub turn: String,
    /// The prompt.
    pub text: String,
    /// Place in the open span.
    pub after: u64,
}

/// See [`Body::TurnDequeued`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnDequeued {
    /// The task.
    pub task: String,
    /// The turn.
    pub turn: String,
    /// Place in the open span.
    pub after: u64,
}

/// See [`Body::TurnCancelled`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnCancelled {
    /// The task.
    pub task: String,
    /// The running turn.
    pub turn: String,
    /// For an agent that is ready: the inbox message that asks it to cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// See [`Body::OrderRetried`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderRetried {
    /// The task.
    pub task: String,
    /// The running turn.
    pub turn: String,
    /// The worker ordered instead.
    pub spawn_id: String,
    /// For an agent: the inbox messages that bring the turn to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<TurnNumbers>,
    /// It is the same try: the worker before was ended for other reasons.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_try: bool,
}

/// See [`Body::SpoolSynced`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpoolSynced {
    /// The task.
    pub task: String,
    /// The worker.
    pub spawn_id: String,
    /// Output records on disk.
    pub outputs: u64,
}

/// See [`Body::TurnSealed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnSealed {
    /// The task.
    pub task: String,
    /// The running turn.
    pub turn: String,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// The worker's exit code, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// All its output records.
    pub outputs: u64,
    /// The task cannot run turns until it is opened again, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errored: Option<String>,
    /// The code of what went wrong, as on every surface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What there is to say where a standing worker served it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSeal>,
}

/// The end of a turn that a standing worker served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentSeal {
    /// The spool segment with the turn's output; 0: it has none.
    #[serde(default)]
    pub segment: u32,
    /// The worker's output records before that segment.
    #[serde(default)]
    pub base: u64,
    /// The worker has ended.
    #[serde(default)]
    pub worker_ended: bool,
    /// More about why it ended, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the agent said that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// See [`Body::SpanFiled`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanFiled {
    /// The task, which bears its conversation's id.
    pub task: String,
    /// First offset of the span.
    pub first: u64,
}

/// See [`Body::CommandAnswered`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandAnswered {}
