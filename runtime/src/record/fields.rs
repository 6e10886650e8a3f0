//! The fields of each kind of record.

use crate::span::StopReason;
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
    /// The worker ordered.
    pub spawn_id: String,
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
