//! What can happen next in a world. What then is, see [`apply`](super::apply).

use super::world::{Message, Process, Rules, Supervisor, World};
use holdfast_shared::decision::Decision;
use holdfast_shared::slot::Slot;
use holdfast_sidecar::wish::Target;
use holdfast_supervisor::settle;
use holdfast_supervisor::transition::{Phase, Runtime};

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The keeper starts a supervisor; none lives.
    StartSupervisor,
    /// A supervisor is started although one lives.
    StartSecond,
    /// The message at this place arrives; the flag: and arrives again later.
    Deliver(usize, bool),
    /// A runtime goes on with its take-over.
    TakeOver(Slot),
    /// The sidecar's dialled runtime says hello.
    Greet,
    /// A supervisor learns that a process it knows has died.
    LearnDeath(usize, Slot),
    /// A supervisor hears READY=1.
    LearnReady(usize, Slot),
    /// A supervisor learns that the sidecar was replaced.
    LearnSidecar(usize),
    /// A supervisor notices that the active is silent or not active.
    Suspect(usize),
    /// An armed deadline passes; the flag: although the answer would still come.
    Deadline(usize, bool),
    /// A candidate is started in the slot that is not active.
    Prewarm(usize),
    /// The operator asks for a switch.
    Switch(usize),
    /// The operator's switch finds too little memory for two runtimes.
    StopAndSwitch(usize),
    /// A client sends a command.
    Command,
    /// SIGKILL of the runtime in this slot.
    KillRuntime(Slot),
    /// SIGKILL of this supervisor.
    KillSupervisor(usize),
    /// SIGKILL of the sidecar; it is started again.
    KillSidecar,
    /// SIGSTOP.
    Pause(Slot),
    /// SIGCONT.
    Resume(Slot),
}

impl Move {
    /// Part of what happens by itself when nothing more goes wrong.
    pub fn is_progress(self) -> bool {
        !matches!(
            self,
            Move::StartSecond
                | Move::Deliver(_, true)
                | Move::Deadline(_, true)
                | Move::KillRuntime(_)
                | Move::KillSupervisor(_)
                | Move::KillSidecar
                | Move::Pause(_)
                | Move::Resume(_)
        )
    }
}

/// Everything that can happen in this world.
pub fn moves(world: &World, rules: Rules) -> Vec<Move> {
    let mut moves = Vec::new();
    if world.supervisors.is_empty() {
        moves.push(Move::StartSupervisor);
    } else if world.left.second_supervisors > 0 && world.supervisors.len() == 1 {
        moves.push(Move::StartSecond);
    }
    for (at, message) in world.messages.iter().enumerate() {
        if at > 0 && world.messages[at - 1] == *message {
            continue;
        }
        if deliverable(world, *message) {
            moves.push(Move::Deliver(at, false));
            if world.left.repeats > 0 && matches!(message, Message::Order(..) | Message::Wish(..)) {
                moves.push(Move::Deliver(at, true));
            }
        }
    }
    for slot in Slot::BOTH {
        process_moves(world, slot, &mut moves);
    }
    if greeting(world).is_some() {
        moves.push(Move::Greet);
    }
    for at in 0..world.supervisors.len() {
        supervisor_moves(world, at, rules, &mut moves);
    }
    if world.sent < world.left.commands {
        moves.push(Move::Command);
    }
    if world.left.sidecar_kills > 0 {
        moves.push(Move::KillSidecar);
    }
    moves
}

fn process_moves(world: &World, slot: Slot, moves: &mut Vec<Move>) {
    let Some(process) = &world.processes[slot as usize] else { return };
    if world.left.kills > 0 {
        moves.push(Move::KillRuntime(slot));
    }
    if process.paused {
        moves.push(Move::Resume(slot));
        return;
    }
    if process.taking_over.is_some() {
        moves.push(Move::TakeOver(slot));
    }
    if world.left.pauses > 0 {
        moves.push(Move::Pause(slot));
    }
}

