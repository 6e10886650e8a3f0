//! What a runtime does: it hears orders, takes over, writes the journal, and dies.

use super::Violation;
use super::sidecar::lose_link;
use crate::model::world::{Entry, Message, OrderKind, Rules, TakeOver, World};
use holdfast_runtime::role::{Deed, Order, Refused};
use holdfast_shared::decision::Decision;
use holdfast_shared::slot::Slot;
use holdfast_supervisor::transition::Owner;

pub(super) fn hear(world: &mut World, decision: Decision, slot: Slot, kind: OrderKind, rules: Rules) {
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

pub(super) fn take_over(world: &mut World, slot: Slot, rules: Rules) -> Result<(), Violation> {
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

pub(super) fn call(world: &mut World, instance: u8, epoch: u64, id: u8) -> Result<(), Violation> {
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

pub(super) fn kill(world: &mut World, slot: Slot) {
    let Some(process) = world.processes[slot as usize].take() else { return };
    if world.lock == Some(process.instance) {
        world.lock = None;
    }
    if world.sidecar.link == Some(process.instance) {
        lose_link(world);
    }
}
