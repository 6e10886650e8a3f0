//! The channels in use on a link: cursors over their logs, in the order of their turns.

use crate::channels::Channel;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// The first pause before a channel that the operating system would not read is tried again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest such pause: a subscriber waits so much longer than the disk at most.
const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// The channels in use on a link.
#[derive(Default)]
pub(super) struct InUse {
    pub(super) by_no: BTreeMap<u32, Cursor>,
    pub(super) by_channel: BTreeMap<Channel, BTreeSet<u32>>,
    /// Channels that may have more than their cursor's offset, in the order of their turns.
    pub(super) news: VecDeque<u32>,
    /// Channels with news that could not be read, by when they are tried again.
    pub(super) stalled: BTreeSet<(Instant, u32)>,
}

/// A channel in use: how far it was sent.
pub(super) struct Cursor {
    /// It is in `news` or `stalled`.
    pub(super) news: bool,
    /// Times in a row that it could not be read.
    pub(super) refusals: u32,
    pub(super) channel: Channel,
    pub(super) epoch: String,
    pub(super) offset: u64,
}

impl InUse {
    /// Takes a channel into use, in place of one with its number.
    pub(super) fn insert(&mut self, no: u32, cursor: Cursor) {
        self.remove(no);
        self.by_channel.entry(cursor.channel.clone()).or_default().insert(no);
        self.by_no.insert(no, cursor);
        self.news.push_back(no);
    }

    /// It could not be read; tried again later.
    pub(super) fn stall(&mut self, no: u32, now: Instant) {
        let Some(cursor) = self.by_no.get_mut(&no) else { return };
        cursor.news = true;
        cursor.refusals = cursor.refusals.saturating_add(1);
        self.stalled.insert((now + retry_pause(cursor.refusals), no));
    }

    /// What is due has news again.
    pub(super) fn retry_due(&mut self, now: Instant) {
        while let Some((_, no)) = self.stalled.first().copied().filter(|(due, _)| *due <= now) {
            self.stalled.pop_first();
            self.news.push_back(no);
        }
    }

    /// It is in use no longer.
    pub(super) fn remove(&mut self, no: u32) {
        let Some(cursor) = self.by_no.remove(&no) else { return };
        if cursor.news {
            self.news.retain(|other| *other != no);
            self.stalled.retain(|(_, other)| *other != no);
        }
        if let Some(numbers) = self.by_channel.get_mut(&cursor.channel) {
            numbers.remove(&no);
            if numbers.is_empty() {
                self.by_channel.remove(&cursor.channel);
            }
        }
    }
}

/// Before a channel is tried again that could not be read so many times in a row.
fn retry_pause(refusals: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << refusals.clamp(1, 16).saturating_sub(1)).min(RETRY_LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_tried_again_later_and_later_and_nothing_else_waits() {
        let mut in_use = InUse::default();
        for no in [1, 2] {
            let (channel, epoch) = (Channel::Conversation(no.to_string()), String::new());
            in_use.insert(no, Cursor { channel, epoch, offset: 7, news: true, refusals: 0 });
        }
        let begun = Instant::now();
        assert_eq!(in_use.news.pop_front(), Some(1));
        in_use.stall(1, begun);
        in_use.retry_due(begun);
        assert_eq!(in_use.news, [2], "not at once");
        in_use.retry_due(begun + RETRY_FIRST);
        assert_eq!(in_use.news, [2, 1]);
        assert_eq!(in_use.by_no[&1].offset, 7, "from where it was");
        assert!(in_use.stalled.is_empty());
        in_use.stall(2, begun);
        in_use.remove(2);
        in_use.retry_due(begun + RETRY_LONGEST);
        assert_eq!(in_use.news, [1], "no longer in use");
        let pauses = [1, 2, 6, 7, u32::MAX].map(|refusals| retry_pause(refusals).as_millis());
        assert_eq!(pauses, [50, 100, 1600, 2000, 2000]);
    }
}
