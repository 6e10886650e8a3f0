//! The numbers of an attempt (CONTRACTS.md 2), in milliseconds.

use super::{OnLowMemory, Request, State};

/// Limits of an attempt. What is a setting comes from there; the rest is as in [`Rules::default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Good probes in a row that admission and probation ask for.
    pub good_probes: u32,
    /// Verifying and unpacking.
    pub preparing_ms: i64,
    /// A candidate is ready by then, and admitted in as long again.
    pub prewarming_ms: i64,
    /// A switch with settling, forwards or backwards.
    pub switching_ms: i64,
    /// Probation ends as a failure after so long without the good probes.
    pub probation_ms: i64,
    /// An update's runtime serves at least so long before probation ends.
    pub stability_ms: i64,
    /// A root promotion waits for people.
    pub root_pending_ms: i64,
    /// Root files are promoted without people.
    pub auto_promote: bool,
    /// New root files are in place, and confirmed in as long again.
    pub root_restart_ms: i64,
    /// All states that work, together.
    pub work_ms: i64,
    /// Everything before the candidate starts, deferrals included.
    pub wait_ms: i64,
    /// Between two updates.
    pub minimum_period_ms: i64,
    /// What people see before an update.
    pub countdown_ms: i64,
    /// What an operator's `defer` adds.
    pub defer_ms: i64,
    /// An attempt is put off once by itself, for so long.
    pub automatic_defer_ms: i64,
    /// Where two runtimes do not fit into memory.
    pub on_low_memory: OnLowMemory,
}

const SECOND: i64 = 1_000;
const DAY: i64 = 86_400 * SECOND;

impl Default for Rules {
    fn default() -> Self {
        Self {
            good_probes: 3,
            preparing_ms: 900 * SECOND,
            prewarming_ms: 60 * SECOND,
            switching_ms: 30 * SECOND,
            probation_ms: 60 * SECOND,
            stability_ms: 10 * SECOND,
            root_pending_ms: 7 * DAY,
            auto_promote: false,
            root_restart_ms: 180 * SECOND,
            work_ms: 1_800 * SECOND,
            wait_ms: 7 * DAY,
            minimum_period_ms: 300 * SECOND,
            countdown_ms: 60 * SECOND,
            defer_ms: 300 * SECOND,
            automatic_defer_ms: 60 * SECOND,
            on_low_memory: OnLowMemory::default(),
        }
    }
}

impl Rules {
    /// The longest that a state lasts; 0 for those that have ended.
    pub fn longest_ms(&self, state: State) -> i64 {
        match state {
            State::Planned => self.wait_ms,
            State::Preparing => self.preparing_ms,
            State::Countdown => self.countdown_ms,
            State::Prewarming | State::Admitted => self.prewarming_ms,
            // A runtime that starts only when the other has been stopped is given its start, too.
            State::Switching | State::RollingBack => self.switching_ms + self.prewarming_ms,
            State::Probation => self.probation_ms,
            State::RootPromotionPending => self.root_pending_ms,
            State::RootPromoting | State::RootRestartInProgress => self.root_restart_ms,
            _ => 0,
        }
    }

    /// Whether the budget of the states that work ends this state early. A switch and a root promotion are short and
    /// must not be left in the middle.
    pub fn is_budgeted(state: State) -> bool {
        matches!(state, State::Preparing | State::Prewarming | State::Admitted | State::Probation)
    }

    /// How long the runtime must have served before probation may end.
    pub fn stability_of(&self, request: &Request) -> i64 {
        if request.is_update() { self.stability_ms } else { 0 }
    }
}
