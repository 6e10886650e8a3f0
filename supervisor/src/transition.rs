//! Who is active, and how that changes: the one machine behind switch and settle (DESIGN.md 4).
//!
//! Pure. The daemon journals what a step [`Action::Record`]s before it acts on anything after it, and feeds back
//! answers, deaths and deadlines as events. Each control message bears a decision of its own; an answer or a
//! deadline of any but the decision waited for is ignored here.

mod event;

pub use event::{Action, Event, JournalEnd, Outcome, Record, Refusal, Report};

use crate::settle::{self, Settling};
use crate::switch::{self, Switching};
use holdfast_shared::decision::Decision;
use holdfast_shared::slot::Slot;

/// Sidecar's answer to a hold. It only stops forwarding, so this is long; unanswered, a switch is aborted.
pub const HOLD_MS: u64 = 500;
/// Answer to an ask; whoever is later is killed. A runtime's loop is never busy for so long.
pub const ASK_MS: u64 = 1_000;
/// Fence and activate together have 4 s (CONTRACTS.md 2): half each.
pub const FENCE_MS: u64 = 2_000;
/// See [`FENCE_MS`].
pub const ACTIVATE_MS: u64 = 2_000;
/// Sidecar's answer to a route; unanswered, it is stated again.
pub const ROUTE_MS: u64 = 1_000;
/// READY=1 of a runtime that settling waits for (prewarming, CONTRACTS.md 2); late ones are killed.
pub const START_MS: u64 = 60_000;
/// Settling again at once may fail in the same way; the wait grows with each attempt up to [`RETRY_MAX_MS`].
pub const RETRY_MS: u64 = 50;
/// Longest wait between two attempts to settle.
pub const RETRY_MAX_MS: u64 = 30_000;
/// After so many attempts that failed the node says `degraded`; it goes on trying.
pub const DEGRADED_AFTER: u8 = 6;

/// A runtime that is active with an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Its slot.
    pub slot: Slot,
    /// The epoch it was activated with.
    pub epoch: u64,
}

/// What the supervisor knows of a slot's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// No process.
    Absent,
    /// A process that has not said READY=1.
    Starting,
    /// A process that has caught up once.
    Ready,
}

/// Where the node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// One runtime is active; `routed` once the sidecar has said so.
    Settled {
        /// The active.
        owner: Owner,
        /// The sidecar forwards to it.
        routed: bool,
    },
    /// An ordinary switch.
    Switching(Switching),
    /// Finding out who is active, or making one.
    Settling(Settling),
}

impl Phase {
    /// The phase and what is waited for in it, in a few words.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Settled { routed: true, .. } => "settled",
            Phase::Settled { routed: false, .. } => "settled, not routed",
            Phase::Switching(one) => match one.step {
                switch::Step::Hold => "switch: hold",
                switch::Step::Fence => "switch: fence",
                switch::Step::Activate => "switch: activate",
            },
            Phase::Settling(one) => match one.step {
                settle::Step::Hold => "settle: hold",
                settle::Step::Ask(_) => "settle: ask",
                settle::Step::Read(_) => "settle: read",
                settle::Step::Start(_) => "settle: start",
                settle::Step::Activate(_) => "settle: activate",
                settle::Step::Retry => "settle: retry",
            },
        }
    }
}

/// The whole state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transition {
    /// The last decision given out.
    pub decision: Decision,
    /// No epoch above this is known in either journal.
    pub highest_epoch: u64,
    /// The supervisor's journal has a `Committed`.
    pub committed: bool,
    /// The slots' processes, `a` first.
    pub runtimes: [Runtime; 2],
    /// Slots whose release is not worth starting while the other's is.
    pub broken: [bool; 2],
    /// The sidecar lives and serves.
    pub sidecar: bool,
    /// Where the node stands.
    pub phase: Phase,
}

/// An event that this state does not allow; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Illegal {
    /// A switch is refused while something else goes on.
    #[error("a switch is refused while the node is {0}")]
    Busy(&'static str),
    /// The target is the active slot.
    #[error("slot {0} is active already")]
    AlreadyActive(Slot),
    /// The target has no runtime that is ready.
    #[error("slot {0} has no runtime that is ready")]
    NotReady(Slot),
}

impl Transition {
    /// The state of a supervisor that has just taken its lock, raised its generation and opened pidfds of what
    /// lives; it settles.
    pub fn boot(
        generation: u64,
        highest_epoch: u64,
        committed: bool,
        runtimes: [Runtime; 2],
        sidecar: bool,
    ) -> (Transition, Vec<Action>) {
        let phase = Phase::Settling(Settling::default());
        let decision = Decision { generation, sequence: 0 };
        let broken = [false; 2];
        let mut state = Transition { decision, highest_epoch, committed, runtimes, broken, sidecar, phase };
        let mut actions = Vec::new();
        settle::begin(&mut state, Settling::default(), &mut actions);
        (state, actions)
    }

