//! What the supervisor states to the sidecar: one wished state, put whole, idempotent (DESIGN.md 4).
//!
//! `PUT /v1/wished` on the sidecar's control socket with a [`WishedState`]; the answer, a [`WishedReport`],
//! comes when the wish is in effect: after a hold nothing more is forwarded, after a route the link to that
//! runtime is up and agreed. A lower decision is refused with `STALE_DECISION`; a route whose runtime does not
//! say that it is active with that epoch with `NOT_ACTIVE`.

use crate::decision::Decision;
use crate::slot::Slot;
use crate::token::TokenEntry;
use crate::version::Contracts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Where browser traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "lowercase")]
pub enum Wish {
    /// Forward nothing.
    Hold,
    /// Forward to the runtime in this slot, active with this epoch.
    Route {
        /// The slot.
        slot: Slot,
        /// The epoch the runtime must be active with.
        epoch: u64,
    },
}

/// The whole wished state of a sidecar.
#[derive(Debug, Serialize, Deserialize)]
pub struct WishedState {
    /// The decision this is.
    pub decision: Decision,
    /// Hold or route.
    #[serde(flatten)]
    pub wish: Wish,
    /// All valid tokens.
    pub tokens: Vec<TokenEntry>,
    /// Events of the `node` channel.
    pub node: NodeChannel,
    /// What `GET /supervisor/public/update-status` answers (CONTRACTS.md 2).
    pub public_status: Box<RawValue>,
}

/// The `node` channel: numbered by the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub struct NodeChannel {
    /// The supervisor journal's id.
    pub epoch: String,
    /// At most the last 256 events, gap-free and ascending; those the sidecar has reported to have
    /// ([`WishedReport::node_offset`]) may be left out.
    pub events: Vec<NodeEvent>,
}

/// One event of the `node` channel.
#[derive(Debug, Serialize, Deserialize)]
pub struct NodeEvent {
    /// Gap-free offset from 1.
    pub offset: u64,
    /// The event, an object with `type`.
    pub data: Box<RawValue>,
}

/// The sidecar's answer to a wished state, and to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WishedReport {
    /// The decision answered.
    pub decision: Decision,
    /// New per start of the sidecar.
    pub sidecar_instance_id: String,
    /// Process id.
    pub pid: i32,
    /// What is in effect.
    #[serde(flatten)]
    pub effect: Wish,
    /// Whether the routed link is up now.
    pub link_up: bool,
    /// Highest offset of the `node` channel it has; 0 none.
    pub node_offset: u64,
    /// Epoch of the `node` channel it has; empty none.
    pub node_epoch: String,
    /// Browser sessions connected.
    pub sessions: u64,
    /// Commands read and not answered yet.
    pub unanswered: u64,
    /// The public listener's address, `ADDR:PORT`.
    pub listening: String,
    /// Versions of protocols and files that it speaks.
    #[serde(default)]
    pub contracts: Contracts,
}
