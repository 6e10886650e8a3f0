//! What the sidecar does: it takes wishes, greets, forwards commands once on each link and takes their answers.

use super::Violation;
use crate::model::moves::greeting;
use crate::model::world::{Entry, Message, Rules, WishKind, World};
use holdfast_shared::decision::Decision;
use holdfast_sidecar::wish;

pub(super) fn put(world: &mut World, decision: Decision, kind: WishKind, rules: Rules) {
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

pub(super) fn greet(world: &mut World, rules: Rules) {
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
pub(super) fn forward(world: &mut World) {
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

pub(super) fn lose_link(world: &mut World) {
    world.sidecar.link = None;
    if let Some(target) = world.sidecar.wished.target() {
        let _ = world.sidecar.wished.lost(target);
    }
}

pub(super) fn reply(world: &mut World, instance: u8, epoch: u64, id: u8) -> Result<(), Violation> {
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
