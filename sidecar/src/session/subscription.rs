//! What a session is subscribed to, and which of its subscriptions reads history. Pure.

use super::Session;
use crate::cursor::Cursor;
use crate::hub::ChannelKey;
use crate::protocol::Position;

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

impl Session {
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
