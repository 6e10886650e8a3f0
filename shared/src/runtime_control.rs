//! What the supervisor says to a runtime on the runtime's control socket (`run/runtime-<slot>.sock`).
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST /v1/ask` | [`Ask`] | [`RuntimeReport`] |
//! | `POST /v1/fence` | [`Fence`] | [`Fenced`] |
//! | `POST /v1/activate` | [`Activate`] | [`Activated`] |
//! | `POST /v1/role` | [`SetRole`] | [`RuntimeReport`] |
//! | `GET /v1/status` | - | [`RuntimeReport`] |
//!
//! Every decision lower than the highest seen is refused with `STALE_DECISION`, with `details.highest`.

use crate::decision::Decision;
use crate::slot::Slot;
use serde::{Deserialize, Serialize};

/// What a runtime is at the moment (CONTRACTS.md 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransitionRole {
    /// Writes the journal and serves.
    Active,
    /// Follows; meant to become active.
    Candidate,
    /// Follows; takes over after a crash.
    Standby,
    /// Was active, fenced; follows through probation.
    Retired,
}

/// Names one journal record for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LastRecord {
    /// Epoch of the record.
    pub epoch: u64,
    /// Its number in the journal; 0 when the journal is empty.
    pub lsn: u64,
}

/// Asks what the runtime is; also makes it refuse lower decisions.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Decision.
    pub decision: Decision,
    /// The attempt that made it active has settled: what it has truncated nothing of since its take-over may go.
    #[serde(default)]
    pub settled: bool,
}

/// Tells the active runtime to finish and sync what it accepted, give up the lock and follow.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Fence {
    /// Decision.
    pub decision: Decision,
    /// The epoch it is active with; refused with `NOT_ACTIVE` when it is not.
    pub epoch: u64,
}

/// The runtime holds the lock no longer; its last record is on disk.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Fenced {
    /// Decision answered.
    pub decision: Decision,
    /// The last record it wrote or knows.
    pub last: LastRecord,
}

/// Tells a passive runtime to become active.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Activate {
    /// Decision.
    pub decision: Decision,
    /// Fresh epoch, above every one used before.
    pub epoch: u64,
    /// The node has never committed: the journal is to be created.
    pub first: bool,
}

/// The runtime is active: `Activated(epoch)` is durable. Repeated for a repeated request.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Activated {
    /// Decision answered.
    pub decision: Decision,
    /// Its `Activated` record.
    pub last: LastRecord,
}

/// Names a passive runtime's role.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SetRole {
    /// Decision.
    pub decision: Decision,
    /// Any but `active`.
    pub role: TransitionRole,
}

/// Work that the continuity contract does not carry through a change of the runtime: a live media session, say. Turns
/// and documents are carried and are no such work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveWork {
    /// What it is, in a word or a few: for operators.
    pub reason: String,
    /// After so many seconds it is worth asking again.
    pub retry_after_sec: u64,
}

/// What a runtime is, answered to ask, role and status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimeReport {
    /// The highest decision it has been told.
    pub decision: Decision,
    /// Its slot.
    pub slot: Slot,
    /// `rt-<slot>-<8 hex>`, new per start.
    pub runtime_instance_id: String,
    /// Process id.
    pub pid: i32,
    /// Version of its release.
    pub release: String,
    /// Role.
    pub transition_role: TransitionRole,
    /// The epoch it is active with; `None` when it is not active.
    pub epoch: Option<u64>,
    /// The last record it has applied.
    pub last: LastRecord,
    /// It has caught up with the journal, and read the spools of running turns to their ends, at least once since its
    /// start.
    pub caught_up: bool,
    /// Nothing keeps it from serving as its role says.
    pub healthy: bool,
    /// Why it is not healthy, or what is degraded.
    #[serde(default)]
    pub problems: Vec<String>,
    /// It is active and truncates nothing behind its take-over, until it is told that the attempt has settled.
    #[serde(default)]
    pub truncation_held: bool,
    /// Turns running, for people.
    #[serde(default)]
    pub running_turns: u64,
    /// What a change of the runtime would end now; updates and switches wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_work: Option<LiveWork>,
}
