//! An ordinary switch: hold, fence, activate; then route (DESIGN.md 4, "The switch").
//!
//! Whatever does not go as it should is left to settle.

use crate::settle::{self, Settling};
use crate::transition::{
    ACTIVATE_MS, Action, Event, FENCE_MS, HOLD_MS, Illegal, Outcome, Owner, Phase, Runtime, Transition,
};
use holdfast_shared::slot::Slot;

/// A switch under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Switching {
    /// The runtime that is active until it is fenced.
    pub from: Owner,
    /// The candidate, with the epoch taken for it.
    pub to: Owner,
    /// What is waited for.
    pub step: Step,
}

/// What a switch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The sidecar forwards nothing.
    Hold,
    /// The active has given up the journal.
    Fence,
    /// The candidate's `Activated` is durable: the commit point.
    Activate,
}

/// Begins the switch to the runtime in slot `to`.
pub(crate) fn begin(
    state: &mut Transition,
    from: Owner,
    to: Slot,
    actions: &mut Vec<Action>,
) -> Result<(), Illegal> {
    if to == from.slot {
        return Err(Illegal::AlreadyActive(to));
    }
    if state.runtime(to) != Runtime::Ready {
        return Err(Illegal::NotReady(to));
    }
    let to = state.fresh_epoch(to, actions);
    if state.sidecar {
        let decision = state.decide();
        state.phase = Phase::Switching(Switching { from, to, step: Step::Hold });
        actions.extend([Action::Hold(decision), Action::Arm(decision, HOLD_MS)]);
    } else {
        fence(state, Switching { from, to, step: Step::Fence }, actions);
    }
    Ok(())
}

pub(crate) fn step(
    state: &mut Transition,
    switching: Switching,
    event: Event,
    actions: &mut Vec<Action>,
) -> Result<(), Illegal> {
    let Switching { from, to, step } = switching;
    let awaited = state.decision;
    match (step, event) {
        (_, Event::Switch(_) | Event::StopAndSwitch(_)) => return Err(Illegal::Busy("switching")),
        // A sidecar that has died holds: it starts so.
        (Step::Hold, Event::SidecarDied) => fence(state, switching, actions),
        (Step::Hold, Event::Held(decision)) if decision == awaited => fence(state, switching, actions),
        (Step::Fence, Event::Fenced(decision, Ok(()))) if decision == awaited => {
            activate(state, switching, actions);
        }
        (Step::Activate, Event::Activated(decision, Ok(()))) if decision == awaited => {
            state.commit(to, Outcome::Switched(to), actions);
        }
        (_, Event::Died(slot)) if slot == from.slot => settle::begin(state, failed(None), actions),
        (_, Event::Died(slot)) if slot == to.slot => settle::begin(state, failed(Some(to.slot)), actions),
        (Step::Fence, Event::Deadline(decision)) if decision == awaited => {
            settle::begin(state, Settling { kill: Some(from.slot), ..failed(None) }, actions);
        }
        (Step::Fence, Event::Fenced(decision, Err(_))) if decision == awaited => {
            settle::begin(state, failed(None), actions);
        }
        (Step::Activate, Event::Activated(decision, Err(_))) if decision == awaited => {
            settle::begin(state, failed(Some(to.slot)), actions);
        }
        (_, Event::Deadline(decision)) if decision == awaited => {
            settle::begin(state, failed(Some(to.slot)), actions);
        }
        _ => {}
    }
    Ok(())
}

fn fence(state: &mut Transition, switching: Switching, actions: &mut Vec<Action>) {
    let decision = state.decide();
    state.phase = Phase::Switching(Switching { step: Step::Fence, ..switching });
    actions.extend([Action::Fence(decision, switching.from), Action::Arm(decision, FENCE_MS)]);
}

fn activate(state: &mut Transition, switching: Switching, actions: &mut Vec<Action>) {
    let decision = state.decide();
    state.phase = Phase::Switching(Switching { step: Step::Activate, ..switching });
    actions.extend([Action::Activate(decision, switching.to, false), Action::Arm(decision, ACTIVATE_MS)]);
}

fn failed(slot: Option<Slot>) -> Settling {
    Settling { failed: slot, ..Settling::default() }
}
