//! A pace: so many at once, and one more for each interval that passes. Pure.

use std::time::{Duration, Instant};

/// Says when the next one may be. It keeps one moment, whatever the burst.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: Duration,
    /// All but one of a burst, in intervals.
    ahead: Duration,
    /// When as many as a burst may be at once again.
    rested: Option<Instant>,
}

impl Pace {
    /// At most `burst` (from 1) at once, then one an interval.
    pub fn new(burst: u32, interval: Duration) -> Self {
        Self { interval, ahead: interval * burst.saturating_sub(1), rested: None }
    }

    /// There was one at `now`.
    pub fn count(&mut self, now: Instant) {
        let from = self.rested.map_or(now, |rested| rested.max(now));
        self.rested = Some(from + self.interval);
    }

    /// From when on there may be another; `None`: now and ever since.
    pub fn next(&self) -> Option<Instant> {
        self.rested.and_then(|rested| rested.checked_sub(self.ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(5);

    fn may(pace: &Pace, at: Instant) -> bool {
        pace.next().is_none_or(|next| next <= at)
    }

    #[test]
    fn a_burst_comes_at_once_and_then_one_an_interval() {
        let (mut pace, begin) = (Pace::new(3, INTERVAL), Instant::now());
        for _ in 0..3 {
            assert!(may(&pace, begin));
            pace.count(begin);
        }
        assert!(!may(&pace, begin));
        assert_eq!(pace.next(), Some(begin + INTERVAL));
        pace.count(begin + INTERVAL);
        assert_eq!(pace.next(), Some(begin + 2 * INTERVAL));
        let rested = begin + 10 * INTERVAL;
        for _ in 0..3 {
            assert!(may(&pace, rested), "what was not used comes back, up to the burst");
            pace.count(rested);
        }
        assert!(!may(&pace, rested));
    }

    #[test]
    fn without_a_burst_each_waits_for_the_interval() {
        let (mut pace, begin) = (Pace::new(1, INTERVAL), Instant::now());
        pace.count(begin);
        assert_eq!(pace.next(), Some(begin + INTERVAL));
    }

    #[test]
    fn the_rate_is_kept_whenever_they_come() {
        let (mut pace, begin) = (Pace::new(8, INTERVAL), Instant::now());
        let mut at = begin;
        for count in 0..200u32 {
            at = pace.next().map_or(at, |next| next.max(at));
            let least = INTERVAL * count.saturating_sub(7);
            assert!(at - begin >= least, "{count} after {:?}", at - begin);
            pace.count(at);
            at += Duration::from_millis(u64::from(count % 7));
        }
    }
}
