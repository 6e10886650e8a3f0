//! All who follow a channel, when something happens to it.

use super::{Effect, Exchange, Now};
use crate::hub::{Channel, ChannelKey};
use crate::protocol::{self, CommandError, INSUFFICIENT_STATE};
use crate::session::{Session, SessionId, Stage};
use holdfast_shared::error::ApiError;

impl Exchange {
    /// A channel's log is another one: those who follow it are told.
    pub(super) fn break_followers(&mut self, key: ChannelKey, now: Now) {
        for id in self.subscribers(key) {
            let live = self.sessions.get(&id).is_some_and(|session| is_live(session, key));
            if live {
                self.break_subscription(id, key, now);
            }
        }
    }

    /// Those who wait for this channel are served.
    pub(super) fn serve_waiting(&mut self, key: ChannelKey) {
        for id in self.subscribers(key) {
            let waiting = self.sessions.get(&id).and_then(|session| {
                session.subscriptions.iter().find(|subscription| subscription.channel == key)
            });
            if let Some(serial) = waiting.map(|subscription| subscription.serial) {
                self.serve(id, serial);
            }
        }
    }

    /// The runtime refuses a channel: who waits is told why, who followed is to subscribe again.
    pub(super) fn refuse_channel(&mut self, key: ChannelKey, channel: &Channel, error: &ApiError) {
        for id in &channel.subscribers {
            let ended = self.sessions.get_mut(id).and_then(|session| session.drop_subscription(key));
            match ended.map(|subscription| subscription.stage) {
                Some(Stage::Waiting { command, .. }) => {
                    let reply = protocol::error_reply(command, &CommandError::from(error.clone()));
                    self.answer_subscribe(*id, command, reply);
                }
                Some(Stage::Live(_)) => {
                    self.say(*id, protocol::unsubscribe_push(&channel.name, INSUFFICIENT_STATE));
                }
                None => {}
            }
        }
        self.forget_readers();
    }

    pub(super) fn wake_followers(&mut self, key: ChannelKey) {
        let (hub, sessions, effects) = (&self.hub, &mut self.sessions, &mut self.effects);
        let Some(channel) = hub.get(key) else { return };
        for id in &channel.subscribers {
            if let Some(session) = sessions.get_mut(id)
                && !std::mem::replace(&mut session.awake, true)
            {
                effects.push(Effect::Wake(*id));
            }
        }
    }

    pub(super) fn subscribers(&self, key: ChannelKey) -> Vec<SessionId> {
        self.hub.get(key).map(|channel| channel.subscribers.iter().copied().collect()).unwrap_or_default()
    }
}

fn is_live(session: &Session, key: ChannelKey) -> bool {
    let mut of_channel = session.subscriptions.iter().filter(|subscription| subscription.channel == key);
    of_channel.any(|subscription| matches!(subscription.stage, Stage::Live(_)))
}
