//! What may leave the runtime: nothing before what it says is durable.
//!
//! The loop decides and applies at once, so that later decisions see earlier ones; answers and publications wait
//! here until the journal has synced the record they come from.

use crate::channels::Channel;
use std::collections::{HashMap, VecDeque};

/// Answers that wait for the disk at most; past it new commands are refused with `BUSY`. Every session of a full
/// sidecar (1,000) with its 32 unanswered commands, and their repeats over a switch.
pub const WAITING_ANSWERS: usize = 64 * 1024;

/// Holds answers of type `T` and the tops of channels until their records are durable.
#[derive(Debug)]
pub struct Outbound<T> {
    durable: u64,
    answers: VecDeque<(u64, T)>,
    barriers: HashMap<Channel, VecDeque<Barrier>>,
}

/// Up to `below` a channel is visible until `lsn` is durable.
#[derive(Clone, Copy, Debug)]
struct Barrier {
    lsn: u64,
    below: u64,
}

impl<T> Outbound<T> {
    /// With everything up to `durable` on disk.
    pub fn new(durable: u64) -> Self {
        Self { durable, answers: VecDeque::new(), barriers: HashMap::new() }
    }

    /// Everything up to here is on disk.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether no more answers can wait.
    pub fn full(&self) -> bool {
        self.answers.len() >= WAITING_ANSWERS
    }

    /// The answer back if it may leave now, else it is kept until `lsn` is durable.
    pub fn answer(&mut self, lsn: u64, answer: T) -> Option<T> {
        if lsn <= self.durable {
            return Some(answer);
        }
        // Repeats of earlier commands come late but wait for less; all others are in order already.
        let place = self.answers.iter().rposition(|(other, _)| *other <= lsn).map_or(0, |index| index + 1);
        self.answers.insert(place, (lsn, answer));
        None
    }

    /// An event was placed at `offset` of `channel` by the record `lsn`: nothing from it on is visible until then.
    pub fn placed(&mut self, channel: Channel, offset: u64, lsn: u64) {
        if lsn > self.durable {
            self.barriers.entry(channel).or_default().push_back(Barrier { lsn, below: offset - 1 });
        }
    }

    /// How far `channel`, whose highest offset is `top`, may be shown.
    pub fn visible(&self, channel: &Channel, top: u64) -> u64 {
        let first = self.barriers.get(channel).and_then(VecDeque::front);
        first.map_or(top, |barrier| barrier.below.min(top))
    }

    /// Everything up to `lsn` is on disk: the answers that may leave, in the order of their records.
    pub fn advance(&mut self, lsn: u64) -> Vec<T> {
        self.durable = self.durable.max(lsn);
        let durable = self.durable;
        self.barriers.retain(|_, barriers| {
            while barriers.front().is_some_and(|barrier| barrier.lsn <= durable) {
                barriers.pop_front();
            }
            !barriers.is_empty()
        });
        let ready = self.answers.partition_point(|(lsn, _)| *lsn <= durable);
        self.answers.drain(..ready).map(|(_, answer)| answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_in_the_order_of_their_records_once_durable() {
        let mut outbound = Outbound::new(5);
        assert_eq!(outbound.answer(5, "known"), Some("known"));
        for (lsn, answer) in [(6, "a"), (8, "c"), (7, "b"), (8, "c again")] {
            assert_eq!(outbound.answer(lsn, answer), None);
        }
        assert_eq!(outbound.advance(5), Vec::<&str>::new());
        assert_eq!(outbound.advance(7), ["a", "b"]);
        assert_eq!(outbound.advance(6), Vec::<&str>::new(), "never goes back");
        assert_eq!(outbound.durable(), 7);
        assert_eq!(outbound.advance(9), ["c", "c again"]);
    }

    #[test]
    fn nothing_behind_an_event_that_is_not_durable_is_visible() {
        let mut outbound = Outbound::<()>::new(0);
        let channel = Channel::Conversation("x".into());
        outbound.placed(channel.clone(), 4, 1);
        outbound.placed(channel.clone(), 9, 2);
        assert_eq!(outbound.visible(&channel, 20), 3);
        assert_eq!(outbound.visible(&channel, 2), 2);
        assert_eq!(outbound.visible(&Channel::Tasks, 20), 20);
        outbound.advance(1);
        assert_eq!(outbound.visible(&channel, 20), 8);
        outbound.advance(2);
        assert_eq!(outbound.visible(&channel, 20), 20);
        outbound.placed(channel.clone(), 21, 2);
        assert_eq!(outbound.visible(&channel, 21), 21, "durable already");
    }

    #[test]
    fn the_bound_on_waiting_answers_is_seen() {
        let mut outbound = Outbound::new(0);
        for _ in 0..WAITING_ANSWERS {
            assert!(!outbound.full());
            outbound.answer(1, ());
        }
        assert!(outbound.full());
        assert_eq!(outbound.advance(1).len(), WAITING_ANSWERS);
        assert!(!outbound.full());
    }
}
