//! One browser session: what it may do now, what it has asked and not been answered, when it must show a sign
//! of life. Pure; commands are carried out by the exchange.

use crate::cursor::Cursor;
use crate::hub::ChannelKey;
use crate::protocol::{Disconnect, Position};
use crate::settings::Settings;
use crate::tokens::Identity;
use bytes::Bytes;
use holdfast_shared::link::Caller;
use std::collections::VecDeque;
use std::time::Duration;

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

/// A subscription of a session.
#[derive(Debug)]
pub struct Subscription {
    /// New for every subscription; tells a late piece of an ended one apart.
    pub serial: u64,
    /// The channel.
    pub channel: ChannelKey,
    /// How far it is.
    pub stage: Stage,
}

/// The subscription that reads history now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its serial number.
    pub serial: u64,
    /// The piece has not come yet.
    pub waiting: bool,
}

/// How far a subscription is.
#[derive(Debug)]
pub enum Stage {
    /// The subscribe command has no reply yet.
    Waiting {
        /// The command's number.
        command: u32,
        /// The position to continue from.
        recover: Option<Position>,
    },
    /// Publications follow.
    Live(Cursor),
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

    /// Bytes came in, or the kernel took bytes other than a ping.
    pub fn alive(&mut self, heard: bool, took: bool, now: Duration) {
        if heard {
            self.heard_at = now;
        }
        if took {
            self.took_at = now;
        }
    }

    /// Whether a ping is due now; it counts as sent.
    pub fn ping_due(&mut self, settings: &Settings, now: Duration) -> bool {
        let due = self.identity().is_some() && self.pinged_at + settings.ping() <= now;
        if due {
            self.pinged_at = now;
        }
        due
    }

    /// What its time says: a reason to close it.
    pub fn overdue(&mut self, settings: &Settings, now: Duration, unix_ms: i64) -> Option<Disconnect> {
        if !self.within_bounds(settings) {
            self.heard_at = now;
        }
        let Some(identity) = self.identity() else {
            let until = self.opened_at + Duration::from_millis(settings.connect_within_ms);
            return (until <= now).then_some(Disconnect::STALE);
        };
        if identity.expires_at.is_some_and(|at| at <= unix_ms) {
            return Some(Disconnect::EXPIRED);
        }
        (self.heard_at.max(self.took_at) + settings.silence() <= now).then_some(Disconnect::NO_PONG)
    }

    /// When [`overdue`](Self::overdue) or [`ping_due`](Self::ping_due) may next say something; while a message
    /// is being written there are no pings.
    pub fn next_deadline(&self, settings: &Settings, writing: bool, now: Duration, unix_ms: i64) -> Duration {
        let Some(identity) = self.identity() else {
            return self.opened_at + Duration::from_millis(settings.connect_within_ms);
        };
        let ping = if writing { Duration::MAX } else { self.pinged_at + settings.ping() };
        let silence = match self.within_bounds(settings) {
            true => self.heard_at.max(self.took_at) + settings.silence(),
            false => now + settings.silence(),
        };
        let expiry = identity.expires_at.map(|at| {
            now + Duration::from_millis(u64::try_from(at.saturating_sub(unix_ms)).unwrap_or_default())
        });
        ping.min(silence).min(expiry.unwrap_or(Duration::MAX))
    }

    /// The subscription with this serial number.
    pub fn subscription(&mut self, serial: u64) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.serial == serial)
    }

    /// Ends the subscription to this channel.
    pub fn drop_subscription(&mut self, channel: ChannelKey) -> Option<Subscription> {
        let index = self.subscriptions.iter().position(|subscription| subscription.channel == channel)?;
        let subscription = self.subscriptions.remove(index);
        if self.reading.is_some_and(|reading| reading.serial == subscription.serial) {
            self.reading = None;
        }
        Some(subscription)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn session() -> (Session, Settings) {
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

    #[test]
    fn it_is_closed_only_when_silent_in_both_directions() {
        let (mut session, settings) = session();
        assert!(!session.ping_due(&settings, seconds(24)));
        assert!(session.ping_due(&settings, seconds(25)) && !session.ping_due(&settings, seconds(26)));
        session.alive(true, false, seconds(10));
        assert_eq!(session.overdue(&settings, seconds(42), 0), None);
        session.alive(false, true, seconds(42));
        assert_eq!(session.overdue(&settings, seconds(74), 0), None);
        assert_eq!(session.next_deadline(&settings, false, seconds(70), 0), seconds(50), "the next ping");
        assert_eq!(session.overdue(&settings, seconds(75), 0), Some(Disconnect::NO_PONG));
    }

    #[test]
    fn the_first_command_and_the_tokens_end_have_their_time() {
        let settings = Settings::default();
        let mut session = Session::new(Entrance::Public { bearer: None }, seconds(5));
        assert_eq!(session.next_deadline(&settings, false, seconds(5), 0), seconds(15));
        assert_eq!(session.overdue(&settings, seconds(14), 0), None);
        assert_eq!(session.overdue(&settings, seconds(15), 0), Some(Disconnect::STALE));
        let mut identity = tokens::local(0);
        identity.expires_at = Some(1000);
        session.connected(identity, seconds(5));
        assert_eq!(session.next_deadline(&settings, false, seconds(6), 900), Duration::from_millis(6100));
        assert_eq!(session.overdue(&settings, seconds(6), 999), None);
        assert_eq!(session.overdue(&settings, seconds(6), 1000), Some(Disconnect::EXPIRED));
    }
}
