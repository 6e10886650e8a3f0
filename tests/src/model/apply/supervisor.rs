//! What a supervisor does: its machine is fed with events, its actions become messages, processes and records.

use super::Violation;
use super::runtime::kill;
use crate::model::world::{Message, OrderKind, Process, Rules, Supervisor, WishKind, World};
use holdfast_runtime::role::Role;
use holdfast_shared::decision::Decision;
use holdfast_shared::slot::Slot;
use holdfast_supervisor::transition::{Action, Event, JournalEnd, Record, Runtime, Transition};

pub(super) fn start_supervisor(world: &mut World, rules: Rules) -> Result<(), Violation> {
    world.supervisor_journal.generation += 1;
    let journal = world.supervisor_journal;
    let known = [0, 1].map(|at: usize| world.processes[at].as_ref().map(|process| process.instance));
    let runtimes = known.map(|one| if one.is_some() { Runtime::Ready } else { Runtime::Absent });
    let (transition, actions) =
        Transition::boot(journal.generation, journal.highest_epoch, journal.committed, runtimes, true);
    let sidecar = world.sidecar.instance;
    world.supervisors.push(Supervisor { transition, known, armed: None, sidecar });
    let at = world.supervisors.len() - 1;
    act(world, at, actions, rules)
}

pub(super) fn feed(world: &mut World, at: usize, event: Event, rules: Rules) -> Result<(), Violation> {
    if let Ok((transition, actions)) = world.supervisors[at].transition.step(event) {
        world.supervisors[at].transition = transition;
        act(world, at, actions, rules)?;
    }
    Ok(())
}

fn act(world: &mut World, at: usize, actions: Vec<Action>, rules: Rules) -> Result<(), Violation> {
    for action in actions {
        match action {
            Action::Record(Record::Switching(owner)) => {
                let highest = &mut world.supervisor_journal.highest_epoch;
                if owner.epoch <= *highest {
                    return Err(Violation(format!("epoch {} is taken twice", owner.epoch)));
                }
                *highest = owner.epoch;
            }
            Action::Record(Record::Committed(_)) => world.supervisor_journal.committed = true,
            Action::Hold(decision) => world.send(Message::Wish(decision, WishKind::Hold)),
            Action::Route(decision, owner) => {
                world.send(Message::Wish(decision, WishKind::Route(owner.slot, owner.epoch)));
            }
            Action::Fence(decision, owner) => {
                world.send(Message::Order(decision, owner.slot, OrderKind::Fence(owner.epoch)));
            }
            Action::Activate(decision, owner, _) => {
                world.send(Message::Order(decision, owner.slot, OrderKind::Activate(owner.epoch)));
            }
            Action::Ask(decision, slot) => world.send(Message::Order(decision, slot, OrderKind::Ask)),
            Action::Kill(slot) => {
                let known = world.supervisors[at].known[slot as usize];
                if !rules.ask_or_kill {
                    feed(world, at, Event::Died(slot), rules)?;
                } else if known.is_some_and(|known| world.by_instance(known).is_some()) {
                    kill(world, slot);
                }
            }
            Action::ReadJournal(decision) => {
                let end = JournalEnd { last: world.last_owner(), highest_epoch: world.highest_epoch() };
                feed(world, at, Event::JournalRead(decision, Some(end)), rules)?;
            }
            Action::Start(slot) => start(world, at, slot, rules)?,
            Action::Arm(decision, _) => world.supervisors[at].armed = Some(decision),
            Action::Finish(_) => {}
        }
    }
    Ok(())
}

pub(super) fn start(world: &mut World, at: usize, slot: Slot, rules: Rules) -> Result<(), Violation> {
    if world.processes[slot as usize].is_none() {
        let process = Process {
            instance: world.next_instance,
            role: Role::default(),
            paused: false,
            taking_over: None,
        };
        world.next_instance += 1;
        world.processes[slot as usize] = Some(process);
    }
    let instance = world.processes[slot as usize].as_ref().map(|process| process.instance);
    world.supervisors[at].known[slot as usize] = instance;
    feed(world, at, Event::Started(slot), rules)
}

/// To the supervisor of that generation, if it lives.
pub(super) fn tell(
    world: &mut World,
    decision: Decision,
    event: Event,
    rules: Rules,
) -> Result<(), Violation> {
    let addressed = |one: &Supervisor| one.transition.decision.generation == decision.generation;
    if let Some(at) = world.supervisors.iter().position(addressed) {
        feed(world, at, event, rules)?;
    }
    Ok(())
}
