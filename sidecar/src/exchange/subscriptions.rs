//! Subscriptions: served from the hot tail, or with a first piece of history, and then followed by a cursor.

use super::{Exchange, Limit, Now, temporarily};
use crate::cursor::{Cursor, Pushes};
use crate::hub::{Channel, ChannelKey, Log};
use crate::protocol::{self, CommandError, INSUFFICIENT_STATE, Position, SubscribeReply};
use crate::reads::{PIECE_PUBLICATIONS, ReadSpec, Reader};
use crate::session::{CHANNEL_NAME_BYTES, Reading, SUBSCRIPTIONS, SessionId, Stage, Subscription};
use bytes::Bytes;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Piece;
use std::rc::Rc;

/// Bytes of publications in a subscribe reply at most (256 KiB would be allowed): with what the socket is
/// writing they stay below the 128 KiB that may be unsent.
pub const FIRST_PIECE_BYTES: usize = 64 * 1024;

/// How a waiting subscription can be answered now.
enum Service {
    /// From the hot tail, after this offset.
    Tail { after: u64, recovered: bool },
    /// With a piece of history after this offset.
    History { after: u64 },
}

fn service(log: &Log, recover: Option<&Position>) -> Service {
    let top = log.tail.top();
    match recover {
        None => Service::Tail { after: top, recovered: false },
        Some(at) if (!at.epoch.is_empty() && at.epoch != log.epoch) || at.offset > top => {
            Service::Tail { after: top, recovered: false }
        }
        Some(at) if log.tail.covers(at.offset) => Service::Tail { after: at.offset, recovered: true },
        Some(at) => Service::History { after: at.offset },
    }
}

