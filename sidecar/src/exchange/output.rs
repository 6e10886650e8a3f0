//! What a socket gets next: replies, a ping when it is due, publications by its cursors, in one message.

use super::{Exchange, Now};
use crate::cursor::Progress;
use crate::hub::ChannelKey;
use crate::protocol::{Disconnect, PING};
use crate::session::{SessionId, Stage};
use bytes::{Bytes, BytesMut};

/// Bytes of one message at most, unless a single publication or reply is larger.
pub const MESSAGE_BYTES: usize = 32 * 1024;

/// What a session's task is to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// One WebSocket message: lines of JSON. Empty when there is nothing.
    pub text: Bytes,
    /// It is only a ping: that the kernel took it is no sign of life.
    pub only_ping: bool,
    /// There is more; ask again when this has been written.
    pub more: bool,
    /// To be closed after this message.
    pub close: Option<Disconnect>,
}

/// Lines put together to one message.
struct Batch {
    text: BytesMut,
}

impl Batch {
    fn put(&mut self, line: &[u8]) -> bool {
        let fits = self.text.is_empty() || self.text.len() + 1 + line.len() <= MESSAGE_BYTES;
        if fits {
            if !self.text.is_empty() {
                self.text.extend_from_slice(b"\n");
            }
            self.text.extend_from_slice(line);
        }
        fits
    }

    fn room(&self) -> usize {
        if self.text.is_empty() { usize::MAX } else { MESSAGE_BYTES.saturating_sub(self.text.len() + 1) }
    }
}

impl Exchange {
    /// The next message for a session's socket. To be called when the one before has been written, after a
    /// wake, and at the session's deadline.
    pub fn output(&mut self, id: SessionId, now: Now) -> Output {
        let mut batch = Batch { text: BytesMut::new() };
        let Some(session) = self.sessions.get_mut(&id) else { return Output::default() };
        session.awake = false;
        let close = session.overdue(&self.settings, now.since_start, now.unix_ms);
        session.close = session.close.or(close);
        if self.tokens.is_some() {
            self.replies(id, &mut batch, now);
        }
        let mut only_ping = false;
        let mut more = false;
        if let Some(session) = self.sessions.get_mut(&id) {
            more = session.has_replies();
            if session.ping_due(&self.settings, now.since_start) {
                only_ping = batch.text.is_empty();
                // Put whatever the room: two bytes, and due now.
                batch.text.extend_from_slice(if only_ping { b"" } else { b"\n" });
                batch.text.extend_from_slice(PING);
            }
        }
        if !more {
            let before = batch.text.len();
            more = self.publications(id, &mut batch);
            only_ping &= batch.text.len() == before;
        }
        let session = self.sessions.get_mut(&id);
        more |= session.as_ref().is_some_and(|session| session.has_replies());
        let close = session.and_then(|session| session.close);
        Output { text: batch.text.freeze(), only_ping, more: more && close.is_none(), close }
    }

    /// Replies, and commands that could not be carried out before there was room for their replies.
    fn replies(&mut self, id: SessionId, batch: &mut Batch, now: Now) {
        loop {
            let Some(session) = self.sessions.get_mut(&id) else { return };
            while let Some(reply) = session.next_reply(batch.room()) {
                batch.put(&reply);
            }
            let stuck = session.has_replies() || session.inbox.is_empty() || !session.may_act(&self.settings);
            if stuck {
                return;
            }
            self.work(id, now);
        }
    }

    /// Publications, one subscription after the other; `true` when there are more.
    fn publications(&mut self, id: SessionId, batch: &mut Batch) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let count = session.subscriptions.len();
        let mut behind: Option<(u64, ChannelKey, u64)> = None;
        let mut waiting: Option<u64> = None;
        for step in 0..count {
            let index = (session.turn + step) % count;
            let subscription = &mut session.subscriptions[index];
            let serial = subscription.serial;
            let mine = |reading: &crate::session::Reading| reading.serial == serial;
            let Stage::Live(cursor) = &mut subscription.stage else {
                waiting = waiting.or(Some(serial));
                continue;
            };
            let Some(log) = self.hub.get(subscription.channel).and_then(|channel| channel.log.as_ref())
            else {
                continue;
            };
            let progress = cursor.advance(&log.tail, |push| batch.put(push));
            if session.reading.as_ref().is_some_and(|reading| mine(reading) && !reading.waiting)
                && !cursor.has_piece()
            {
                session.reading = None;
            }
            match progress {
                Progress::Live => {}
                Progress::Behind(after) => {
                    behind = behind.or(Some((serial, subscription.channel, after)));
                }
                Progress::More => {
                    session.turn = (index + 1) % count;
                    return true;
                }
            }
        }
        if session.reading.is_none() {
            self.read_next(id, behind, waiting);
        }
        false
    }

    /// The session's reader is free: the next subscription that needs a piece of history asks for it.
    fn read_next(&mut self, id: SessionId, behind: Option<(u64, ChannelKey, u64)>, waiting: Option<u64>) {
        if let Some(serial) = waiting {
            self.serve(id, serial);
        }
        let free = self.sessions.get(&id).is_some_and(|session| session.reading.is_none());
        let Some((serial, key, after)) = behind.filter(|_| free) else { return };
        let Some(channel) = self.hub.get(key) else { return };
        let Some(log) = &channel.log else { return };
        let (name, epoch) = (channel.name.clone(), log.epoch.clone());
        self.read_piece(id, serial, key, name, epoch, after);
    }
}
