//! The newest publications of a channel, encoded once, whoever gets them. Pure.

use bytes::Bytes;
use std::collections::VecDeque;

/// A bounded, gap-free end of a channel's log, as push texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotTail {
    /// Offset of the first publication kept, or of the next to come when none is.
    first: u64,
    pushes: VecDeque<Bytes>,
    bytes: usize,
}

impl HotTail {
    /// An empty tail after `top`.
    pub fn after(top: u64) -> Self {
        Self { first: top + 1, pushes: VecDeque::new(), bytes: 0 }
    }

    /// Offset of the newest publication; 0 when the channel has none.
    pub fn top(&self) -> u64 {
        self.first + self.pushes.len() as u64 - 1
    }

    /// Whether everything after this offset is here (also when that is nothing).
    pub fn covers(&self, offset: u64) -> bool {
        (self.first - 1..=self.top()).contains(&offset)
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the publication after the newest, and forgets old ones past `limit_bytes`. The newest always
    /// stays, however large.
    pub fn append(&mut self, push: Bytes, limit_bytes: usize) {
        self.bytes += push.len();
        self.pushes.push_back(push);
        while self.bytes > limit_bytes && self.pushes.len() > 1 {
            let Some(old) = self.pushes.pop_front() else { break };
            self.bytes -= old.len();
            self.first += 1;
        }
    }

    /// The push of this offset.
    pub fn get(&self, offset: u64) -> Option<&Bytes> {
        let index = offset.checked_sub(self.first)?;
        self.pushes.get(usize::try_from(index).ok()?)
    }

    /// Pushes after this offset, which the tail must cover.
    pub fn since(&self, offset: u64) -> impl Iterator<Item = &Bytes> {
        let skipped = (offset + 1).saturating_sub(self.first);
        self.pushes.range(usize::try_from(skipped).unwrap_or(usize::MAX).min(self.pushes.len())..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_its_bound_the_oldest_go_and_offsets_stay_true() {
        let mut tail = HotTail::after(10);
        assert!(tail.covers(10) && !tail.covers(9) && !tail.covers(11));
        for offset in 11..=20u64 {
            tail.append(Bytes::from(offset.to_string()), 8);
        }
        assert_eq!((tail.top(), tail.bytes()), (20, 8));
        assert_eq!(tail.get(17), Some(&Bytes::from("17")));
        assert_eq!((tail.get(16), tail.get(21)), (None, None));
        assert!(tail.covers(16) && !tail.covers(15));
        assert_eq!(tail.since(18).count(), 2);
        assert_eq!(tail.since(20).count(), 0);
    }

    #[test]
    fn one_publication_larger_than_the_bound_is_still_delivered() {
        let mut tail = HotTail::after(0);
        tail.append(Bytes::from(vec![b'x'; 100]), 10);
        tail.append(Bytes::from(vec![b'y'; 100]), 10);
        assert_eq!((tail.top(), tail.bytes()), (2, 100));
        assert!(tail.covers(1));
    }
}
