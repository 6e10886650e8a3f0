//! What others say to the supervisor on its control socket (`run/supervisor.sock`).
//!
//! The runtime asks for workers: `POST /v1/workers` with [`SpawnWorker`], answered by [`Spawned`].
//! Everything else on this socket is the operator's (`status`, `switch`, `stop`, `token`, ...).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Asks for a worker. A repeated `spawn_id` answers with the same worker and starts nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpawnWorker {
    /// Names the worker for ever; also the name of its directory.
    pub spawn_id: String,
    /// Installed skill; `command` is built in.
    pub skill: String,
    /// Version of the skill; empty: the installed one.
    #[serde(default)]
    pub version: String,
    /// The task, which owns the workspace.
    pub task: String,
    /// The turn; empty for a worker that serves many, one after the other.
    pub turn: String,
    /// The epoch the asking runtime is active with; refused with `NOT_ACTIVE` if it is not the active one's.
    pub epoch: u64,
    /// For `command`: the shell command line.
    #[serde(default)]
    pub prompt: String,
    /// A command that an agent asks for in its task's workspace (ACP `terminal/create`), instead of the skill's own
    /// program; with the skill's user and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
}

/// See [`SpawnWorker::terminal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// The program.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables beside those of the skill.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where it starts, relative to the workspace; empty: the workspace itself.
    #[serde(default)]
    pub cwd: String,
}

/// The worker exists: its directory is made and its holder was started, now or before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spawned {
    /// The worker.
    pub spawn_id: String,
    /// Whether this request started it (`false`: an earlier one did).
    pub started: bool,
}
