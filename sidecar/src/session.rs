//! One browser session: what it may do now, what it has asked and not been answered, when it must show a sign
//! of life. Pure; commands are carried out by the exchange.

mod deadlines;
mod subscription;

use crate::protocol::Disconnect;
use crate::settings::Settings;
use crate::tokens::Identity;
use bytes::Bytes;
use holdfast_shared::link::Caller;
use std::collections::VecDeque;
use std::time::Duration;
pub use subscription::{Reading, Stage, Subscription};

/// Numbers sessions; never used again.
pub type SessionId = u64;

/// Subscriptions of one session at most (CONTRACTS.md 8).
pub const SUBSCRIPTIONS: usize = 128;
/// Bytes of replies that wait for the socket, past which the session is not read: with the one message being
/// written they are the 128 KiB that may be unsent.
pub const UNSENT_REPLY_BYTES: usize = 64 * 1024;
/// Bytes of a channel's name at most.
pub const CHANNEL_NAME_BYTES: usize = 255;

/// How a session came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// The public listener, maybe with a token in `Authorization`.
    Public {
        /// That token.
        bearer: Option<String>,
    },
    /// The control socket: a local principal.
    Local {
        /// Its user.
        uid: u32,
    },
}

/// How far a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing came yet; only connect is allowed.
    Fresh,
    /// It is someone.
    Connected(Identity),
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// How it came in.
    pub entrance: Entrance,
    /// How far it is.
    pub phase: Phase,
    /// The task in its focus.
    pub focus: Option<String>,
    /// Its subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// The subscription that is served next.
    pub turn: usize,
    /// The subscription that reads history, one at a time: a session holds one piece at most.
    pub reading: Option<Reading>,
    /// Commands of the last message that were not carried out yet.
    pub inbox: Bytes,
    /// Its task has been told that there is something to do.
    pub awake: bool,
    /// Set when it is to be closed.
    pub close: Option<Disconnect>,
    unanswered: Vec<(u32, usize)>,
    unanswered_bytes: usize,
    replies: VecDeque<Bytes>,
    reply_bytes: usize,
    opened_at: Duration,
    heard_at: Duration,
    took_at: Duration,
    pinged_at: Duration,
}

impl Session {
    /// A session whose socket just opened.
    pub fn new(entrance: Entrance, now: Duration) -> Self {
        Self {
            entrance,
            phase: Phase::Fresh,
            focus: None,
            subscriptions: Vec::new(),
            turn: 0,
            reading: None,
            inbox: Bytes::new(),
            awake: false,
            close: None,
            unanswered: Vec::new(),
            unanswered_bytes: 0,
            replies: VecDeque::new(),
            reply_bytes: 0,
            opened_at: now,
            heard_at: now,
            took_at: now,
            pinged_at: now,
        }
    }

    /// Who it is, once connected.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.phase {
            Phase::Fresh => None,
            Phase::Connected(identity) => Some(identity),
        }
    }

    /// It became someone; pings begin.
    pub fn connected(&mut self, identity: Identity, now: Duration) {
        self.phase = Phase::Connected(identity);
        self.pinged_at = now;
    }

    /// In whose name it calls.
    pub fn caller(&self) -> Option<Caller> {
        let identity = self.identity()?;
        Some(Caller {
            principal: identity.principal.clone(),
            role: identity.role,
            scope: identity.scope.clone(),
            focus: self.focus.clone(),
        })
    }

    /// A command was read whose answer comes later.
    pub fn asked(&mut self, command: u32, bytes: usize) {
        self.unanswered.push((command, bytes));
        self.unanswered_bytes += bytes;
    }

    /// Such a command has its answer.
    pub fn answered(&mut self, command: u32, reply: Bytes) {
        if let Some(index) = self.unanswered.iter().position(|(number, _)| *number == command) {
            self.unanswered_bytes -= self.unanswered.remove(index).1;
        }
        self.say(reply);
    }

    /// A reply or push for the socket.
    pub fn say(&mut self, text: Bytes) {
        self.reply_bytes += text.len();
        self.replies.push_back(text);
    }

    /// The next reply for the socket, if it fits.
    pub fn next_reply(&mut self, room: usize) -> Option<Bytes> {
        if self.replies.front()?.len() > room {
            return None;
        }
        let reply = self.replies.pop_front()?;
        self.reply_bytes -= reply.len();
        Some(reply)
    }

    /// Whether replies wait for the socket.
    pub fn has_replies(&self) -> bool {
        !self.replies.is_empty()
    }

    /// Commands without an answer.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Whether its unanswered commands are within bounds. Past them TCP waits, and so does the deadline for
    /// its signs of life, which lie in what is not read.
    pub fn within_bounds(&self, settings: &Settings) -> bool {
        self.unanswered.len() < settings.unanswered_commands
            && self.unanswered_bytes < settings.unanswered_bytes
    }

    /// Whether a further command may be carried out.
    pub fn may_act(&self, settings: &Settings) -> bool {
        self.close.is_none() && self.within_bounds(settings) && self.reply_bytes < UNSENT_REPLY_BYTES
    }

    /// Whether its socket may be read.
    pub fn may_read(&self, settings: &Settings) -> bool {
        self.may_act(settings) && self.inbox.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens;

    pub(super) fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    pub(super) fn session() -> (Session, Settings) {
        let mut session = Session::new(Entrance::Local { uid: 0 }, Duration::ZERO);
        session.connected(tokens::local(0), Duration::ZERO);
        (session, Settings::default())
    }

    #[test]
    fn past_its_unanswered_commands_it_is_not_read_and_its_deadline_waits() {
        let (mut session, settings) = session();
        for command in 1..=32 {
            assert!(session.may_read(&settings), "{command}");
            session.asked(command, 10);
        }
        assert!(!session.may_read(&settings));
        assert_eq!(session.overdue(&settings, seconds(100), 0), None);
        session.answered(7, Bytes::from_static(b"{}"));
        assert!(session.may_read(&settings));
        assert_eq!(session.overdue(&settings, seconds(132), 0), None, "33 s begin when it is read again");
        assert_eq!(session.overdue(&settings, seconds(133), 0), Some(Disconnect::NO_PONG));
    }

    #[test]
    fn past_its_unanswered_bytes_or_unsent_replies_it_is_not_read() {
        let (mut session, settings) = session();
        session.asked(1, 256 * 1024);
        assert!(!session.may_read(&settings));
        session.answered(1, Bytes::from(vec![b'x'; UNSENT_REPLY_BYTES]));
        assert!(!session.may_read(&settings), "it does not read its replies");
        assert_eq!(session.next_reply(10), None);
        assert!(session.next_reply(usize::MAX).is_some());
        assert!(session.may_read(&settings));
    }
}
