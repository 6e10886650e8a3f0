//! Settle: the one procedure for every failure, a restarted supervisor and boot (DESIGN.md 4, "Settle").
//!
//! Hold; ask both runtimes and kill whoever does not answer; only then read the journal; route the owner of the
//! last `Activated` if it is active with it, else activate a fit runtime with a fresh epoch.

use crate::transition::{
    ACTIVATE_MS, ASK_MS, Action, DEGRADED_AFTER, Event, HOLD_MS, Illegal, JournalEnd, Outcome, Owner, Phase,
    RETRY_MAX_MS, RETRY_MS, Refusal, Report, Runtime, START_MS, Transition,
};
use holdfast_shared::slot::Slot;

/// Settling under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settling {
    /// The slot whose runtime is what failed: it is chosen last.
    pub failed: Option<Slot>,
    /// A slot whose runtime is not asked but killed: it was late.
    pub kill: Option<Slot>,
    /// Attempts before this one that ended without an active runtime.
    pub attempts: u8,
    /// What is waited for.
    pub step: Step,
}

/// What settling waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Step {
    /// The sidecar forwards nothing, or has had its time to say so: fencing and killing do not depend on it.
    #[default]
    Hold,
    /// Both runtimes have answered or are dead.
    Ask([Asked; 2]),
    /// The journal's end is known; nobody can write it meanwhile.
    Read([Asked; 2]),
    /// A runtime is ready to be activated; where none is on its way, this slot's is started.
    Start(Slot),
    /// This one's `Activated` is durable.
    Activate(Owner),
    /// The time before the next attempt is over.
    Retry,
}

/// How asking one slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// No answer yet.
    Waiting,
    /// Killed, its death not yet certain.
    Killed,
    /// Its answer.
    Answered(Report),
    /// There is no process.
    Gone,
}

/// Begins to settle.
pub(crate) fn begin(state: &mut Transition, settling: Settling, actions: &mut Vec<Action>) {
    state.phase = Phase::Settling(Settling { step: Step::Hold, ..settling });
    if state.sidecar {
        let decision = state.decide();
        actions.extend([Action::Hold(decision), Action::Arm(decision, HOLD_MS)]);
    } else {
        ask(state, settling, actions);
    }
}

pub(crate) fn step(
    state: &mut Transition,
    settling: Settling,
    event: Event,
    actions: &mut Vec<Action>,
) -> Result<(), Illegal> {
    let awaited = state.decision;
    match (settling.step, event) {
        (_, Event::Switch(_) | Event::StopAndSwitch(_)) => return Err(Illegal::Busy("settling")),
        (Step::Hold, Event::SidecarDied) => ask(state, settling, actions),
        (Step::Hold, Event::Held(decision) | Event::Deadline(decision)) if decision == awaited => {
            ask(state, settling, actions);
        }
        (Step::Ask(asked), event) => step_ask(state, settling, asked, event, actions),
        (Step::Read(asked), Event::Died(slot)) => {
            let asked = with(asked, slot, Asked::Gone);
            state.phase = Phase::Settling(Settling { step: Step::Read(asked), ..settling });
        }
        (Step::Read(asked), Event::JournalRead(decision, end)) if decision == awaited => match end {
            Some(end) => choose(state, settling, asked, end, actions),
            None => retry(state, settling, actions),
        },
        (Step::Start(_), Event::Ready(slot)) => activate(state, settling, slot, actions),
        (Step::Start(preferred), Event::Died(_)) => start(state, settling, preferred, actions),
        (Step::Start(_), Event::Deadline(decision)) if decision == awaited => {
            let late = |slot: &Slot| state.runtime(*slot) == Runtime::Starting;
            actions.extend(Slot::BOTH.into_iter().filter(late).map(Action::Kill));
        }
        (Step::Activate(owner), event) => step_activate(state, settling, owner, event, actions),
        (Step::Retry, Event::Deadline(decision)) if decision == awaited => begin(state, settling, actions),
        _ => {}
    }
    Ok(())
}

fn ask(state: &mut Transition, settling: Settling, actions: &mut Vec<Action>) {
    let decision = state.decide();
    let asked = Slot::BOTH.map(|slot| match state.runtime(slot) {
        Runtime::Absent => Asked::Gone,
        _ if settling.kill == Some(slot) => Asked::Killed,
        _ => Asked::Waiting,
    });
    for slot in Slot::BOTH {
        match asked[slot as usize] {
            Asked::Killed => actions.push(Action::Kill(slot)),
            Asked::Waiting => actions.push(Action::Ask(decision, slot)),
            _ => {}
        }
    }
    actions.push(Action::Arm(decision, ASK_MS));
    asked_so_far(state, Settling { kill: None, ..settling }, asked, actions);
}

fn step_ask(
    state: &mut Transition,
    settling: Settling,
    mut asked: [Asked; 2],
    event: Event,
    actions: &mut Vec<Action>,
) {
    match event {
        Event::Asked(decision, slot, report)
            if decision == state.decision && asked[slot as usize] == Asked::Waiting =>
        {
            asked = with(asked, slot, Asked::Answered(report));
        }
        Event::Died(slot) => asked = with(asked, slot, Asked::Gone),
        Event::Deadline(decision) if decision == state.decision => {
            let late = asked;
            for slot in Slot::BOTH.into_iter().filter(|slot| late[*slot as usize] == Asked::Waiting) {
                asked = with(asked, slot, Asked::Killed);
                actions.push(Action::Kill(slot));
            }
        }
        _ => return,
    }
    asked_so_far(state, settling, asked, actions);
}

