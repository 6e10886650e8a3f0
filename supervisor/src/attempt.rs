//! A change of the serving runtime that people asked for, from the request to its end (CONTRACTS.md 2, "Update
//! attempt").
//!
//! Pure. What is journaled is [`Attempts`], a fold of [`Change`]s; [`step::step`] says which changes follow from an
//! event and what is to be done once they are journaled. Who is active is decided by [`crate::transition`]; here is
//! only when a switch may begin and whether what came of it is kept.

pub mod event;
pub mod mode;
mod moves;
pub mod reason;
mod recover;
pub mod request;
pub mod rules;
pub mod state;
pub mod step;

pub use event::{Action, Event, Prepared, Refused};
pub use mode::{Mode, OnLowMemory};
pub use reason::{Failure, PlannedReason, Reason};
pub use request::{Kind, Request, Subsequent};
pub use rules::Rules;
pub use state::{Operation, State};
pub use step::{Step, step};

use holdfast_shared::slot::Slot;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Attempts that have ended and are remembered.
pub const ENDED_KEPT: usize = 50;
/// States of one attempt that are remembered: more than an attempt without deferrals passes through. The first one
/// stays, of the others the oldest go.
pub const STEPS_KEPT: usize = 32;

/// Everything the supervisor's journal keeps of attempts; nothing pending is state `idle`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempts {
    /// The one under way.
    pub current: Option<Attempt>,
    /// The one request that waits for its end.
    pub subsequent: Option<Subsequent>,
    /// The last that have ended, oldest first.
    pub ended: VecDeque<Attempt>,
    /// Number of the last one.
    pub numbered: u64,
    /// When the last update ended, unix milliseconds.
    pub last_update_at: Option<i64>,
}

/// One attempt. Times are unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1, never used again.
    pub number: u64,
    /// What was asked for.
    pub request: Request,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub entered_at: i64,
    /// When this state is left at the latest; a time of the past in states that have ended.
    pub leaves_at: i64,
    /// Milliseconds spent in states that work, before this one.
    pub worked_ms: i64,
    /// It was put off once by itself.
    pub deferred: bool,
    /// How the runtime is changed.
    #[serde(default)]
    pub mode: Mode,
    /// The release is in its slot.
    pub prepared: bool,
    /// The release brings other root files than those in use.
    pub root_files: bool,
    /// Why it is planned and not under way.
    pub planned_reason: Option<PlannedReason>,
    /// What failed first.
    pub failure: Option<Failure>,
    /// What failed in taking it back.
    pub rollback_failure: Option<Failure>,
    /// The states it went through.
    pub steps: VecDeque<Entered>,
}

/// A state that was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entered {
    /// The state.
    pub state: State,
    /// When, unix milliseconds.
    pub at: i64,
}

/// A change, as it is journaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The attempt is now so.
    Attempt(Box<Attempt>),
    /// The request that waits is now this one.
    Subsequent(Option<Subsequent>),
}