impl Exchange {
    pub(super) fn subscribe(
        &mut self,
        id: SessionId,
        command: u32,
        bytes: usize,
        name: &str,
        recover: Option<Position>,
        now: Now,
    ) {
        let Some(session) = self.sessions.get(&id) else { return };
        let Some(caller) = session.caller() else { return };
        let known = self.hub.by_name(name);
        let mine = |channel: &Channel| channel.subscribers.contains(&id);
        let refusal = if name.is_empty() || name.len() > CHANNEL_NAME_BYTES {
            Some(CommandError::bad_request())
        } else if !caller.scope.has_channel(name) {
            Some(CommandError::permission_denied())
        } else if known.is_some_and(mine) {
            Some(CommandError::already_subscribed())
        } else if session.subscriptions.len() >= SUBSCRIPTIONS {
            Some(CommandError::limit_exceeded())
        } else if known.is_none() && self.unavailable(now) {
            Some(super::calls::unavailable().into())
        } else {
            None
        };
        if let Some(error) = refusal {
            return self.fail(id, command, &error);
        }
        let Ok(channel) = self.hub.join(name, id, &caller) else {
            let error = ApiError::new(Code::Busy, "too many channels are in use");
            return self.fail(id, command, &error.into());
        };
        let serial = self.number();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.asked(command, bytes);
            let stage = Stage::Waiting { command, recover };
            session.subscriptions.push(Subscription { serial, channel, stage });
        }
        self.limit(self.settings.subscribe_within_ms, Limit::Subscribe(id, serial), now);
        self.effects.push(super::Effect::WakeLink);
        self.serve(id, serial);
    }

    pub(super) fn unsubscribe(&mut self, id: SessionId, command: u32, name: &str, now: Now) {
        let key = self.sessions.get(&id).and_then(|session| {
            let of_name = |subscription: &&Subscription| {
                self.hub.get(subscription.channel).is_some_and(|channel| channel.name == name)
            };
            session.subscriptions.iter().find(of_name).map(|subscription| subscription.channel)
        });
        if let Some(key) = key {
            let ended = self.drop_subscription(id, key, now);
            if let Some(Stage::Waiting { command, .. }) = ended.map(|subscription| subscription.stage) {
                let error = temporarily("unsubscribed before the subscription was made");
                self.answer_subscribe(id, command, protocol::error_reply(command, &error.into()));
            }
        }
        self.say(id, protocol::reply(command, "unsubscribe", "{}"));
    }

    /// Answers a waiting subscription if that can be done now, or asks for its first piece.
    pub(super) fn serve(&mut self, id: SessionId, serial: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let reading = session.reading;
        let Some(subscription) = session.subscription(serial) else { return };
        let key = subscription.channel;
        let Stage::Waiting { command, recover } = &subscription.stage else { return };
        let Some(channel) = self.hub.get(key) else { return };
        let Some(log) = &channel.log else { return };
        match service(log, recover.as_ref()) {
            Service::Tail { after, recovered } => {
                let command = *command;
                let was_recovering = recover.is_some();
                let publications = first_of(log.tail.since(after), channel);
                let at = after + publications.len() as u64;
                let reply = SubscribeReply { epoch: &log.epoch, offset: after, was_recovering, recovered };
                let text = reply.encode(command, publications.into_iter());
                subscription.stage = Stage::Live(Cursor::after(at));
                self.answer_subscribe(id, command, text);
            }
            Service::History { after } => {
                let mine = reading.is_some_and(|reading| reading.serial == serial && reading.waiting);
                if reading.is_none() || mine {
                    let (name, epoch) = (channel.name.clone(), log.epoch.clone());
                    self.read_piece(id, serial, key, name, epoch, after);
                }
            }
        }
    }

    /// Asks for a piece of history for a subscription, which becomes its session's reader.
    pub(super) fn read_piece(
        &mut self,
        id: SessionId,
        serial: u64,
        key: ChannelKey,
        channel: String,
        epoch: String,
        after: u64,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(caller) = session.caller() else { return };
        session.reading = Some(Reading { serial, waiting: true });
        let limit = PIECE_PUBLICATIONS;
        let spec = ReadSpec { channel, key: Some(key), epoch, after, limit, caller };
        self.read(spec, Reader::Subscription { session: id, serial });
    }

    /// A piece came for a subscription.
    pub(super) fn subscription_piece(
        &mut self,
        id: SessionId,
        serial: u64,
        spec: &ReadSpec,
        piece: &Piece,
        pushes: &Rc<Pushes>,
        now: Now,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(reading) = session.reading.as_mut().filter(|reading| reading.serial == serial) else {
            return;
        };
        reading.waiting = false;
        let Some(subscription) = session.subscription(serial) else { return };
        let key = subscription.channel;
        let log = self.hub.get(key).and_then(|channel| channel.log.as_ref());
        let same_log = log.is_some_and(|log| log.epoch == piece.epoch);
        match &mut subscription.stage {
            Stage::Live(cursor) => {
                if piece.recovered && same_log && cursor.take_piece(pushes.clone()) {
                    self.wake(id);
                } else {
                    self.break_subscription(id, key, now);
                }
            }
            Stage::Waiting { .. } if !same_log => {
                session.reading = None;
                self.serve(id, serial);
            }
            Stage::Waiting { .. } => self.first_piece(id, serial, spec.after, piece.recovered, pushes),
        }
    }

    fn first_piece(&mut self, id: SessionId, serial: u64, after: u64, recovered: bool, pushes: &Rc<Pushes>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(subscription) = session.subscription(serial) else { return };
        let Stage::Waiting { command, .. } = subscription.stage else { return };
        let Some(channel) = self.hub.get(subscription.channel) else { return };
        let Some(log) = &channel.log else { return };
        let recovered = recovered && !pushes.pushes.is_empty();
        let (offset, publications) = match recovered {
            true => (after, first_of(pushes.pushes.iter(), channel)),
            false => (log.tail.top(), Vec::new()),
        };
        let mut cursor = Cursor::after(offset + publications.len() as u64);
        let holds = recovered && cursor.take_piece(pushes.clone());
        let reply = SubscribeReply { epoch: &log.epoch, offset, was_recovering: true, recovered };
        let text = reply.encode(command, publications.into_iter());
        subscription.stage = Stage::Live(cursor);
        if !holds {
            session.reading = None;
        }
        self.answer_subscribe(id, command, text);
    }

    /// A piece could not be read.
    pub(super) fn piece_failed(&mut self, id: SessionId, serial: u64, spec: &ReadSpec, error: &ApiError) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(subscription) = session.subscription(serial) else { return };
        let waiting = match subscription.stage {
            Stage::Waiting { command, .. } => Some(command),
            Stage::Live(_) => None,
        };
        let Some(key) = spec.key else { return };
        let _ = session.drop_subscription(key);
        if let Some(command) = waiting {
            let reply = protocol::error_reply(command, &CommandError::from(error.clone()));
            self.answer_subscribe(id, command, reply);
        } else {
            self.say(id, protocol::unsubscribe_push(&spec.channel, INSUFFICIENT_STATE));
        }
        self.hub.leave(key, id, std::time::Duration::ZERO);
    }

    pub(super) fn subscribe_overdue(&mut self, id: SessionId, serial: u64, now: Now) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(subscription) = session.subscription(serial) else { return };
        let Stage::Waiting { command, .. } = subscription.stage else { return };
        let key = subscription.channel;
        self.drop_subscription(id, key, now);
        let error = temporarily("the channel could not be reached in time; subscribe again");
        self.answer_subscribe(id, command, protocol::error_reply(command, &error.into()));
    }

    pub(super) fn answer_subscribe(&mut self, id: SessionId, command: u32, reply: Bytes) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.answered(command, reply);
            self.wake(id);
        }
    }

    fn drop_subscription(&mut self, id: SessionId, key: ChannelKey, now: Now) -> Option<Subscription> {
        let ended = self.sessions.get_mut(&id)?.drop_subscription(key);
        self.hub.leave(key, id, now.since_start);
        self.forget_readers();
        ended
    }

    /// Ends one subscription that cannot be continued; the SDK subscribes again and is told.
    pub(super) fn break_subscription(&mut self, id: SessionId, key: ChannelKey, now: Now) {
        let Some(name) = self.hub.get(key).map(|channel| channel.name.clone()) else { return };
        self.drop_subscription(id, key, now);
        self.say(id, protocol::unsubscribe_push(&name, INSUFFICIENT_STATE));
    }
}

/// The first publications that fit a subscribe reply, at least one.
fn first_of<'a>(pushes: impl Iterator<Item = &'a Bytes>, channel: &'a Channel) -> Vec<&'a [u8]> {
    let mut publications = Vec::new();
    let mut bytes = 0;
    for push in pushes {
        bytes += push.len();
        if bytes > FIRST_PIECE_BYTES && !publications.is_empty() {
            break;
        }
        publications.push(channel.format.publication(push));
    }
    publications
}
