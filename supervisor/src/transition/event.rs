//! What the machine is told and what it wants done. Whatever answers a control message bears the decision it answers.

use super::Owner;
use holdfast_shared::decision::Decision;
use holdfast_shared::slot::Slot;

/// What a runtime says of itself when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// The epoch it is active with, if it is.
    pub active: Option<u64>,
    /// It could be activated: caught up and healthy.
    pub fit: bool,
}

/// What the business journal says, read when nobody can write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JournalEnd {
    /// Owner of the last `Activated`; `None` when there is no journal.
    pub last: Option<Owner>,
    /// Highest epoch anywhere in it.
    pub highest_epoch: u64,
}

/// Why a runtime refused to activate or fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It was told a higher decision.
    Stale,
    /// It is not active (fence), or cannot be now (lock held, a higher epoch seen).
    NotNow,
    /// It cannot read or write this journal; another release may.
    Unfit,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Make the runtime in this slot the active one. It must be ready.
    Switch(Slot),
    /// Stop the active runtime, then make this slot's the active one, started where there is none: there is no room
    /// for both.
    StopAndSwitch(Slot),
    /// A process was started in this slot.
    Started(Slot),
    /// It said READY=1.
    Ready(Slot),
    /// The death of this slot's process is certain.
    Died(Slot),
    /// This slot's release cannot be started, or starts of it have failed too often ([`crate::breaker`]); `false`:
    /// it may be tried again.
    Broken(Slot, bool),
    /// The active has sent no WATCHDOG=1 for 3 s, or answered a look that it is not active.
    Suspect(Slot),
    /// The sidecar serves; it holds.
    SidecarUp,
    /// The sidecar's death is certain.
    SidecarDied,
    /// The sidecar answered a hold.
    Held(Decision),
    /// The sidecar answered a route: forwarding, or its runtime said that it is not active with that epoch.
    Routed(Decision, bool),
    /// Answer to a fence.
    Fenced(Decision, Result<(), Refusal>),
    /// Answer to an activate.
    Activated(Decision, Result<(), Refusal>),
    /// Answer to an ask.
    Asked(Decision, Slot, Report),
    /// The business journal was read, under this decision; `None`: it cannot be read.
    JournalRead(Decision, Option<JournalEnd>),
    /// The time armed for this decision is over.
    Deadline(Decision),
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Journal, durably, before anything that follows.
    Record(Record),
    /// State to the sidecar: hold.
    Hold(Decision),
    /// State to the sidecar: route.
    Route(Decision, Owner),
    /// Tell the runtime to fence.
    Fence(Decision, Owner),
    /// Tell the runtime to activate; the flag says that the journal is to be created.
    Activate(Decision, Owner, bool),
    /// Ask the runtime.
    Ask(Decision, Slot),
    /// SIGKILL by pidfd, at once.
    Kill(Slot),
    /// Read the business journal.
    ReadJournal(Decision),
    /// Start a runtime in this slot, with the process table's backoff.
    Start(Slot),
    /// Give [`Event::Deadline`] for this decision after so many milliseconds.
    Arm(Decision, u64),
    /// Tell whoever waits how it ended.
    Finish(Outcome),
}

/// What the supervisor's journal keeps of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// This epoch is used now.
    Switching(Owner),
    /// Its `Activated` is durable.
    Committed(Owner),
}

/// How a switch or settling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A switch that was asked for: this runtime serves.
    Switched(Owner),
    /// Settled: this runtime serves.
    Settled(Owner),
    /// Nothing can serve; settling goes on.
    Degraded,
}