impl Attempts {
    /// Takes a change; the live path and every later reading of the journal do the same.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::Subsequent(subsequent) => self.subsequent = subsequent,
            Change::Attempt(attempt) => {
                self.numbered = self.numbered.max(attempt.number);
                if !attempt.state.has_ended() {
                    self.current = Some(*attempt);
                    return;
                }
                self.current = None;
                if attempt.request.kind == Kind::Update && attempt.state != State::Cancelled {
                    self.last_update_at = Some(attempt.entered_at);
                }
                self.ended.push_back(*attempt);
                if self.ended.len() > ENDED_KEPT {
                    self.ended.pop_front();
                }
            }
        }
    }

    /// The state of the one under way; `None`: idle.
    pub fn state(&self) -> Option<State> {
        self.current.as_ref().map(|attempt| attempt.state)
    }

    /// The word for it in every surface. A failure stays visible until something else is asked for.
    pub fn name(&self) -> &'static str {
        let failed = self.last().map(|attempt| attempt.state).filter(|state| state.is_a_failure());
        self.state().or(failed).map_or("idle", State::name)
    }

    /// The last one that has ended.
    pub fn last(&self) -> Option<&Attempt> {
        self.ended.back()
    }

    /// Nothing of it touches a runtime now: the inactive slot is as without an attempt, and what was switched to is
    /// kept.
    pub fn leaves_runtimes_alone(&self) -> bool {
        self.state().is_none_or(State::leaves_runtimes_alone)
    }

    /// A request now waits for the end of the one under way.
    pub fn queues(&self) -> bool {
        self.state().is_some_and(State::queues)
    }

    /// What is in this slot came with an update that is still to be switched to, or did not succeed: it follows nobody as
    /// a standby, from where it could take over without having been admitted.
    pub fn distrusts(&self, slot: Slot) -> bool {
        let newest = self.current.as_ref().or(self.ended.iter().rev().find(|one| one.request.slot == slot));
        newest.is_some_and(|one| one.request.is_update() && one.request.slot == slot && one.is_untried())
    }

    /// The slot whose runtime is awaited.
    pub fn starting(&self) -> Option<Slot> {
        let attempt = self.current.as_ref()?;
        match attempt.state {
            State::Prewarming => Some(attempt.request.slot),
            State::RollingBack => Some(attempt.request.slot.other()),
            _ => None,
        }
    }

    /// The candidate's slot, while a candidate warms or is checked.
    pub fn warming(&self) -> Option<Slot> {
        let attempt = self.current.as_ref()?;
        matches!(attempt.state, State::Prewarming | State::Admitted).then_some(attempt.request.slot)
    }

    /// What an operator may do now (CONTRACTS.md 2).
    pub fn operations(&self) -> Vec<Operation> {
        let allowed = |operation: &Operation| operation.refused(self.state()).is_none();
        Operation::ALL.into_iter().filter(allowed).collect()
    }
}

impl Attempt {
    /// Its name in every surface.
    pub fn id(&self) -> String {
        format!("at-{}", self.number)
    }

    /// As operators see it.
    pub fn told(&self) -> Value {
        let (failure, back) = (self.failure.as_ref(), self.rollback_failure.as_ref());
        json!({
            "attempt": self.id(),
            "action": self.request.kind,
            "slot": self.request.slot,
            "target_version": self.request.release,
            "state": self.state,
            "requested_at": self.request.requested_at,
            "updated_at": self.entered_at,
            "ended_at": self.state.has_ended().then_some(self.entered_at),
            "planned_reason": self.planned_reason,
            "scheduled_for": self.scheduled_for(),
            "deferred": self.deferred,
            "transition_mode": self.mode,
            "failure_reason": failure.map(|failure| &failure.reason),
            "failed_stage": failure.map(|failure| failure.stage),
            "message": failure.map(|failure| &failure.message),
            "rollback_failure": back,
            "steps": self.steps,
        })
    }

    /// It was dropped because what it asked for serves already.
    pub fn is_deduplicated(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.reason == Reason::Deduplicated.code())
    }

    /// Its release may be in its slot and has not shown that it serves, or has shown that it does not.
    fn is_untried(&self) -> bool {
        let reason = self.failure.as_ref().map_or("", |failure| failure.reason.as_str());
        match self.state {
            State::Planned | State::Countdown => self.prepared,
            State::Cancelled => reason != Reason::Deduplicated.code(),
            // What was refused before it was unpacked has left the slot as it was.
            State::Failed => match self.prepared {
                true => !self.steps.iter().any(|step| step.state.serves()),
                false => ["self_check_failed", "not_admitted"].contains(&reason),
            },
            State::RolledBack => reason != Reason::OperatorRollback.code(),
            _ => false,
        }
    }

    /// How it ended, in words.
    pub fn ending(&self) -> String {
        let why =
            self.failure.as_ref().map_or_else(String::new, |one| format!("{}: {}", one.reason, one.message));
        match (self.state, &self.rollback_failure) {
            (State::RolledBack, _) if why.is_empty() => "it was rolled back".into(),
            (State::RolledBack, _) => format!("{why}; it was rolled back"),
            (_, Some(back)) => format!("{why}; it was not rolled back: {}", back.message),
            (State::Cancelled, None) => "it was cancelled".into(),
            _ if why.is_empty() => self.state.name().into(),
            _ => why,
        }
    }

    /// When what it waits for is due.
    pub fn scheduled_for(&self) -> Option<i64> {
        matches!(self.state, State::Planned | State::Countdown).then_some(self.leaves_at)
    }

    /// Milliseconds until this state is over. A clock that was set back does not make it longer than it is.
    pub fn remaining_ms(&self, now: i64, rules: &Rules) -> i64 {
        (self.leaves_at - now).clamp(0, rules.longest_ms(self.state))
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod tests;
