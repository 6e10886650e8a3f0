//! What happens to a standing worker, and what follows for it and its turn. Pure; the matrix is written by a test.
//!
//! Nothing is run twice: a turn goes to another worker only where no holder took its prompt.

use crate::record::EndingFor;
use crate::span::StopReason;
use crate::turn::ORDERS_PER_TURN;
use holdfast_shared::worker::{EndedBy, Exit};

/// Where a worker and its turn are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not ready, and no turn waits for it.
    Starting,
    /// Ready, and no turn runs.
    Warm,
    /// A turn waits; its prompt is not consumed.
    Waiting,
    /// The turn's prompt is consumed.
    Prompted,
    /// The turn is to be cancelled; its prompt is not consumed.
    CancelWaiting,
    /// The turn is to be cancelled; its prompt is consumed.
    Cancelling,
}

/// How a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Death {
    /// By itself.
    Itself,
    /// Its output reached the quota.
    Quota,
    /// The node was stopped.
    NodeStopped,
    /// It was told to end.
    Told(EndingFor),
    /// Nobody knows: a power cut, or its holder was killed.
    Lost,
    /// It was given up before its start.
    NeverStarted,
    /// The supervisor will never start it.
    Refused,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It has its session.
    Ready,
    /// The handshake cannot succeed.
    HandshakeFailed,
    /// It was not ready in time.
    StartOver,
    /// The prompt was answered.
    Answered(StopReason),
    /// Nothing of the turn can have been written for it.
    NotGiven,
    /// The time to cancel is over.
    GraceOver,
    /// No sign of life for too long.
    Silent,
    /// Nothing more of it can be shown.
    Spoiled,
    /// Its task is open no longer.
    Unwanted,
    /// Others are warm that were used later.
    LeastUsed,
    /// It ended, and all it said was read.
    Died(Death),
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Journal that it is ready.
    BeReady,
    /// Journal another worker in its place; the same try where it was not at fault.
    OrderAgain {
        /// See above.
        same_try: bool,
    },
    /// Journal that it is told to end.
    End(EndingFor),
    /// Journal its end; the task is errored.
    Ended {
        /// See above.
        errored: bool,
    },
    /// Journal the seal.
    Seal {
        /// The reason.
        reason: StopReason,
        /// The worker has ended.
        ended: bool,
        /// The task is errored.
        errored: bool,
    },
}

/// How a worker ended, by its exit and what it had been told.
pub fn death(exit: Exit, ending: Option<EndingFor>) -> Death {
    match exit.ended_by {
        EndedBy::Quota => Death::Quota,
        EndedBy::Stop => Death::NodeStopped,
        EndedBy::Worker | EndedBy::Cancel | EndedBy::Kill => ending.map_or(Death::Itself, Death::Told),
    }
}

/// What follows from an event; `try_number` is which worker it is for its turn or task. `None`: nothing.
pub fn step(phase: Phase, event: Event, try_number: u32) -> Option<Deed> {
    use Phase::{CancelWaiting, Cancelling, Prompted, Starting, Waiting, Warm};
    let seal = |reason| Some(Deed::Seal { reason, ended: false, errored: false });
    match (phase, event) {
        (Starting | Waiting | CancelWaiting, Event::Ready) => Some(Deed::BeReady),
        (Starting | Waiting | CancelWaiting, Event::HandshakeFailed) => Some(Deed::End(EndingFor::Handshake)),
        (Starting | Waiting | CancelWaiting, Event::StartOver) => Some(Deed::End(EndingFor::StartLimit)),
        (Prompted | Cancelling, Event::Answered(reason)) => seal(reason),
        (CancelWaiting, Event::NotGiven) => seal(StopReason::Cancelled),
        (CancelWaiting | Cancelling, Event::GraceOver) => Some(Deed::End(EndingFor::CancelGrace)),
        (Prompted, Event::Silent) => Some(Deed::End(EndingFor::Silence)),
        (_, Event::Spoiled) => Some(Deed::End(EndingFor::Spoiled)),
        (Starting | Warm, Event::Unwanted) => Some(Deed::End(EndingFor::Stop)),
        (Warm, Event::LeastUsed) => Some(Deed::End(EndingFor::Lru)),
        (_, Event::Died(death)) => Some(died(phase, death, try_number)),
        _ => None,
    }
}

fn died(phase: Phase, death: Death, try_number: u32) -> Deed {
    let seal = |reason| Deed::Seal { reason, ended: true, errored: false };
    match phase {
        Phase::Warm => Deed::Ended { errored: false },
        Phase::Starting => match blame(death) {
            Blame::Ours => Deed::Ended { errored: false },
            Blame::Chance if try_number < ORDERS_PER_TURN => Deed::OrderAgain { same_try: false },
            Blame::Chance | Blame::Lasting => Deed::Ended { errored: true },
        },
        Phase::Waiting => match blame(death) {
            Blame::Ours => Deed::OrderAgain { same_try: true },
            Blame::Chance if try_number < ORDERS_PER_TURN => Deed::OrderAgain { same_try: false },
            Blame::Chance | Blame::Lasting => {
                Deed::Seal { reason: StopReason::Failed, ended: true, errored: true }
            }
        },
        Phase::CancelWaiting => seal(StopReason::Cancelled),
        Phase::Prompted => seal(match death {
            Death::Quota | Death::Told(EndingFor::Silence) => StopReason::Limit,
            _ => StopReason::Interrupted,
        }),
        Phase::Cancelling => seal(match death {
            Death::Quota => StopReason::Limit,
            Death::Lost | Death::NodeStopped | Death::Told(EndingFor::Spoiled) => StopReason::Interrupted,
            _ => StopReason::Cancelled,
        }),
    }
}

/// Whose doing it is that a worker ended before it took a prompt.
enum Blame {
    /// The node's: it says nothing about the agent.
    Ours,
    /// It may go better next time.
    Chance,
    /// It would go the same way again.
    Lasting,
}

fn blame(death: Death) -> Blame {
    match death {
        Death::NodeStopped
        | Death::Told(EndingFor::Stop | EndingFor::Lru | EndingFor::CancelGrace | EndingFor::Silence) => {
            Blame::Ours
        }
        Death::Itself
        | Death::Quota
        | Death::Lost
        | Death::NeverStarted
        | Death::Told(EndingFor::Spoiled) => Blame::Chance,
        Death::Refused | Death::Told(EndingFor::Handshake | EndingFor::StartLimit) => Blame::Lasting,
    }
}

#[cfg(test)]
mod tests;
