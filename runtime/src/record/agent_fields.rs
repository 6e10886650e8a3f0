//! The fields of the kinds of record that are about a task's agent: its standing worker, session and requests.

use crate::acp::modes::Modes;
use serde::{Deserialize, Serialize};

/// Why a standing worker was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderedFor {
    /// So that the task is warm.
    Warm,
    /// The one before ended before it was ready.
    Retry,
}

/// See [`Body::WorkerOrdered`](super::Body::WorkerOrdered).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerOrdered {
    /// The task.
    pub task: String,
    /// The worker.
    pub spawn_id: String,
    /// Which try it is to have a worker, from 1.
    pub number: u32,
    /// Why.
    pub why: OrderedFor,
}

/// See [`Body::WorkspaceFixed`](super::Body::WorkspaceFixed).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceFixed {
    /// The task.
    pub task: String,
    /// The id in the workspace itself, from here on.
    pub id: String,
}

/// See [`Body::SessionReady`](super::Body::SessionReady).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionReady {
    /// The task.
    pub task: String,
    /// The worker.
    pub spawn_id: String,
    /// The agent's name of the session.
    pub session: String,
    /// It is one from before.
    #[serde(default)]
    pub resumed: bool,
    /// The agent can take it up again after its death.
    #[serde(default)]
    pub resumable: bool,
    /// The agent's modes, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modes: Option<Modes>,
    /// The worker's output records up to here are the handshake's.
    #[serde(default)]
    pub outputs: u64,
}

/// Why a standing worker is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndingFor {
    /// Its task was stopped, or is errored.
    Stop,
    /// Too many are warm.
    Lru,
    /// It was asked to cancel and did not in time.
    CancelGrace,
    /// Its turn gave no sign of life for too long.
    Silence,
    /// It was not ready in time.
    StartLimit,
    /// Its handshake failed.
    Handshake,
    /// Its spool is damaged: nothing more of it can be shown.
    Spoiled,
}

/// See [`Body::WorkerEnding`](super::Body::WorkerEnding).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerEnding {
    /// The task.
    pub task: String,
    /// The worker.
    pub spawn_id: String,
    /// Why.
    pub why: EndingFor,
    /// The inbox message that says so.
    pub number: u64,
    /// More about why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// See [`Body::WorkerEnded`](super::Body::WorkerEnded).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerEnded {
    /// The task.
    pub task: String,
    /// The worker.
    pub spawn_id: String,
    /// The task cannot run turns until it is opened again: code and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskFailure>,
}

/// Why something of a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// The code, as on every surface.
    pub code: String,
    /// For people.
    pub message: String,
}

/// See [`Body::RequestTaken`](super::Body::RequestTaken).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestTaken {
    /// The task.
    pub task: String,
    /// The worker.
    pub spawn_id: String,
    /// The record that ends the request's line.
    pub seq: u64,
    /// The agent's id of the request, as JSON text.
    pub id: String,
    /// The inbox message that will answer it; 0 where it waits for a command, whose end decides on that.
    pub number: u64,
    /// Messages up to this one are known to be consumed.
    #[serde(default)]
    pub consumed: u64,
    /// What it does about a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalDeed>,
}

/// What a request does about a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "does", rename_all = "snake_case")]
pub enum TerminalDeed {
    /// A command is run; named by worker and record. Of earlier releases: [`TerminalAsked`] says it now.
    Create {
        /// Bytes of its output that an answer carries at most.
        bytes: u64,
    },
    /// The answer waits for its end.
    Wait {
        /// The terminal.
        terminal: String,
    },
    /// It is ended and forgotten.
    Release {
        /// The terminal.
        terminal: String,
    },
}

/// See [`Body::TerminalExited`](super::Body::TerminalExited).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TerminalExited {
    /// The task.
    pub task: String,
    /// The agent's worker.
    pub spawn_id: String,
    /// The record that ends the line of the request that waited.
    pub seq: u64,
    /// The inbox message that answers it.
    pub number: u64,
    /// Messages up to this one are known to be consumed.
    #[serde(default)]
    pub consumed: u64,
    /// The command has not ended; the agent waits for that no longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

