//! The link between sidecar and runtime: messages over a Unix stream (`run/<slot>.link`), DESIGN.md 5.
//!
//! The runtime listens, the sidecar dials. First both send `Hello` (the sidecar first; the runtime answers with
//! the version taken); then the sidecar names the channels in use with [`ToRuntime::Subscribe`], each from its
//! last offset; then it sends the unanswered calls again, in order of arrival.
//!
//! On the wire a message is one or more frames ([`frame`]); each carries the epoch the sender believes in, and a
//! receiver drops the link at a frame of another epoch. Each side may have at most [`WINDOW_BYTES`] of frames
//! under way that the other has not granted back by `Window` ([`window`]).

pub mod frame;
pub mod window;

use crate::error::ApiError;
use crate::runtime_control::TransitionRole;
use crate::slot::Slot;
use crate::token::{Scope, TokenRole};
use crate::version::VersionRange;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Bytes of frames a side may send before it is granted more. One hot tail's worth.
pub const WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes of one history piece at most (DESIGN.md 5).
pub const PIECE_BYTES: u32 = 256 * 1024;

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Browser traffic; the runtime must be active with the epoch named.
    Route,
    /// A read-only probe of a runtime in any role.
    Probe,
}

/// In whose name, and looking at what, a call or subscription is made. Travels with each; a runtime keeps
/// nothing per session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Caller {
    /// The principal, e.g. `operator` or `local:0`.
    pub principal: String,
    /// What its token allows.
    pub role: TokenRole,
    /// On which tasks.
    #[serde(default, skip_serializing_if = "Scope::is_all")]
    pub scope: Scope,
    /// The task in focus of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub focus: Option<String>,
}

/// Sidecar to runtime.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToRuntime {
    /// First frame.
    Hello {
        /// Link versions the sidecar speaks.
        versions: VersionRange,
        /// The slot it means to talk to.
        slot: Slot,
        /// The epoch it was routed to; 0 for a probe.
        epoch: u64,
        /// Route or probe.
        purpose: Purpose,
        /// The sidecar's instance.
        sidecar_instance_id: String,
    },
    /// A channel is in use: publish to it, from `offset + 1` on.
    Subscribe {
        /// Number for this channel on this link, chosen by the sidecar, never used again on it.
        no: u32,
        /// The channel's name.
        channel: String,
        /// Epoch of the sidecar's position; empty when it has none.
        epoch: String,
        /// The last offset it has; `None`: only what comes from now on.
        offset: Option<u64>,
        /// Who first asked, for the decision whether the channel may be read.
        caller: Caller,
    },
    /// The channel is in use no longer.
    Unsubscribe {
        /// Its number.
        no: u32,
    },
    /// A command or read (an rpc method).
    Call {
        /// Number of the call on this link; the answer bears it.
        id: u64,
        /// The method.
        method: String,
        /// Its parameters, an object, without `command_id`.
        params: Box<RawValue>,
        /// The command id, made by the sidecar where the client gave none.
        command_id: String,
        /// Who calls.
        caller: Caller,
    },
    /// A piece of a channel's log after `offset`.
    Read {
        /// Number of the read; shares its numbers with calls.
        id: u64,
        /// The channel.
        channel: String,
        /// Epoch of the position; empty matches any.
        epoch: String,
        /// Publications after this offset.
        offset: u64,
        /// At most so many publications; 0 asks for the position only.
        limit: u32,
        /// At most so many bytes of them (one is given even if larger).
        max_bytes: u32,
        /// Who asks.
        caller: Caller,
    },
    /// Grants the runtime more bytes.
    Window {
        /// Bytes of frames consumed.
        bytes: u32,
    },
}

/// Runtime to sidecar.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToSidecar {
    /// First frame, in answer to the sidecar's.
    Hello {
        /// The version taken; `None`: no common one, the link is closed after this.
        version: Option<u32>,
        /// The runtime's slot.
        slot: Slot,
        /// The epoch it is active with; `None` when it is not.
        epoch: Option<u64>,
        /// Its role.
        role: TransitionRole,
        /// Its instance.
        runtime_instance_id: String,
        /// Version of its release.
        release: String,
    },
    /// A channel is in use from here on; publications follow from the position asked for.
    Subscribed {
        /// The channel's number.
        no: u32,
        /// The channel's epoch.
        epoch: String,
        /// The highest offset it has now.
        top: u64,
        /// Publications will follow from this offset + 1: the one asked for, or where that is impossible
        /// (other epoch, above the top, cut away) `top`, and `recovered` is false.
        from: u64,
        /// The position asked for could be continued without a hole.
        recovered: bool,
    },
    /// The channel cannot be used.
    SubscribeFailed {
        /// The channel's number.
        no: u32,
        /// Why.
        error: ApiError,
    },
    /// The channel's epoch changed: nothing before can be continued. Publications of this number end here;
    /// the sidecar subscribes anew.
    Reset {
        /// The channel's number.
        no: u32,
    },
    /// The answer to a call; sent after what it did is durable.
    Reply {
        /// The call's number.
        id: u64,
        /// The result; absent on error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Box<RawValue>>,
        /// The error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ApiError>,
    },
    /// Grants the sidecar more bytes.
    Window {
        /// Bytes of frames consumed.
        bytes: u32,
    },
}

/// One event of a channel: its offset and its JSON object, not parsed on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Gap-free offset from 1.
    pub offset: u64,
    /// The JSON object's text.
    pub data: Bytes,
}

/// Publications of one channel in use, ascending and gap-free (runtime to sidecar, binary).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publications {
    /// The channel's number.
    pub no: u32,
    /// The publications.
    pub publications: Vec<Publication>,
}

/// The answer to [`ToRuntime::Read`] (runtime to sidecar, binary).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The read's number.
    pub id: u64,
    /// The channel's epoch.
    pub epoch: String,
    /// The highest offset it has now.
    pub top: u64,
    /// Whether the position asked for can be continued without a hole; if not, nothing follows here.
    pub recovered: bool,
    /// The publications; empty when there are none after the position.
    pub publications: Vec<Publication>,
}
