//! Channels in use: who follows each, what the runtime has been told of it, its hot tail. Pure.

mod channel;
mod local;
mod wire;

use crate::protocol::PushFormat;
use crate::session::SessionId;
pub use channel::{Channel, Log};
use holdfast_shared::link::Caller;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// Channels in use at most, all sessions together.
pub const CHANNELS: usize = 4096;
/// Bytes of all hot tails together; with many channels each gets less than its own bound.
pub const HOT_TAILS_BYTES: usize = 256 * 1024 * 1024;
/// How long a channel without subscribers stays in use: a reload of a page finds its hot tail.
pub const LINGER: Duration = Duration::from_secs(10);

/// Names a channel in use.
pub type ChannelKey = u32;

/// Too many channels.
#[derive(Debug, PartialEq, Eq)]
pub struct TooManyChannels;

/// What became of a channel.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Its log can be followed now for the first time.
    Ready(ChannelKey),
    /// It goes on where it was.
    Resumed,
    /// Its log is another one: what was subscribed to before cannot be continued.
    Broken(ChannelKey),
    /// It got publications.
    Grown(ChannelKey),
    /// Nothing.
    None,
}

/// All channels in use.
#[derive(Debug, Default)]
pub struct Hub {
    channels: BTreeMap<ChannelKey, Channel>,
    by_name: HashMap<String, ChannelKey>,
    by_number: HashMap<u32, ChannelKey>,
    next_key: ChannelKey,
    next_number: u32,
    to_subscribe: VecDeque<ChannelKey>,
    to_unsubscribe: VecDeque<u32>,
    hot_tail_bytes: usize,
}

impl Hub {
    /// A hub whose tails have at most so many bytes each.
    pub fn new(hot_tail_bytes: usize) -> Self {
        Self { hot_tail_bytes, ..Self::default() }
    }

    /// The channel of this key.
    pub fn get(&self, key: ChannelKey) -> Option<&Channel> {
        self.channels.get(&key)
    }

    /// The channel of this name, if it is in use.
    pub fn by_name(&self, name: &str) -> Option<&Channel> {
        self.channels.get(self.by_name.get(name)?)
    }

