//! Channels on the link: what the runtime is told of them, and what it says.

use super::{Change, Channel, ChannelKey, HOT_TAILS_BYTES, Hub, Log};
use crate::hot_tail::HotTail;
use crate::protocol::PushFormat;
use bytes::Bytes;
use holdfast_shared::link::{Publication, Publications, ToRuntime};

impl Hub {
    /// The link is gone, or was replaced: numbers of channels mean nothing any more; all are to be
    /// subscribed to again, each from its last offset.
    pub fn link_changed(&mut self) {
        self.by_number.clear();
        self.to_unsubscribe.clear();
        self.next_number = 0;
        self.channels.values_mut().for_each(|channel| channel.number = None);
        self.to_subscribe =
            self.channels.iter().filter(|(_, channel)| !channel.local).map(|(key, _)| *key).collect();
    }

    /// The next message to the runtime about channels.
    pub fn next_to_send(&mut self) -> Option<ToRuntime> {
        if let Some(no) = self.to_unsubscribe.pop_front() {
            return Some(ToRuntime::Unsubscribe { no });
        }
        let key = self.to_subscribe.pop_front()?;
        let channel = self.channels.get_mut(&key)?;
        self.next_number += 1;
        let no = self.next_number;
        channel.number = Some(no);
        self.by_number.insert(no, key);
        let log = channel.log.as_ref();
        Some(ToRuntime::Subscribe {
            no,
            channel: channel.name.clone(),
            epoch: log.map(|log| log.epoch.clone()).unwrap_or_default(),
            offset: log.map(|log| log.tail.top()),
            caller: channel.first_caller.clone(),
        })
    }

    /// Whether there is something to send.
    pub fn has_unsent(&self) -> bool {
        !self.to_subscribe.is_empty() || !self.to_unsubscribe.is_empty()
    }

    /// The runtime publishes this channel from `from` + 1 on.
    pub fn subscribed(&mut self, no: u32, epoch: &str, from: u64, recovered: bool) -> Change {
        let Some((key, channel)) = self.numbered(no) else { return Change::None };
        let had = channel.log.as_ref().map(|log| (log.epoch.as_str(), log.tail.top()));
        let resumed = recovered && had == Some((epoch, from));
        let first = had.is_none();
        if !resumed {
            channel.log = Some(Log { epoch: epoch.to_owned(), tail: HotTail::after(from) });
        }
        match (resumed, first) {
            (true, _) => Change::Resumed,
            (_, true) => Change::Ready(key),
            _ => Change::Broken(key),
        }
    }

    /// Takes publications: only what follows the last offset; lower ones are dropped, and above a gap the
    /// channel is subscribed to again from where it is.
    pub fn published(&mut self, publications: Publications) -> Change {
        let limit = self.hot_tail_bytes.min(HOT_TAILS_BYTES / self.channels.len().max(1));
        let no = publications.no;
        let Some((key, channel)) = self.numbered(no) else { return Change::None };
        let Some(log) = channel.log.as_mut() else { return Change::None };
        let before = log.tail.top();
        let complete = append(&channel.format, log, publications.publications, limit);
        let grown = log.tail.top() > before;
        if !complete {
            channel.number = None;
            self.by_number.remove(&no);
            self.to_unsubscribe.push_back(no);
            self.to_subscribe.push_back(key);
        }
        if grown { Change::Grown(key) } else { Change::None }
    }

    /// The channel's epoch changed: it is subscribed to anew.
    pub fn reset(&mut self, no: u32) -> Change {
        let Some((key, channel)) = self.numbered(no) else { return Change::None };
        channel.log = None;
        channel.number = None;
        self.by_number.remove(&no);
        self.to_subscribe.push_back(key);
        Change::Broken(key)
    }

    /// The runtime refuses the channel: it is forgotten. Its subscribers are given.
    pub fn refused(&mut self, no: u32) -> Option<(ChannelKey, Channel)> {
        let key = self.by_number.remove(&no)?;
        let channel = self.channels.remove(&key)?;
        self.by_name.remove(&channel.name);
        Some((key, channel))
    }

    fn numbered(&mut self, no: u32) -> Option<(ChannelKey, &mut Channel)> {
        let key = *self.by_number.get(&no)?;
        Some((key, self.channels.get_mut(&key)?))
    }
}

/// Encodes and appends what follows the tail; `false` at a gap, with nothing behind it taken. Publications of
/// one message lie in one allocation.
pub(super) fn append(
    format: &PushFormat,
    log: &mut Log,
    publications: Vec<Publication>,
    limit: usize,
) -> bool {
    let mut text = Vec::new();
    let mut ends = Vec::with_capacity(publications.len());
    let mut top = log.tail.top();
    let mut complete = true;
    for publication in publications {
        if publication.offset > top + 1 {
            complete = false;
            break;
        }
        if publication.offset == top + 1 {
            format.encode(publication.offset, &publication.data, &mut text);
            ends.push(text.len());
            top += 1;
        }
    }
    let text = Bytes::from(text);
    let mut start = 0;
    for end in ends {
        log.tail.append(text.slice(start..end), limit);
        start = end;
    }
    complete
}
