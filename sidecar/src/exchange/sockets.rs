//! Sessions and their sockets: opened, alive, read or not, closed with a reason.

use super::{Effect, Exchange, Now};
use crate::pending::Asker;
use crate::protocol::Disconnect;
use crate::session::{Entrance, Session, SessionId};
use std::time::Duration;

impl Exchange {
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

    /// Whether every command of a session that was read has its reply.
    pub fn has_answered(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_none_or(|session| session.unanswered() == 0)
    }

    /// Whether a reply to it is still to be made or to be sent.
    pub fn owes_reply(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.unanswered() > 0 || session.has_replies())
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

    pub(super) fn wake(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && !std::mem::replace(&mut session.awake, true)
        {
            self.effects.push(Effect::Wake(id));
        }
    }

    pub(super) fn wake_all(&mut self) {
        let all: Vec<SessionId> = self.sessions.keys().copied().collect();
        all.into_iter().for_each(|id| self.wake(id));
    }
}