    /// Channels in use.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether none is in use.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// A session wants to follow this channel.
    ///
    /// # Errors
    /// [`TooManyChannels`] past [`CHANNELS`].
    pub fn join(
        &mut self,
        name: &str,
        session: SessionId,
        caller: &Caller,
    ) -> Result<ChannelKey, TooManyChannels> {
        let key = match self.by_name.get(name) {
            Some(key) => *key,
            None if self.channels.len() >= CHANNELS => return Err(TooManyChannels),
            None => self.create(name, caller.clone(), false),
        };
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.subscribers.insert(session);
            channel.unused_since = None;
        }
        Ok(key)
    }

    fn create(&mut self, name: &str, first_caller: Caller, local: bool) -> ChannelKey {
        self.next_key += 1;
        let channel = Channel {
            name: name.to_owned(),
            format: PushFormat::new(name),
            subscribers: BTreeSet::new(),
            log: None,
            first_caller,
            number: None,
            unused_since: None,
            local,
        };
        self.channels.insert(self.next_key, channel);
        self.by_name.insert(name.to_owned(), self.next_key);
        if !local {
            self.to_subscribe.push_back(self.next_key);
        }
        self.next_key
    }

    /// A session follows this channel no longer.
    pub fn leave(&mut self, key: ChannelKey, session: SessionId, now: Duration) {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.subscribers.remove(&session);
            if channel.subscribers.is_empty() && !channel.local {
                channel.unused_since = Some(now);
            }
        }
    }

    /// Forgets channels unused for [`LINGER`].
    pub fn forget_unused(&mut self, now: Duration) {
        let unused = |channel: &Channel| channel.unused_since.is_some_and(|since| since + LINGER <= now);
        let gone: Vec<ChannelKey> =
            self.channels.iter().filter(|(_, channel)| unused(channel)).map(|(key, _)| *key).collect();
        gone.into_iter().for_each(|key| self.remove(key));
    }

    fn remove(&mut self, key: ChannelKey) {
        if let Some(channel) = self.channels.remove(&key) {
            self.by_name.remove(&channel.name);
            if let Some(number) = channel.number {
                self.by_number.remove(&number);
                self.to_unsubscribe.push_back(number);
            }
            self.to_subscribe.retain(|other| *other != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use holdfast_shared::link::{Publication, Publications, ToRuntime};
    use holdfast_shared::token::TokenRole;

    fn caller() -> Caller {
        Caller {
            principal: "operator".into(),
            role: TokenRole::Operator,
            focus: None,
            scope: Default::default(),
        }
    }

    fn publications(no: u32, offsets: std::ops::RangeInclusive<u64>) -> Publications {
        let publication = |offset| Publication { offset, data: Bytes::from_static(b"{}") };
        Publications { no, publications: offsets.map(publication).collect() }
    }

    fn subscribe(hub: &mut Hub) -> (u32, Option<u64>) {
        match hub.next_to_send() {
            Some(ToRuntime::Subscribe { no, offset, .. }) => (no, offset),
            other => panic!("{other:?}"),
        }
    }

    fn live() -> (Hub, ChannelKey) {
        let mut hub = Hub::new(1000);
        let key = hub.join("c", 1, &caller()).unwrap();
        assert_eq!(subscribe(&mut hub), (1, None));
        assert_eq!(hub.subscribed(1, "e", 5, true), Change::Ready(key));
        (hub, key)
    }

    fn top(hub: &Hub, key: ChannelKey) -> u64 {
        hub.get(key).unwrap().log.as_ref().unwrap().tail.top()
    }

    #[test]
    fn only_what_follows_is_taken_and_a_gap_is_fetched() {
        let (mut hub, key) = live();
        assert_eq!(hub.published(publications(1, 3..=7)), Change::Grown(key));
        assert_eq!(top(&hub, key), 7);
        assert_eq!(hub.published(publications(1, 6..=7)), Change::None);
        assert_eq!(hub.published(publications(1, 9..=9)), Change::None);
        assert!(matches!(hub.next_to_send(), Some(ToRuntime::Unsubscribe { no: 1 })));
        assert_eq!(subscribe(&mut hub), (2, Some(7)));
        assert_eq!(hub.published(publications(1, 8..=8)), Change::None, "the old number means nothing");
        assert_eq!(hub.subscribed(2, "e", 7, true), Change::Resumed);
        assert_eq!(hub.published(publications(2, 8..=9)), Change::Grown(key));
    }

    #[test]
    fn a_new_link_resumes_and_another_epoch_breaks() {
        let (mut hub, key) = live();
        hub.link_changed();
        assert_eq!(hub.published(publications(1, 6..=6)), Change::None);
        assert_eq!(subscribe(&mut hub), (1, Some(5)));
        assert_eq!(hub.subscribed(1, "e", 5, true), Change::Resumed);
        hub.link_changed();
        let _ = subscribe(&mut hub);
        assert_eq!(hub.subscribed(1, "f", 3, false), Change::Broken(key));
        assert_eq!(top(&hub, key), 3);
        assert_eq!(hub.reset(1), Change::Broken(key));
        assert_eq!(subscribe(&mut hub), (2, None));
    }

    #[test]
    fn an_unused_channel_lingers_and_then_is_given_up() {
        let (mut hub, key) = live();
        hub.leave(key, 1, Duration::ZERO);
        hub.forget_unused(LINGER / 2);
        assert_eq!(hub.join("c", 2, &caller()), Ok(key));
        hub.forget_unused(LINGER * 2);
        hub.leave(key, 2, LINGER * 2);
        hub.forget_unused(LINGER * 3);
        assert!(matches!(hub.next_to_send(), Some(ToRuntime::Unsubscribe { no: 1 })));
        assert!(hub.is_empty());
    }

    #[test]
    fn past_its_bound_no_further_channel_comes_into_use() {
        let mut hub = Hub::new(1000);
        for index in 0..CHANNELS {
            hub.join(&format!("c{index}"), 1, &caller()).unwrap();
        }
        assert_eq!(hub.join("more", 1, &caller()), Err(TooManyChannels));
        assert!(hub.join("c1", 2, &caller()).is_ok());
    }

    #[test]
    fn with_many_channels_each_hot_tail_gets_less() {
        let mut hub = Hub::new(HOT_TAILS_BYTES);
        for index in 0..CHANNELS {
            hub.join(&format!("c{index}"), 1, &caller()).unwrap();
        }
        let (no, _) = subscribe(&mut hub);
        assert!(matches!(hub.subscribed(no, "e", 0, true), Change::Ready(_)));
        let share = HOT_TAILS_BYTES / CHANNELS;
        let data = Bytes::from(format!("\"{}\"", "x".repeat(share / 4)));
        let publications = (1..=100).map(|offset| Publication { offset, data: data.clone() }).collect();
        let Change::Grown(key) = hub.published(Publications { no, publications }) else { panic!() };
        let log = hub.get(key).unwrap().log.as_ref().unwrap();
        assert!(log.tail.top() == 100 && log.tail.bytes() <= share);
    }

    #[test]
    fn the_local_channel_continues_or_starts_anew() {
        let mut hub = Hub::new(1000);
        let events = |range| publications(0, range).publications;
        let Change::Ready(key) = hub.local("node", caller(), "j", events(4..=6)) else { panic!() };
        assert_eq!(hub.local("node", caller(), "j", events(5..=8)), Change::Grown(key));
        assert_eq!(hub.local("node", caller(), "j", vec![]), Change::None);
        assert_eq!(hub.local("node", caller(), "j", events(7..=8)), Change::None, "known already");
        assert_eq!(top(&hub, key), 8);
        assert_eq!(hub.local("node", caller(), "j", events(10..=11)), Change::Broken(key));
        assert_eq!(hub.local("node", caller(), "k", events(1..=1)), Change::Broken(key));
        assert_eq!(top(&hub, key), 1);
        hub.link_changed();
        assert!(hub.next_to_send().is_none(), "not the runtime's");
    }
}
