//! Connects sessions and HTTP requests with the routed runtime: everything the sidecar decides, without I/O.
//!
//! The world calls in with what happened and the time it is, and performs the [`Effect`]s; sockets pull what
//! there is for them ([`Exchange::output`], [`Exchange::link_output`]) at their own pace, so nothing queues up
//! here beyond named bounds.

mod calls;
mod commands;
mod followers;
mod history;
mod link;
mod output;
mod sockets;
mod spread;
mod subscriptions;
mod time;

pub use output::Output;
pub use time::Now;

use crate::hub::{Change, Hub};
use crate::pending::{Asker, Pending};
use crate::protocol::{Disconnect, HistoryRequest};
use crate::reads::Reads;
use crate::session::{Session, SessionId};
use crate::settings::Settings;
use crate::tokens::Tokens;
use bytes::Bytes;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::window::SendWindow;
use holdfast_shared::link::{Caller, Publication};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::TokenRole;
use holdfast_shared::wished::NodeChannel;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::Limit;

/// The channel the sidecar itself keeps.
pub const NODE_CHANNEL: &str = "node";

/// What the world is to do.
#[derive(Debug)]
pub enum Effect {
    /// The session has output, or may be read again.
    Wake(SessionId),
    /// The link has output.
    WakeLink,
    /// The next deadline may have come nearer.
    WakeTime,
    /// Answers an HTTP request: the JSON text of the result.
    Answer {
        /// The request.
        ticket: u64,
        /// Result or error.
        result: Result<Bytes, ApiError>,
    },
    /// Asks the runtime in a slot, whatever its role, over a link of its own; answered by
    /// [`Exchange::probed`].
    Probe {
        /// The session.
        session: SessionId,
        /// Its command.
        command: u32,
        /// The slot.
        slot: Slot,
        /// Parameters.
        params: Box<RawValue>,
        /// In whose name.
        caller: Caller,
    },
}

/// A history command under way.
#[derive(Debug)]
struct History {
    asker: Asker,
    request: HistoryRequest,
    caller: Caller,
}

/// The link that is forwarded to.
#[derive(Clone, Copy, Debug)]
struct Link {
    number: u64,
    epoch: u64,
    window: SendWindow,
}

/// The sidecar's whole state.
pub struct Exchange {
    settings: Settings,
    make_id: Box<dyn FnMut() -> String>,
    /// `None` until the first wished state.
    tokens: Option<Tokens>,
    public_status: Option<Box<RawValue>>,
    sessions: BTreeMap<SessionId, Session>,
    hub: Hub,
    pending: Pending,
    reads: Reads,
    histories: BTreeMap<u64, History>,
    limits: BTreeSet<(Duration, Limit)>,
    spread: spread::Spread,
    /// The present link, while forwarding.
    link: Option<Link>,
    /// Grants not sent yet.
    to_grant: u32,
    consumed: holdfast_shared::link::window::ReceiveWindow,
    holding_since: Option<Duration>,
    gave_up: bool,
    next_session: SessionId,
    next_number: u64,
    effects: Vec<Effect>,
}

impl Exchange {
    /// An exchange that holds, knows no token yet, and makes command ids with `make_id`.
    pub fn new(settings: Settings, make_id: Box<dyn FnMut() -> String>) -> Self {
        let hub = Hub::new(settings.hot_tail_bytes);
        Self {
            settings,
            make_id,
            tokens: None,
            public_status: None,
            sessions: BTreeMap::new(),
            hub,
            pending: Pending::default(),
            reads: Reads::default(),
            histories: BTreeMap::new(),
            limits: BTreeSet::new(),
            spread: spread::Spread::default(),
            link: None,
            to_grant: 0,
            consumed: Default::default(),
            holding_since: Some(Duration::ZERO),
            gave_up: false,
            next_session: 0,
            next_number: 0,
            effects: Vec::new(),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The tokens, once told.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// What everybody may know of the node, once told.
    pub fn public_status(&self) -> Option<&RawValue> {
        self.public_status.as_deref()
    }

    /// Whether commands are forwarded to a runtime now.
    pub fn forwards(&self) -> bool {
        self.link.is_some()
    }

    /// Epoch and highest offset of the `node` channel.
    pub fn node_position(&self) -> (String, u64) {
        let log = self.hub.by_name(NODE_CHANNEL).and_then(|channel| channel.log.as_ref());
        log.map_or((String::new(), 0), |log| (log.epoch.clone(), log.tail.top()))
    }

    /// Sessions open.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Commands without an answer.
    pub fn unanswered(&self) -> usize {
        self.pending.len()
    }

    /// What the world is to do now; to be taken after every call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes what a wished state says besides hold and route. Sessions whose token is gone are closed.
    pub fn informed(&mut self, tokens: Tokens, node: NodeChannel, public_status: Box<RawValue>, now: Now) {
        let first = self.tokens.is_none();
        let revoked: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                let token = session.identity().and_then(|identity| identity.token.as_deref());
                token.is_some_and(|id| !tokens.has(id))
            })
            .map(|(id, _)| *id)
            .collect();
        self.tokens = Some(tokens);
        self.public_status = Some(public_status);
        revoked.into_iter().for_each(|session| self.close(session, Disconnect::INVALID_TOKEN));
        let events = node.events.into_iter().map(|event| Publication {
            offset: event.offset,
            data: Bytes::from(Box::<str>::from(event.data).into_string()),
        });
        let caller = Caller {
            principal: String::new(),
            role: TokenRole::Viewer,
            focus: None,
            scope: Default::default(),
        };
        match self.hub.local(NODE_CHANNEL, caller, &node.epoch, events.collect()) {
            Change::Grown(key) => self.spread_news(key, now.since_start),
            change => self.changed(change, now),
        }
        if first {
            self.wake_all();
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn changed(&mut self, change: Change, now: Now) {
        match change {
            Change::Grown(key) => self.wake_followers(key),
            Change::Ready(key) => self.serve_waiting(key),
            Change::Broken(key) => {
                self.break_followers(key, now);
                self.serve_waiting(key);
            }
            Change::Resumed | Change::None => {}
        }
    }
}

/// An error of ours that says that nobody can serve this now.
fn temporarily(message: &str) -> ApiError {
    ApiError::new(Code::Unavailable, message)
}

#[cfg(test)]
mod tests;
