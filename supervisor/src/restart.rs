//! When a child that died is started again (CONTRACTS.md 2): failed starts back off, other deaths do not.

use std::time::Duration;

/// A death this soon after READY=1 is still a failed start.
pub const STABLE_AFTER: Duration = Duration::from_secs(1);
/// Wait after the first failed start.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a death counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Before READY=1, or within a second after it.
    FailedStart,
    /// Any other.
    Other,
}

impl Death {
    /// What a death counts as so long after READY=1; `None`: before it.
    pub fn after_ready(ready_for: Option<Duration>) -> Self {
        if ready_for.is_some_and(|time| time > STABLE_AFTER) { Death::Other } else { Death::FailedStart }
    }
}

/// Failed starts in a row of one child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    failed: u32,
}

impl Restarts {
    /// Counts a death; how long to wait before the next start.
    pub fn died(&mut self, death: Death) -> Duration {
        match death {
            Death::Other => {
                self.failed = 0;
                Duration::ZERO
            }
            Death::FailedStart => {
                let wait = FIRST_WAIT.saturating_mul(1 << self.failed.min(16)).min(LONGEST_WAIT);
                self.failed = self.failed.saturating_add(1);
                wait
            }
        }
    }

    /// Failed starts in a row.
    pub fn failed(&self) -> u32 {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_starts_double_their_wait_up_to_half_a_minute_and_others_reset_it() {
        let mut restarts = Restarts::default();
        let waits: Vec<u128> = (0..11).map(|_| restarts.died(Death::FailedStart).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(restarts.died(Death::Other), Duration::ZERO);
        assert_eq!(restarts.died(Death::FailedStart).as_millis(), 100);
    }

    #[test]
    fn a_death_before_or_just_after_ready_is_a_failed_start() {
        assert_eq!(Death::after_ready(None), Death::FailedStart);
        assert_eq!(Death::after_ready(Some(Duration::from_secs(1))), Death::FailedStart);
        assert_eq!(Death::after_ready(Some(Duration::from_millis(1001))), Death::Other);
    }
}
