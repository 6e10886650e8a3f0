//! What is counted while a supervisor lives. A later one begins at 0, as counters may.

use crate::attempt::Attempt;
use std::collections::BTreeMap;
use std::time::Duration;

/// Processes that are started again and again; their series are there from the beginning.
const PROCESSES: [&str; 3] = ["runtime-a", "runtime-b", "sidecar"];
/// Ways in which attempts ended, at most: the codes of the machine and of bundles are fewer. What comes past it is
/// counted with the reason `other`.
const ENDS_AT_MOST: usize = 128;
/// Upper bounds of the buckets, in seconds: a switch takes milliseconds, and everything is settled within 30 s.
const BOUNDS_SECONDS: [f64; 13] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Action, state and reason of an attempt that has ended.
type Ending = (&'static str, &'static str, String);

/// The counters.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    starts: BTreeMap<&'static str, u64>,
    deaths: BTreeMap<&'static str, u64>,
    ended: BTreeMap<Ending, u64>,
    switches: Histogram,
    settlements: Histogram,
}

impl Counted {
    /// A process was started.
    pub fn started(&mut self, process: &'static str) {
        *self.starts.entry(process).or_default() += 1;
    }

    /// A process ended, and nobody had asked it to.
    pub fn died(&mut self, process: &'static str) {
        *self.deaths.entry(process).or_default() += 1;
    }

    /// An attempt has ended.
    pub fn ended_attempt(&mut self, attempt: &Attempt) {
        let reason = attempt.failure.as_ref().map_or("", |failure| failure.reason.as_str());
        let ending = |reason: &str| (attempt.request.kind.name(), attempt.state.name(), reason.to_owned());
        let known = self.ended.contains_key(&ending(reason)) || self.ended.len() < ENDS_AT_MOST;
        *self.ended.entry(ending(if known { reason } else { "other" })).or_default() += 1;
    }

    /// Browser traffic was held for so long, for a switch or for settling.
    pub fn held(&mut self, time: Duration, for_a_switch: bool) {
        if for_a_switch { self.switches.observe(time) } else { self.settlements.observe(time) }
    }

    /// Starts by process.
    pub fn starts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_process(&self.starts)
    }

    /// Ends that nobody had asked for, by process.
    pub fn deaths(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_process(&self.deaths)
    }

    /// Attempts that have ended, by action, state and reason.
    pub fn ended(&self) -> impl Iterator<Item = ((&str, &str, &str), u64)> {
        self.ended.iter().map(|((action, state, reason), count)| ((*action, *state, reason.as_str()), *count))
    }

    /// How long traffic was held, by what for.
    pub fn holds(&self) -> [(&'static str, &Histogram); 2] {
        [("switch", &self.switches), ("settle", &self.settlements)]
    }
}

fn by_process(counts: &BTreeMap<&'static str, u64>) -> impl Iterator<Item = (&'static str, u64)> {
    PROCESSES.into_iter().map(|process| (process, counts.get(process).copied().unwrap_or(0)))
}

/// Durations in buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// By [`BOUNDS_SECONDS`], and those past the last bound.
    counts: [u64; BOUNDS_SECONDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// Takes one in.
    pub fn observe(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS_SECONDS.iter().position(|bound| seconds <= *bound);
        self.counts[bucket.unwrap_or(BOUNDS_SECONDS.len())] += 1;
        self.sum = self.sum.saturating_add(time);
    }

    /// Each bound (`None`: infinity) with how many were no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let bounds = BOUNDS_SECONDS.into_iter().map(Some).chain([None]);
        bounds.zip(self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }))
    }

    /// All of them together.
    pub fn sum_seconds(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_the_last_one_has_all() {
        let mut histogram = Histogram::default();
        for milliseconds in [1, 2, 3, 400, 60_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let counts: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 5]);
        assert_eq!(histogram.count(), 5);
        assert!((histogram.sum_seconds() - 60.406).abs() < 1e-9);
    }
}