/// See [`Body::TerminalAsked`](super::Body::TerminalAsked). A kind of its own: a release that takes each request as
/// answered by the message in its record must not become active while one of these waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TerminalAsked {
    /// The task.
    pub task: String,
    /// The agent's worker.
    pub spawn_id: String,
    /// The record that ends the request's line, and names the command.
    pub seq: u64,
    /// The agent's id of the request, as JSON text.
    pub id: String,
    /// Messages up to this one are known to be consumed.
    #[serde(default)]
    pub consumed: u64,
    /// Bytes of its output that an answer carries at most.
    pub bytes: u64,
}

/// See [`Body::TerminalSettled`](super::Body::TerminalSettled): says what the end of a command says, of its beginning.
pub type TerminalSettled = TerminalExited;

/// See [`Body::SessionLost`](super::Body::SessionLost).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionLost {
    /// The task.
    pub task: String,
    /// Place in the open span.
    pub after: u64,
}

/// See [`Body::TerminalGone`](super::Body::TerminalGone).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TerminalGone {
    /// The task.
    pub task: String,
    /// The terminal.
    pub terminal: String,
}

/// How a permission request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionOutcome {
    /// One of its options was chosen.
    Selected,
    /// None of them.
    Cancelled,
}

/// See [`Body::PermissionAnswered`](super::Body::PermissionAnswered).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PermissionAnswered {
    /// The task.
    pub task: String,
    /// The running turn.
    pub turn: String,
    /// The worker.
    pub spawn_id: String,
    /// The record that ends the request's line.
    pub seq: u64,
    /// The agent's id of the request, as JSON text.
    pub id: String,
    /// The inbox message that answers it.
    pub number: u64,
    /// How.
    pub outcome: PermissionOutcome,
    /// The option chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option_id: Option<String>,
    /// Who answered; nobody where the turn is being cancelled, or the agent asks no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The agent has withdrawn it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// Place in the open span.
    pub after: u64,
    /// Messages up to this one are known to be consumed.
    #[serde(default)]
    pub consumed: u64,
}

/// See [`Body::PermissionsPending`](super::Body::PermissionsPending).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PermissionsPending {
    /// The task.
    pub task: String,
    /// The worker.
    pub spawn_id: String,
    /// Its requests in the running turn that nobody has answered.
    pub pending: u64,
}

/// See [`Body::ModeSet`](super::Body::ModeSet).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeSet {
    /// The task.
    pub task: String,
    /// The worker.
    pub spawn_id: String,
    /// The mode.
    pub mode: String,
    /// The inbox message that says so.
    pub number: u64,
    /// Messages up to this one are known to be consumed.
    #[serde(default)]
    pub consumed: u64,
}

/// See [`Body::ModeSaid`](super::Body::ModeSaid).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeSaid {
    /// The task.
    pub task: String,
    /// The worker.
    pub spawn_id: String,
    /// The record that ends the line in which it says so.
    pub seq: u64,
    /// What.
    pub news: ModeNews,
}

/// What an agent says about its mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "snake_case")]
pub enum ModeNews {
    /// It went into one by itself.
    Is {
        /// The mode.
        mode: String,
    },
    /// It went into the one that it was asked for.
    Accepted {
        /// The message that asked.
        number: u64,
    },
    /// It did not.
    Refused {
        /// The message that asked.
        number: u64,
    },
}

/// See [`Body::TaskSwitching`](super::Body::TaskSwitching).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSwitching {
    /// The task.
    pub task: String,
    /// Until when it is to be ready, unix milliseconds.
    pub deadline: u64,
}

/// See [`Body::TaskError`](super::Body::TaskError).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskError {
    /// The task.
    pub task: String,
    /// What failed.
    pub error: TaskFailure,
}
