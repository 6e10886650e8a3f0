//! Connects sessions and HTTP requests with the routed runtime: everything the sidecar decides, without I/O.
//!
//! The world calls in with what happened and the time it is, and performs the [`Effect`]s; sockets pull what
//! there is for them ([`Exchange::output`], [`Exchange::link_output`]) at their own pace, so nothing queues up
//! here beyond named bounds.

mod calls;
mod commands;
mod link;
mod output;
mod spread;
mod subscriptions;

pub use output::Output;

use crate::hub::{Change, Hub};
use crate::pending::{Asker, Pending};
use crate::protocol::{Disconnect, HistoryRequest};
use crate::reads::Reads;
use crate::session::{Entrance, Session, SessionId};
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

/// The channel the sidecar itself keeps.
pub const NODE_CHANNEL: &str = "node";

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the sidecar's start.
    pub since_start: Duration,
    /// Unix milliseconds.
    pub unix_ms: i64,
}

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

/// A time limit that is not a session's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    /// Of a subscribe.
    Subscribe(SessionId, u64),
    /// Of a history command.
    History(u64),
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

    /// A socket opened.
    pub fn open(&mut self, entrance: Entrance, now: Now) -> SessionId {
        self.next_session += 1;
        let mut session = Session::new(entrance, now.since_start);
        if self.sessions.len() >= self.settings.sessions {
            session.close = Some(Disconnect::CONNECTION_LIMIT);
        }
        self.sessions.insert(self.next_session, session);
        self.next_session
    }

    /// A session's socket is gone. What it commanded is still carried out.
    pub fn closed(&mut self, id: SessionId, now: Now) {
        let Some(session) = self.sessions.remove(&id) else { return };
        for subscription in &session.subscriptions {
            self.hub.leave(subscription.channel, id, now.since_start);
        }
        let of_session = |asker: Asker| matches!(asker, Asker::Session { session, .. } if session == id);
        if session.unanswered() > 0 {
            self.pending.abandon(of_session);
            self.histories.retain(|_, history| !of_session(history.asker));
        }
        self.forget_readers();
    }

    /// Closes a session for this reason; its task is told.
    pub fn close(&mut self, id: SessionId, reason: Disconnect) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.close.get_or_insert(reason);
            self.wake(id);
        }
    }

    /// The sidecar stops: every session is told.
    pub fn shut_down(&mut self) {
        let all: Vec<SessionId> = self.sessions.keys().copied().collect();
        all.into_iter().for_each(|id| self.close(id, Disconnect::SHUTDOWN));
    }

    /// Whether a session's socket may be read now.
    pub fn may_read(&self, id: SessionId) -> bool {
        let session = self.sessions.get(&id);
        self.tokens.is_some() && session.is_some_and(|session| session.may_read(&self.settings))
    }

    /// Bytes came in, or the kernel took bytes other than a ping.
    pub fn alive(&mut self, id: SessionId, heard: bool, took: bool, now: Now) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.alive(heard, took, now.since_start);
        }
    }

    /// When a session's time rules may next say something.
    pub fn session_deadline(&self, id: SessionId, writing: bool, now: Now) -> Duration {
        let session = self.sessions.get(&id);
        session.map_or(Duration::MAX, |session| {
            session.next_deadline(&self.settings, writing, now.since_start, now.unix_ms)
        })
    }

    /// What a session's time says: a reason to close it.
    pub fn overdue(&mut self, id: SessionId, now: Now) -> Option<Disconnect> {
        self.sessions.get_mut(&id)?.overdue(&self.settings, now.since_start, now.unix_ms)
    }

    /// When [`tick`](Self::tick) is to be called next.
    pub fn next_deadline(&self, now: Now) -> Duration {
        let limit = self.limits.first().map(|(at, _)| *at);
        let call = self.pending.oldest_waiting().map(|read_at| read_at + self.call_within());
        let unavailable =
            self.holding_since.filter(|_| !self.gave_up).map(|since| since + self.hold_unavailable());
        let housekeeping = now.since_start + crate::hub::LINGER;
        [limit, call, unavailable, self.spread.next()].into_iter().flatten().fold(housekeeping, Duration::min)
    }

    /// Applies the time rules that are not a session's own.
    pub fn tick(&mut self, now: Now) {
        let at = now.since_start;
        self.hub.forget_unused(at);
        self.spread_on(at);
        while let Some((when, limit)) = self.limits.first().copied().filter(|(when, _)| *when <= at) {
            self.limits.remove(&(when, limit));
            match limit {
                Limit::Subscribe(session, serial) => self.subscribe_overdue(session, serial, now),
                Limit::History(number) => self.history_overdue(number),
            }
        }
        if let Some(read_by) = at.checked_sub(self.call_within()) {
            for (asker, code) in self.pending.overdue(read_by) {
                self.answer(asker, Err(calls::outcome(code)));
            }
        }
        if self.unavailable(now) && !std::mem::replace(&mut self.gave_up, true) {
            for asker in self.pending.give_up() {
                self.answer(asker, Err(calls::unavailable()));
            }
        }
        if self.hub.has_unsent() {
            self.effects.push(Effect::WakeLink);
        }
    }

    fn call_within(&self) -> Duration {
        Duration::from_millis(self.settings.call_within_ms)
    }

    fn hold_unavailable(&self) -> Duration {
        Duration::from_millis(self.settings.hold_unavailable_ms)
    }

    /// Whether there has been no runtime for too long to queue anything.
    fn unavailable(&self, now: Now) -> bool {
        self.holding_since.is_some_and(|since| since + self.hold_unavailable() <= now.since_start)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn wake(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && !std::mem::replace(&mut session.awake, true)
        {
            self.effects.push(Effect::Wake(id));
        }
    }

    fn wake_all(&mut self) {
        let all: Vec<SessionId> = self.sessions.keys().copied().collect();
        all.into_iter().for_each(|id| self.wake(id));
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
