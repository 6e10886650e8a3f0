//! The loop breaker: a release whose starts go on failing gives way to the other slot's (CONTRACTS.md 2).
//!
//! Pure; time comes in.

use holdfast_shared::slot::Slot;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many failed starts within [`WINDOW`] are too many.
pub const FAILED_STARTS: usize = 3;
/// See [`FAILED_STARTS`].
pub const WINDOW: Duration = Duration::from_secs(300);

/// The last failed starts of each slot.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    failed_at: [VecDeque<Instant>; 2],
}

impl Breaker {
    /// A start failed.
    pub fn failed(&mut self, slot: Slot, now: Instant) {
        let failed = &mut self.failed_at[slot as usize];
        failed.push_back(now);
        if failed.len() > FAILED_STARTS {
            failed.pop_front();
        }
    }

    /// Nothing can be started from the slot as it is: no further tries are needed to know.
    pub fn invalid(&mut self, slot: Slot, now: Instant) {
        (0..FAILED_STARTS).for_each(|_| self.failed(slot, now));
    }

    /// Whether the slot's release has failed too often.
    pub fn is_broken(&self, slot: Slot, now: Instant) -> bool {
        let failed = &self.failed_at[slot as usize];
        let within = |first: &Instant| now.saturating_duration_since(*first) < WINDOW;
        failed.len() >= FAILED_STARTS && failed.front().is_some_and(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failed_starts_in_five_minutes_are_too_many() {
        let begin = Instant::now();
        let cases: [(&[u64], u64, bool); 6] = [
            (&[], 0, false),
            (&[0, 1], 1, false),
            (&[0, 1, 2], 2, true),
            (&[0, 1, 299], 299, true),
            (&[0, 1, 299], 300, false),
            (&[0, 200, 400, 500], 500, false),
        ];
        for (failed, now, broken) in cases {
            let mut breaker = Breaker::default();
            failed.iter().for_each(|at| breaker.failed(Slot::A, begin + Duration::from_secs(*at)));
            assert_eq!(breaker.is_broken(Slot::A, begin + Duration::from_secs(now)), broken, "{failed:?}");
            assert!(!breaker.is_broken(Slot::B, begin));
        }
    }

    #[test]
    fn an_invalid_slot_is_broken_at_once() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.invalid(Slot::B, now);
        assert!(breaker.is_broken(Slot::B, now) && !breaker.is_broken(Slot::A, now));
    }
}
