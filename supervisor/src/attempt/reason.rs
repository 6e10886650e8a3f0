//! Why an attempt is planned, and why it failed: stable codes, and words for people.

use super::State;
use serde::{Deserialize, Serialize};

/// Why it waits (CONTRACTS.md 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedReason {
    /// The last update was too short ago.
    MinimumUpdatePeriod,
    /// An operator put it off.
    OperatorDefer,
    /// Work runs that a switch does not carry.
    LiveWorkGuard,
    /// The candidate was not ready in time.
    CandidateNotReady,
    /// There is too little memory for two runtimes.
    MemoryBlocked,
    /// The switch was aborted.
    CutoverFailed,
}

/// A failure, as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable code.
    pub reason: String,
    /// The state in which it happened.
    pub stage: State,
    /// For people.
    pub message: String,
}

/// The codes of this machine; a bundle that is refused brings its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The bundle or the slot was refused: code and words.
    NotPrepared(String, String),
    /// The release serves already.
    Deduplicated,
    /// Verifying and unpacking took too long.
    PreparingLate,
    /// The candidate died; its last error, if it wrote one.
    CandidateDied(String),
    /// The candidate was not ready in time, the second time too.
    CandidateNotReady,
    /// The candidate did not answer the probes through the browser's path.
    NotAdmitted,
    /// Too little memory for two runtimes.
    MemoryBlocked,
    /// The candidate took more memory than a candidate may.
    CandidateTooLarge,
    /// Work runs that a switch does not carry.
    LiveWorkGuard,
    /// The switch was refused, or failed and was settled.
    CutoverFailed(String),
    /// The switch did not come to its end in time; the node goes on settling.
    CutoverLate,
    /// No good probes in probation.
    ProbationFailed,
    /// The new runtime failed in probation and the node settled on the old one.
    SettledOnOld,
    /// An operator asked for the rollback.
    OperatorRollback,
    /// The switch backwards was refused, or failed and was settled.
    RollbackFailed(String),
    /// The switch backwards did not come to its end in time.
    RollbackLate,
    /// The states that work had had their time together.
    BudgetSpent,
    /// It waited for too long.
    WaitedTooLong,
    /// The root files could not be put in place.
    RootNotPlaced(String),
    /// No later supervisor confirmed the root files in time.
    RootNotConfirmed,
    /// The root files were put back.
    RootRestored,
    /// Root of the machine did not place the release's units: code and words.
    UnitsRefused(String),
    /// It placed them, and put the previous ones back.
    UnitsRestored(String),
}

impl Reason {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Reason::NotPrepared(code, _) => code,
            Reason::Deduplicated => "deduplicated",
            Reason::PreparingLate => "preparing_late",
            Reason::CandidateDied(_) => "candidate_died",
            Reason::CandidateNotReady => "candidate_not_ready",
            Reason::NotAdmitted => "not_admitted",
            Reason::MemoryBlocked => "memory_blocked",
            Reason::CandidateTooLarge => "candidate_too_large",
            Reason::LiveWorkGuard => "live_work_guard",
            Reason::CutoverFailed(_) => "cutover_failed",
            Reason::CutoverLate => "cutover_late",
            Reason::ProbationFailed => "probation_failed",
            Reason::SettledOnOld => "settled_on_old",
            Reason::OperatorRollback => "operator_rollback",
            Reason::RollbackFailed(_) => "rollback_failed",
            Reason::RollbackLate => "rollback_late",
            Reason::BudgetSpent => "budget_spent",
            Reason::WaitedTooLong => "waited_too_long",
            Reason::RootNotPlaced(_) => "root_not_placed",
            Reason::RootNotConfirmed => "root_not_confirmed",
            Reason::RootRestored => "root_restored",
            Reason::UnitsRefused(_) => "root_units_refused",
            Reason::UnitsRestored(_) => "root_units_restored",
        }
    }

    /// The failure in this state.
    pub fn at(&self, stage: State) -> Failure {
        Failure { reason: self.code().to_owned(), stage, message: self.words() }
    }

    fn words(&self) -> String {
        let with = |text: &str, more: &str| match more.is_empty() {
            true => text.to_owned(),
            false => format!("{text}: {more}"),
        };
        match self {
            Reason::NotPrepared(_, words) => with("the release could not be prepared", words),
            Reason::Deduplicated => "the release serves already".into(),
            Reason::PreparingLate => "the release was not prepared in time".into(),
            Reason::CandidateDied(last) => with("the candidate died before it could take over", last),
            Reason::CandidateNotReady => "the candidate was not ready in time".into(),
            Reason::NotAdmitted => "the candidate did not answer through the browser's path".into(),
            Reason::MemoryBlocked => "too little memory is left for two runtimes".into(),
            Reason::CandidateTooLarge => "the candidate took more memory than a candidate may".into(),
            Reason::LiveWorkGuard => "work runs that a switch does not carry".into(),
            Reason::CutoverFailed(why) => with("the switch failed and the node was settled", why),
            Reason::CutoverLate => "the switch did not come to its end in time".into(),
            Reason::ProbationFailed => "the new runtime failed in probation".into(),
            Reason::SettledOnOld => "the new runtime failed in probation and the old one took over".into(),
            Reason::OperatorRollback => "an operator asked for the rollback".into(),
            Reason::RollbackFailed(why) => with("the rollback failed and the node was settled", why),
            Reason::RollbackLate => "the rollback did not come to its end in time".into(),
            Reason::BudgetSpent => "the attempt had worked for as long as it may".into(),
            Reason::WaitedTooLong => "the attempt waited for too long".into(),
            Reason::RootNotPlaced(why) => with("the root files could not be put in place", why),
            Reason::RootNotConfirmed => "no later supervisor confirmed the root files in time".into(),
            Reason::RootRestored => "the root files were put back".into(),
            Reason::UnitsRefused(why) => with("the release's units were not placed", why),
            Reason::UnitsRestored(why) => with("the release's units were put back", why),
        }
    }
}

impl PlannedReason {
    /// The word in every surface.
    pub fn name(self) -> &'static str {
        match self {
            PlannedReason::MinimumUpdatePeriod => "minimum_update_period",
            PlannedReason::OperatorDefer => "operator_defer",
            PlannedReason::LiveWorkGuard => "live_work_guard",
            PlannedReason::CandidateNotReady => "candidate_not_ready",
            PlannedReason::MemoryBlocked => "memory_blocked",
            PlannedReason::CutoverFailed => "cutover_failed",
        }
    }

    /// What it is when it cannot be waited out.
    pub fn as_failure(self) -> Reason {
        match self {
            PlannedReason::LiveWorkGuard => Reason::LiveWorkGuard,
            PlannedReason::CandidateNotReady => Reason::CandidateNotReady,
            PlannedReason::CutoverFailed => Reason::CutoverFailed(String::new()),
            PlannedReason::MemoryBlocked => Reason::MemoryBlocked,
            PlannedReason::MinimumUpdatePeriod | PlannedReason::OperatorDefer => Reason::WaitedTooLong,
        }
    }
}