fn supervisor_moves(world: &World, at: usize, rules: Rules, moves: &mut Vec<Move>) {
    let supervisor = &world.supervisors[at];
    let transition = &supervisor.transition;
    for slot in Slot::BOTH {
        let Some(known) = supervisor.known[slot as usize] else { continue };
        match world.by_instance(known) {
            None => moves.push(Move::LearnDeath(at, slot)),
            Some(process) if transition.runtime(slot) == Runtime::Starting && !process.paused => {
                moves.push(Move::LearnReady(at, slot));
            }
            Some(_) => {}
        }
    }
    if supervisor.sidecar != world.sidecar.instance {
        moves.push(Move::LearnSidecar(at));
    }
    if let Some(owner) = transition.owner() {
        let silent = process_at(world, supervisor, owner.slot).is_some_and(|process| {
            let passive = process.role.epoch() != Some(owner.epoch) && process.taking_over.is_none();
            process.paused || (passive && rules.not_active_is_a_crash)
        });
        if silent {
            moves.push(Move::Suspect(at));
        }
        if world.left.stops > 0 {
            moves.push(Move::StopAndSwitch(at));
        }
        match transition.runtime(owner.slot.other()) {
            Runtime::Ready if world.left.switches > 0 => moves.push(Move::Switch(at)),
            Runtime::Absent if world.left.switches > 0 => moves.push(Move::Prewarm(at)),
            _ => {}
        }
    }
    if let Some(decision) = supervisor.armed.filter(|decision| *decision == transition.decision) {
        match answer_may_come(world, supervisor, decision) {
            false => moves.push(Move::Deadline(at, false)),
            true if world.left.early_timeouts > 0 => moves.push(Move::Deadline(at, true)),
            true => {}
        }
    }
    if world.left.kills > 0 {
        moves.push(Move::KillSupervisor(at));
    }
}

fn process_at<'a>(world: &'a World, supervisor: &Supervisor, slot: Slot) -> Option<&'a Process> {
    supervisor.known[slot as usize].and_then(|instance| world.by_instance(instance))
}

fn deliverable(world: &World, message: Message) -> bool {
    let hears = |process: &Process| !process.paused && process.taking_over.is_none();
    match message {
        Message::Order(_, slot, _) => world.processes[slot as usize].as_ref().is_some_and(hears),
        Message::Call(instance, ..) => world.by_instance(instance).is_some_and(hears),
        _ => true,
    }
}

pub(super) fn greeting(world: &World) -> Option<(Target, Option<u64>)> {
    let target = world.sidecar.wished.target().filter(|_| world.sidecar.wished.forwarding().is_none())?;
    let process = world.processes[target.slot as usize].as_ref()?;
    let hears = !process.paused && process.taking_over.is_none();
    // Greeting again what was just refused changes nothing.
    hears.then_some((target, process.role.epoch()))
}

/// Whether, with nothing going wrong, the answer that this supervisor waits for can still arrive.
fn answer_may_come(world: &World, supervisor: &Supervisor, decision: Decision) -> bool {
    let stuck = |slot: Slot| world.processes[slot as usize].as_ref().is_none_or(|process| process.paused);
    let under_way = |message: &Message| match message {
        Message::Order(d, slot, _) => *d == decision && !stuck(*slot),
        Message::Wish(d, _) | Message::Held(d) | Message::Routed(d, _) | Message::Fenced(d, _) => {
            *d == decision
        }
        Message::Asked(d, ..) | Message::Activated(d, _) => *d == decision,
        Message::Call(..) | Message::Reply(..) => false,
    };
    let working = |process: &Process| {
        !process.paused && process.taking_over.is_some_and(|take_over| take_over.decision == decision)
    };
    let dying = Slot::BOTH.iter().any(|slot| {
        supervisor.known[*slot as usize].is_some() && process_at(world, supervisor, *slot).is_none()
    });
    let phase = supervisor.transition.phase;
    let starting = matches!(phase, Phase::Settling(s) if matches!(s.step, settle::Step::Start(_)))
        && Slot::BOTH.iter().any(|slot| process_at(world, supervisor, *slot).is_some_and(|p| !p.paused));
    world.messages.iter().any(under_way)
        || world.processes.iter().flatten().any(working)
        || dying
        || starting
        || supervisor.sidecar != world.sidecar.instance
        || matches!(phase, Phase::Settled { .. })
}
