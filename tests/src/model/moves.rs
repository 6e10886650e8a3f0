//! What can happen next in a world, and what then is.

use super::world::{
    Entry, Message, OrderKind, Process, Rules, Sidecar, Supervisor, TakeOver, WishKind, World, refusal,
    report,
};
use holdfast_runtime::role::{Deed, Order, Refused, Role};
use holdfast_shared::decision::Decision;
use holdfast_shared::slot::Slot;
use holdfast_sidecar::wish::{self, Target};
use holdfast_supervisor::settle;
use holdfast_supervisor::transition::{Action, Event, JournalEnd, Owner, Phase, Record, Runtime, Transition};

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

/// A world that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

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

fn greeting(world: &World) -> Option<(Target, Option<u64>)> {
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

fn start_supervisor(world: &mut World, rules: Rules) -> Result<(), Violation> {
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

fn feed(world: &mut World, at: usize, event: Event, rules: Rules) -> Result<(), Violation> {
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

fn start(world: &mut World, at: usize, slot: Slot, rules: Rules) -> Result<(), Violation> {
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

fn kill(world: &mut World, slot: Slot) {
    let Some(process) = world.processes[slot as usize].take() else { return };
    if world.lock == Some(process.instance) {
        world.lock = None;
    }
    if world.sidecar.link == Some(process.instance) {
        lose_link(world);
    }
}

fn lose_link(world: &mut World) {
    world.sidecar.link = None;
    if let Some(target) = world.sidecar.wished.target() {
        let _ = world.sidecar.wished.lost(target);
    }
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

/// To the supervisor of that generation, if it lives.
fn tell(world: &mut World, decision: Decision, event: Event, rules: Rules) -> Result<(), Violation> {
    let addressed = |one: &Supervisor| one.transition.decision.generation == decision.generation;
    if let Some(at) = world.supervisors.iter().position(addressed) {
        feed(world, at, event, rules)?;
    }
    Ok(())
}

fn hear(world: &mut World, decision: Decision, slot: Slot, kind: OrderKind, rules: Rules) {
    let last_owner = world.last_owner();
    let Some(process) = &mut world.processes[slot as usize] else { return };
    let admitted = if rules.decision_numbers { decision } else { decision.max(process.role.decision()) };
    let order = match kind {
        OrderKind::Ask => Order::Ask,
        OrderKind::Fence(epoch) => Order::Fence { epoch },
        OrderKind::Activate(epoch) => Order::Activate { epoch },
    };
    let heard = process.role.hear(admitted, order);
    let mut active = process.role.epoch();
    if let (false, Some(owner)) = (rules.not_active_is_a_crash, last_owner.filter(|owner| owner.slot == slot))
    {
        active = Some(owner.epoch);
    }
    let answer = match (heard, kind) {
        (Err(Refused::Stale(_)), OrderKind::Activate(_)) => Message::Activated(decision, 1),
        (Err(_), OrderKind::Activate(_)) => Message::Activated(decision, 2),
        (Err(_), OrderKind::Fence(_)) => Message::Fenced(decision, false),
        (Err(_), OrderKind::Ask) => return,
        (Ok(Deed::TakeOver { epoch }), _) => {
            process.taking_over = Some(TakeOver { epoch, decision, locked: false });
            return;
        }
        (Ok(Deed::GiveUp), _) => {
            process.role.gave_up();
            let instance = process.instance;
            if world.lock == Some(instance) {
                world.lock = None;
            }
            Message::Fenced(decision, true)
        }
        (Ok(Deed::Answer), OrderKind::Ask) => Message::Asked(decision, slot, true, active),
        (Ok(Deed::Answer), OrderKind::Fence(_)) => Message::Fenced(decision, true),
        (Ok(Deed::Answer), OrderKind::Activate(_)) => Message::Activated(decision, 0),
    };
    world.send(answer);
}

fn take_over(world: &mut World, slot: Slot, rules: Rules) -> Result<(), Violation> {
    let highest = world.highest_epoch();
    let lock = world.lock;
    let Some(process) = &mut world.processes[slot as usize] else { return Ok(()) };
    let Some(mut take_over) = process.taking_over.take() else { return Ok(()) };
    let decision = take_over.decision;
    if !take_over.locked {
        if lock.is_some() {
            world.send(Message::Activated(decision, 2));
            return Ok(());
        }
        take_over.locked = true;
        process.taking_over = Some(take_over);
        world.lock = Some(process.instance);
        return Ok(());
    }
    if rules.recheck_under_lock && highest >= take_over.epoch {
        world.lock = None;
        world.send(Message::Activated(decision, 2));
        return Ok(());
    }
    process.role.took_over(take_over.epoch);
    append(world, Entry::Activated(Owner { slot, epoch: take_over.epoch }), take_over.epoch, true)?;
    world.send(Message::Activated(decision, 0));
    Ok(())
}

/// Epochs in the journal only rise, and each is used by one `Activated` alone.
fn append(world: &mut World, entry: Entry, epoch: u64, fresh: bool) -> Result<(), Violation> {
    let highest = world.highest_epoch();
    if epoch < highest || (fresh && epoch == highest) {
        return Err(Violation(format!("epochs overlap: {entry:?} is written after epoch {highest}")));
    }
    let writers = world.processes.iter().flatten().filter(|p| p.role.epoch().is_some()).count();
    if writers > 1 {
        return Err(Violation(format!("two writers when {entry:?} is written")));
    }
    world.journal.push(entry);
    Ok(())
}

fn put(world: &mut World, decision: Decision, kind: WishKind, rules: Rules) {
    let wished = &mut world.sidecar.wished;
    let admitted = if rules.decision_numbers { decision } else { decision.max(wished.decision()) };
    let Ok(deeds) = wished.put(admitted, kind.wish()) else { return };
    // Without decision numbers an answer names the message it answers, whatever else was told meanwhile.
    carry_out(world, deeds, decision, kind == WishKind::Hold, rules);
}

fn carry_out(world: &mut World, deeds: Vec<wish::Deed>, decision: Decision, hold: bool, rules: Rules) {
    for deed in deeds {
        match deed {
            wish::Deed::CloseLinks => {
                world.sidecar.link = None;
                world.sidecar.unanswered.iter_mut().for_each(|one| one.1 = false);
            }
            wish::Deed::Dial(_) => {}
            wish::Deed::Forward => forward(world),
            wish::Deed::AnswerInEffect if hold => world.send(Message::Held(decision)),
            wish::Deed::AnswerInEffect => world.send(Message::Routed(decision, true)),
            wish::Deed::AnswerNotActive if rules.not_active_is_a_crash => {
                world.send(Message::Routed(decision, false));
            }
            wish::Deed::AnswerNotActive => {}
        }
    }
}

fn greet(world: &mut World, rules: Rules) {
    let Some((target, epoch)) = greeting(world) else { return };
    let decision = world.sidecar.wished.decision();
    let deeds = world.sidecar.wished.greeted(target, epoch);
    if world.sidecar.wished.forwarding().is_some() {
        world.sidecar.link = world.processes[target.slot as usize].as_ref().map(|process| process.instance);
        world.sidecar.unanswered.iter_mut().for_each(|one| one.1 = false);
    }
    carry_out(world, deeds, decision, false, rules);
}

/// Sends what was not sent on this link, in order of arrival.
fn forward(world: &mut World) {
    let (Some(target), Some(instance)) = (world.sidecar.wished.forwarding(), world.sidecar.link) else {
        return;
    };
    let calls: Vec<u8> =
        world.sidecar.unanswered.iter().filter(|(_, sent)| !sent).map(|(id, _)| *id).collect();
    world.sidecar.unanswered.iter_mut().for_each(|one| one.1 = true);
    for id in calls {
        world.send(Message::Call(instance, target.epoch, id));
    }
}

fn call(world: &mut World, instance: u8, epoch: u64, id: u8) -> Result<(), Violation> {
    let Some(process) = world.by_instance(instance) else { return Ok(()) };
    if process.role.epoch() != Some(epoch) {
        return Ok(());
    }
    let known = world.journal.iter().any(|entry| matches!(entry, Entry::Command(_, done) if *done == id));
    if !known {
        append(world, Entry::Command(epoch, id), epoch, false)?;
    }
    world.send(Message::Reply(instance, epoch, id));
    Ok(())
}

fn reply(world: &mut World, instance: u8, epoch: u64, id: u8) -> Result<(), Violation> {
    let linked = world.sidecar.link == Some(instance)
        && world.sidecar.wished.forwarding().is_some_and(|target| target.epoch == epoch);
    if !linked || !world.sidecar.unanswered.iter().any(|(one, _)| *one == id) {
        return Ok(());
    }
    world.sidecar.unanswered.retain(|(one, _)| *one != id);
    world.answered.push(id);
    let times =
        world.journal.iter().filter(|entry| matches!(entry, Entry::Command(_, done) if *done == id)).count();
    match times {
        1 => Ok(()),
        times => Err(Violation(format!("command {id} was answered and is in the journal {times} times"))),
    }
}

/// A supervisor that is settled, its runtime active, the sidecar forwarding to it, every command answered.
pub fn settled(world: &World) -> bool {
    let owner = world.supervisors.iter().find_map(|supervisor| match supervisor.transition.phase {
        Phase::Settled { owner, routed: true } => Some(owner),
        _ => None,
    });
    let Some(owner) = owner else { return false };
    let active = world.processes[owner.slot as usize].as_ref();
    active.is_some_and(|process| {
        !process.paused
            && process.role.epoch() == Some(owner.epoch)
            && world.sidecar.link == Some(process.instance)
            && world.sidecar.wished.forwarding() == Some(Target { slot: owner.slot, epoch: owner.epoch })
    }) && world.sidecar.unanswered.is_empty()
}
