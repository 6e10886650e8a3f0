//! A channel in use, and what is known of its log.

use crate::hot_tail::HotTail;
use crate::protocol::PushFormat;
use crate::session::SessionId;
use holdfast_shared::link::Caller;
use std::collections::BTreeSet;
use std::time::Duration;

/// A channel in use.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// How its publications are written.
    pub format: PushFormat,
    /// Sessions with a subscription, waiting ones too.
    pub subscribers: BTreeSet<SessionId>,
    /// What is known of its log.
    pub log: Option<Log>,
    pub(super) first_caller: Caller,
    pub(super) number: Option<u32>,
    pub(super) unused_since: Option<Duration>,
    /// Not the runtime's: written by the supervisor, kept here.
    pub(super) local: bool,
}

/// What is known of a channel's log.
#[derive(Debug)]
pub struct Log {
    /// Its epoch.
    pub epoch: String,
    /// Its end.
    pub tail: HotTail,
}
