//! The states of an attempt and what operators may do in them (CONTRACTS.md 2).

use serde::{Deserialize, Serialize};

/// Where an attempt stands; nothing pending is `idle`, which is no state of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its time, with a reason.
    Planned,
    /// The release is verified and unpacked into the inactive slot.
    Preparing,
    /// The slot is ready; people see the time that is left.
    Countdown,
    /// The candidate starts and follows the journal.
    Prewarming,
    /// The candidate is ready; it is probed through the browser's path before the switch.
    Admitted,
    /// Hold, fence, activate, route.
    Switching,
    /// The new runtime serves, the old one follows.
    Probation,
    /// The switch backwards.
    RollingBack,
    /// The runtime has settled; other root files wait for people.
    RootPromotionPending,
    /// New root files are put in place.
    RootPromoting,
    /// A later supervisor generation must confirm them.
    RootRestartInProgress,
    /// Ended: it serves.
    Succeeded,
    /// Ended: it does not serve, or could not be taken back.
    Failed,
    /// Ended: it served and was taken back.
    RolledBack,
    /// Ended by an operator before it served.
    Cancelled,
    /// Ended: people, or a time, did not come.
    Expired,
}

impl State {
    /// Every state.
    pub const ALL: [State; 16] = [
        State::Planned,
        State::Preparing,
        State::Countdown,
        State::Prewarming,
        State::Admitted,
        State::Switching,
        State::Probation,
        State::RollingBack,
        State::RootPromotionPending,
        State::RootPromoting,
        State::RootRestartInProgress,
        State::Succeeded,
        State::Failed,
        State::RolledBack,
        State::Cancelled,
        State::Expired,
    ];

    /// The word in every surface.
    pub fn name(self) -> &'static str {
        match self {
            State::Planned => "planned",
            State::Preparing => "preparing",
            State::Countdown => "countdown",
            State::Prewarming => "prewarming",
            State::Admitted => "admitted",
            State::Switching => "switching",
            State::Probation => "probation",
            State::RollingBack => "rolling_back",
            State::RootPromotionPending => "root_promotion_pending",
            State::RootPromoting => "root_promoting",
            State::RootRestartInProgress => "root_restart_in_progress",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::RolledBack => "rolled_back",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
        }
    }

    /// Nothing follows.
    pub fn has_ended(self) -> bool {
        self >= State::Succeeded
    }

    /// Ended, and not as anybody wished.
    pub fn is_a_failure(self) -> bool {
        matches!(self, State::Failed | State::RolledBack | State::Expired)
    }

    /// The release's runtime serves in it.
    pub fn serves(self) -> bool {
        matches!(self, State::Probation | State::RootPromotionPending | State::RootPromoting)
    }

    /// It waits for people or a time; the others work, and have one budget together.
    pub fn waits(self) -> bool {
        matches!(self, State::Planned | State::Countdown | State::RootPromotionPending)
    }

    /// See [`super::Attempts::leaves_runtimes_alone`]. A slot that is being prepared must have no runtime.
    pub fn leaves_runtimes_alone(self) -> bool {
        self.waits() || matches!(self, State::RootPromoting | State::RootRestartInProgress)
    }

    /// A request that comes now waits for the end. In the other two states the runtime has been switched and a request
    /// ends the attempt, or is refused with the reason.
    pub fn queues(self) -> bool {
        !self.has_ended() && !matches!(self, State::Probation | State::RootPromotionPending)
    }
}

/// What an operator may do with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// End it before anything is switched; a root promotion that is pending is skipped.
    Cancel,
    /// Later.
    Defer,
    /// Back to the release that served before.
    Rollback,
    /// Put the new root files in place.
    PromoteRoot,
}

impl Operation {
    /// All.
    pub const ALL: [Operation; 4] =
        [Operation::Cancel, Operation::Defer, Operation::Rollback, Operation::PromoteRoot];

    /// Why this is not possible in this state; `None`: it is.
    pub fn refused(self, state: Option<State>) -> Option<&'static str> {
        let Some(state) = state else {
            return match self {
                Operation::Rollback => None,
                _ => Some("nothing is pending"),
            };
        };
        match self {
            Operation::Cancel => cancel(state),
            Operation::Defer => match state {
                State::Planned | State::Countdown => None,
                _ => Some("only what is planned or counting down can be deferred"),
            },
            Operation::Rollback => match state {
                State::Probation | State::RootPromotionPending => None,
                State::RollingBack => Some("it is being rolled back already"),
                State::RootPromoting | State::RootRestartInProgress => Some("root files are being replaced"),
                _ => Some("nothing was switched yet; `holdfast update cancel` ends it"),
            },
            Operation::PromoteRoot => match state {
                State::RootPromotionPending => None,
                _ => Some("no root promotion is pending"),
            },
        }
    }
}

fn cancel(state: State) -> Option<&'static str> {
    match state {
        State::Switching => Some("the switch itself is under way and ends within seconds"),
        State::Probation => Some("it serves already; `holdfast rollback` takes it back"),
        State::RollingBack => Some("it is being rolled back already"),
        State::RootPromoting | State::RootRestartInProgress => {
            Some("root files are being replaced; what is not confirmed is put back by itself")
        }
        _ => None,
    }
}