/// Reads the journal once nobody is left who has neither answered nor died.
fn asked_so_far(state: &mut Transition, settling: Settling, asked: [Asked; 2], actions: &mut Vec<Action>) {
    let open = asked.iter().any(|one| matches!(one, Asked::Waiting | Asked::Killed));
    let step = if open { Step::Ask(asked) } else { Step::Read(asked) };
    if !open {
        actions.push(Action::ReadJournal(state.decision));
    }
    state.phase = Phase::Settling(Settling { step, ..settling });
}

fn choose(
    state: &mut Transition,
    settling: Settling,
    asked: [Asked; 2],
    end: JournalEnd,
    actions: &mut Vec<Action>,
) {
    state.highest_epoch = state.highest_epoch.max(end.highest_epoch);
    // A supervisor that died between `Activated` and `Committed` has not recorded it; the journal is there all the same.
    state.committed |= end.last.is_some();
    let report = |slot: Slot| match asked[slot as usize] {
        Asked::Answered(report) => Some(report),
        _ => None,
    };
    if let Some(owner) =
        end.last.filter(|owner| report(owner.slot).is_some_and(|r| r.active == Some(owner.epoch)))
    {
        state.commit(owner, Outcome::Settled(owner), actions);
        return;
    }
    let preferred = preferred(settling.failed, end.last);
    let first = not_broken(state, preferred);
    let fit = [first, first.other()].into_iter().find(|slot| {
        report(*slot).is_some_and(|r| r.fit && r.active.is_none()) && state.runtime(*slot) == Runtime::Ready
    });
    match fit {
        Some(slot) => activate(state, settling, slot, actions),
        None => start(state, settling, preferred, actions),
    }
}

/// The release that served last, unless it is what failed.
fn preferred(failed: Option<Slot>, last: Option<Owner>) -> Slot {
    failed.map_or(last.map_or(Slot::A, |owner| owner.slot), Slot::other)
}

/// This slot, or the other where this one's release has failed too often; both in turn where both have.
fn not_broken(state: &Transition, slot: Slot) -> Slot {
    if state.broken[slot as usize] { slot.other() } else { slot }
}

/// Waits for a runtime that can be activated: one that is on its way, or one started now.
fn start(state: &mut Transition, settling: Settling, preferred: Slot, actions: &mut Vec<Action>) {
    let decision = state.decide();
    state.phase = Phase::Settling(Settling { step: Step::Start(preferred), ..settling });
    let slot = not_broken(state, preferred);
    actions.push(Action::Arm(decision, START_MS));
    let on_its_way = |slot: &Slot| state.runtime(*slot) == Runtime::Starting;
    match Slot::BOTH.iter().any(on_its_way) {
        true => {}
        false => match state.runtime(slot) {
            Runtime::Absent => actions.push(Action::Start(slot)),
            // Alive and not fit: it cannot help, and holds the slot.
            _ => actions.push(Action::Kill(slot)),
        },
    }
    if state.broken == [true; 2] {
        actions.push(Action::Finish(Outcome::Degraded));
    }
}

fn activate(state: &mut Transition, settling: Settling, slot: Slot, actions: &mut Vec<Action>) {
    let owner = state.fresh_epoch(slot, actions);
    let decision = state.decide();
    state.phase = Phase::Settling(Settling { step: Step::Activate(owner), ..settling });
    let first = !state.committed;
    actions.extend([Action::Activate(decision, owner, first), Action::Arm(decision, ACTIVATE_MS)]);
}

fn step_activate(
    state: &mut Transition,
    settling: Settling,
    owner: Owner,
    event: Event,
    actions: &mut Vec<Action>,
) {
    let awaited = state.decision;
    match event {
        Event::Activated(decision, Ok(())) if decision == awaited => {
            state.commit(owner, Outcome::Settled(owner), actions);
        }
        Event::Activated(decision, Err(Refusal::Unfit)) if decision == awaited => {
            retry(state, Settling { failed: Some(owner.slot), ..settling }, actions);
        }
        Event::Activated(decision, Err(_)) if decision == awaited => retry(state, settling, actions),
        Event::Died(slot) if slot == owner.slot => {
            retry(state, Settling { failed: Some(slot), ..settling }, actions);
        }
        Event::Deadline(decision) if decision == awaited => {
            begin(state, Settling { failed: Some(owner.slot), ..settling }, actions);
        }
        _ => {}
    }
}

/// Settles again after a while that grows with the attempts; never gives up.
pub(crate) fn retry(state: &mut Transition, settling: Settling, actions: &mut Vec<Action>) {
    let attempts = settling.attempts.saturating_add(1).min(DEGRADED_AFTER + 4);
    let decision = state.decide();
    let wait = (RETRY_MS << (2 * u32::from(attempts - 1)).min(20)).min(RETRY_MAX_MS);
    state.phase = Phase::Settling(Settling { step: Step::Retry, attempts, ..settling });
    actions.push(Action::Arm(decision, wait));
    if attempts == DEGRADED_AFTER {
        actions.push(Action::Finish(Outcome::Degraded));
    }
}

fn with(mut asked: [Asked; 2], slot: Slot, value: Asked) -> [Asked; 2] {
    asked[slot as usize] = value;
    asked
}
