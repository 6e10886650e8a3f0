//! What a world is after a move; what each process then does has a file of its own.

mod runtime;
mod sidecar;
mod supervisor;

use super::moves::Move;
use super::world::{Message, Rules, Sidecar, World, refusal, report};
use holdfast_supervisor::transition::Event;
use runtime::{call, hear, kill, take_over};
use sidecar::{forward, greet, put, reply};
use supervisor::{feed, start, start_supervisor, tell};

/// A world that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// What the world is after this move.
///
/// # Errors
/// A [`Violation`] where it must not be.
pub fn apply(world: &World, one: Move, rules: Rules) -> Result<World, Violation> {
    let mut next = world.clone();
    match one {
        Move::StartSupervisor => start_supervisor(&mut next, rules)?,
        Move::StartSecond => {
            next.left.second_supervisors -= 1;
            if rules.supervisor_lock {
                next.supervisors.clear();
            }
            start_supervisor(&mut next, rules)?;
        }
        Move::Deliver(at, again) => {
            let message = next.messages[at];
            if again {
                next.left.repeats -= 1;
            } else {
                next.messages.remove(at);
            }
            deliver(&mut next, message, rules)?;
        }
        Move::TakeOver(slot) => take_over(&mut next, slot, rules)?,
        Move::Greet => greet(&mut next, rules),
        Move::LearnDeath(at, slot) => {
            next.supervisors[at].known[slot as usize] = None;
            feed(&mut next, at, Event::Died(slot), rules)?;
        }
        Move::LearnReady(at, slot) => feed(&mut next, at, Event::Ready(slot), rules)?,
        Move::LearnSidecar(at) => {
            next.supervisors[at].sidecar = next.sidecar.instance;
            feed(&mut next, at, Event::SidecarDied, rules)?;
            feed(&mut next, at, Event::SidecarUp, rules)?;
        }
        Move::Suspect(at) => {
            if let Some(owner) = next.supervisors[at].transition.owner() {
                feed(&mut next, at, Event::Suspect(owner.slot), rules)?;
            }
        }
        Move::Deadline(at, early) => {
            next.left.early_timeouts -= u8::from(early);
            if let Some(decision) = next.supervisors[at].armed.take() {
                feed(&mut next, at, Event::Deadline(decision), rules)?;
            }
        }
        Move::Prewarm(at) => {
            if let Some(owner) = next.supervisors[at].transition.owner() {
                start(&mut next, at, owner.slot.other(), rules)?;
            }
        }
        Move::Switch(at) => {
            next.left.switches -= 1;
            if let Some(owner) = next.supervisors[at].transition.owner() {
                feed(&mut next, at, Event::Switch(owner.slot.other()), rules)?;
            }
        }
        Move::StopAndSwitch(at) => {
            next.left.stops -= 1;
            if let Some(owner) = next.supervisors[at].transition.owner() {
                feed(&mut next, at, Event::StopAndSwitch(owner.slot.other()), rules)?;
            }
        }
        Move::Command => {
            next.sidecar.unanswered.push((next.sent, false));
            next.sent += 1;
            forward(&mut next);
        }
        Move::KillRuntime(slot) => {
            next.left.kills -= 1;
            kill(&mut next, slot);
        }
        Move::KillSupervisor(at) => {
            next.left.kills -= 1;
            next.supervisors.remove(at);
        }
        Move::KillSidecar => {
            next.left.sidecar_kills -= 1;
            // Clients send what was not answered again.
            let unanswered = next.sidecar.unanswered.iter().map(|(id, _)| (*id, false)).collect();
            let instance = next.sidecar.instance + 1;
            next.sidecar = Sidecar { instance, unanswered, ..Sidecar::default() };
            next.messages.retain(|message| !matches!(message, Message::Wish(..)));
        }
        Move::Pause(slot) | Move::Resume(slot) => {
            let paused = matches!(one, Move::Pause(_));
            next.left.pauses -= u8::from(paused);
            if let Some(process) = &mut next.processes[slot as usize] {
                process.paused = paused;
            }
        }
    }
    next.forget_vain_answers();
    Ok(next)
}

fn deliver(world: &mut World, message: Message, rules: Rules) -> Result<(), Violation> {
    match message {
        Message::Order(decision, slot, kind) => {
            hear(world, decision, slot, kind, rules);
            Ok(())
        }
        Message::Wish(decision, kind) => {
            put(world, decision, kind, rules);
            Ok(())
        }
        Message::Asked(decision, slot, fit, active) => {
            tell(world, decision, Event::Asked(decision, slot, report(active, fit)), rules)
        }
        Message::Fenced(decision, fine) => {
            let result = refusal(if fine { 0 } else { 2 });
            tell(world, decision, Event::Fenced(decision, result), rules)
        }
        Message::Activated(decision, number) => {
            tell(world, decision, Event::Activated(decision, refusal(number)), rules)
        }
        Message::Held(decision) => tell(world, decision, Event::Held(decision), rules),
        Message::Routed(decision, fine) => tell(world, decision, Event::Routed(decision, fine), rules),
        Message::Call(instance, epoch, id) => call(world, instance, epoch, id),
        Message::Reply(instance, epoch, id) => reply(world, instance, epoch, id),
    }
}