    /// One step. Deterministic; on `Illegal` nothing changed.
    ///
    /// # Errors
    /// [`Illegal`] only for [`Event::Switch`] and [`Event::StopAndSwitch`].
    pub fn step(&self, event: Event) -> Result<(Transition, Vec<Action>), Illegal> {
        let mut next = self.clone();
        let mut actions = Vec::new();
        next.take_note(event);
        match next.phase {
            Phase::Settled { owner, routed } => next.step_settled(owner, routed, event, &mut actions)?,
            Phase::Switching(switching) => switch::step(&mut next, switching, event, &mut actions)?,
            Phase::Settling(settling) => settle::step(&mut next, settling, event, &mut actions)?,
        }
        Ok((next, actions))
    }

    /// Facts that hold in every phase.
    fn take_note(&mut self, event: Event) {
        match event {
            Event::Started(slot) => self.set(slot, Runtime::Starting),
            Event::Ready(slot) => self.set(slot, Runtime::Ready),
            Event::Died(slot) => self.set(slot, Runtime::Absent),
            Event::Broken(slot, broken) => self.broken[slot as usize] = broken,
            Event::SidecarUp => self.sidecar = true,
            Event::SidecarDied => self.sidecar = false,
            _ => {}
        }
    }

    fn step_settled(
        &mut self,
        owner: Owner,
        routed: bool,
        event: Event,
        actions: &mut Vec<Action>,
    ) -> Result<(), Illegal> {
        match event {
            Event::Switch(to) => return switch::begin(self, owner, to, actions),
            Event::StopAndSwitch(to) if to == owner.slot => return Err(Illegal::AlreadyActive(to)),
            Event::StopAndSwitch(_) => {
                let (failed, kill) = (Some(owner.slot), Some(owner.slot));
                settle::begin(self, Settling { failed, kill, ..Settling::default() }, actions);
            }
            Event::Died(slot) | Event::Suspect(slot) if slot == owner.slot => {
                settle::begin(self, Settling::default(), actions);
            }
            Event::SidecarUp => self.route(owner, actions),
            Event::SidecarDied => self.phase = Phase::Settled { owner, routed: false },
            Event::Routed(decision, forwarding) if decision == self.decision && !routed => match forwarding {
                true => self.phase = Phase::Settled { owner, routed: true },
                // Not at once: a sidecar that cannot reach its runtime would have us settle in a tight loop.
                false => settle::retry(self, Settling::default(), actions),
            },
            Event::Deadline(decision) if decision == self.decision && !routed && self.sidecar => {
                self.route(owner, actions);
            }
            _ => {}
        }
        Ok(())
    }

    /// `owner` is active: everything from here on is the sidecar's to learn, however often it takes.
    pub(crate) fn route(&mut self, owner: Owner, actions: &mut Vec<Action>) {
        self.phase = Phase::Settled { owner, routed: false };
        if self.sidecar {
            let decision = self.decide();
            actions.extend([Action::Route(decision, owner), Action::Arm(decision, ROUTE_MS)]);
        }
    }

    /// Takes a fresh epoch for `slot`, journaled as used.
    pub(crate) fn fresh_epoch(&mut self, slot: Slot, actions: &mut Vec<Action>) -> Owner {
        self.highest_epoch += 1;
        let owner = Owner { slot, epoch: self.highest_epoch };
        actions.push(Action::Record(Record::Switching(owner)));
        owner
    }

    /// `owner` has committed: records it and routes.
    pub(crate) fn commit(&mut self, owner: Owner, outcome: Outcome, actions: &mut Vec<Action>) {
        self.committed = true;
        actions.push(Action::Record(Record::Committed(owner)));
        self.route(owner, actions);
        actions.push(Action::Finish(outcome));
    }

    /// The next decision.
    pub(crate) fn decide(&mut self) -> Decision {
        self.decision.sequence += 1;
        self.decision
    }

    /// What is known of the slot's process.
    pub fn runtime(&self, slot: Slot) -> Runtime {
        self.runtimes[slot as usize]
    }

    fn set(&mut self, slot: Slot, runtime: Runtime) {
        self.runtimes[slot as usize] = runtime;
    }

    /// The active runtime, where one is known and nothing is under way.
    pub fn owner(&self) -> Option<Owner> {
        match self.phase {
            Phase::Settled { owner, .. } => Some(owner),
            _ => None,
        }
    }
}

#[cfg(test)]
mod matrix;
