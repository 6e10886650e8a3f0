//! The full matrix of states and events, compared with docs/machines/transition.md; and rules of settle by name.

use super::*;
use crate::settle::Asked;
use crate::{settle, switch};
use holdfast_shared::blessed::blessed;
use std::fmt::Write;

const A5: Owner = Owner { slot: Slot::A, epoch: 5 };
const B6: Owner = Owner { slot: Slot::B, epoch: 6 };
const NOW: Decision = Decision { generation: 1, sequence: 7 };
const FIT: Report = Report { active: None, fit: true };

fn state(phase: Phase) -> Transition {
    Transition {
        decision: NOW,
        highest_epoch: 6,
        committed: true,
        runtimes: [Runtime::Ready, Runtime::Ready],
        broken: [false, false],
        sidecar: true,
        phase,
    }
}

fn settling(step: settle::Step) -> Transition {
    state(Phase::Settling(Settling { step, ..Settling::default() }))
}

fn switching(step: switch::Step) -> Transition {
    state(Phase::Switching(Switching { from: A5, to: B6, step }))
}

fn states() -> Vec<(&'static str, Transition)> {
    let asked = [Asked::Waiting, Asked::Answered(FIT)];
    let answered = [Asked::Answered(FIT), Asked::Answered(FIT)];
    let mut start = settling(settle::Step::Start(Slot::A));
    start.runtimes = [Runtime::Starting, Runtime::Absent];
    let broken = |broken| Transition { broken, ..start.clone() };
    vec![
        ("settled", state(Phase::Settled { owner: A5, routed: true })),
        ("settled, not routed", state(Phase::Settled { owner: A5, routed: false })),
        ("switch: hold", switching(switch::Step::Hold)),
        ("switch: fence", switching(switch::Step::Fence)),
        ("switch: activate", switching(switch::Step::Activate)),
        ("settle: hold", settling(settle::Step::Hold)),
        ("settle: ask", settling(settle::Step::Ask(asked))),
        ("settle: read", settling(settle::Step::Read(answered))),
        ("settle: start", start.clone()),
        ("settle: start, a is broken", broken([true, false])),
        ("settle: start, both are broken", broken([true, true])),
        ("settle: activate", settling(settle::Step::Activate(B6))),
        ("settle: retry", settling(settle::Step::Retry)),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let end = JournalEnd { last: Some(A5), highest_epoch: 6 };
    vec![
        ("switch to b", Event::Switch(Slot::B)),
        ("stop and switch to b", Event::StopAndSwitch(Slot::B)),
        ("a started", Event::Started(Slot::A)),
        ("a ready", Event::Ready(Slot::A)),
        ("a died", Event::Died(Slot::A)),
        ("b died", Event::Died(Slot::B)),
        ("a suspect", Event::Suspect(Slot::A)),
        ("sidecar up", Event::SidecarUp),
        ("sidecar died", Event::SidecarDied),
        ("held", Event::Held(NOW)),
        ("routed", Event::Routed(NOW, true)),
        ("route refused", Event::Routed(NOW, false)),
        ("fenced", Event::Fenced(NOW, Ok(()))),
        ("fence refused", Event::Fenced(NOW, Err(Refusal::NotNow))),
        ("activated", Event::Activated(NOW, Ok(()))),
        ("activate refused", Event::Activated(NOW, Err(Refusal::NotNow))),
        ("release unfit", Event::Activated(NOW, Err(Refusal::Unfit))),
        ("a says active", Event::Asked(NOW, Slot::A, Report { active: Some(5), fit: true })),
        ("journal read", Event::JournalRead(NOW, Some(end))),
        ("journal unreadable", Event::JournalRead(NOW, None)),
        ("deadline", Event::Deadline(NOW)),
        ("late answer", Event::Activated(Decision { generation: 1, sequence: 6 }, Ok(()))),
    ]
}

fn word(action: &Action) -> String {
    match action {
        Action::Record(Record::Switching(owner)) => format!("record Switching({})", owner.epoch),
        Action::Record(Record::Committed(owner)) => format!("record Committed({})", owner.epoch),
        Action::Hold(_) => "hold".into(),
        Action::Route(_, owner) => format!("route {}", owner.slot),
        Action::Fence(_, owner) => format!("fence {}", owner.slot),
        Action::Activate(_, owner, _) => format!("activate {} with {}", owner.slot, owner.epoch),
        Action::Ask(_, slot) => format!("ask {slot}"),
        Action::Kill(slot) => format!("kill {slot}"),
        Action::ReadJournal(_) => "read journal".into(),
        Action::Start(slot) => format!("start {slot}"),
        Action::Arm(_, ms) => format!("arm {ms} ms"),
        Action::Finish(outcome) => match outcome {
            Outcome::Switched(owner) => format!("say switched to {}", owner.slot),
            Outcome::Settled(owner) => format!("say settled on {}", owner.slot),
            Outcome::Degraded => "say degraded".into(),
        },
    }
}

fn cell(from: &Transition, event: Event) -> String {
    match from.step(event) {
        Err(illegal) => format!("refused: {illegal}"),
        Ok((to, actions)) if actions.is_empty() && to.phase == from.phase => String::new(),
        Ok((to, actions)) => {
            let words: Vec<String> = actions.iter().map(word).collect();
            let place =
                if to.phase == from.phase { "stays".into() } else { format!("**{}**", to.phase.name()) };
            if words.is_empty() { place } else { format!("{place}: {}", words.join(", ")) }
        }
    }
}

#[test]
fn the_matrix_and_the_diagram_are_what_is_committed() {
    let mut text = String::from(
        "# Switch and settle\n\nWritten by a test of `supervisor/src/transition.rs` (HOLDFAST_BLESS=1 writes it \
         anew). Slot a is active with epoch 5, b is the candidate of epoch 6; answers bear the decision waited for. \
         Only what changes or does something is listed; every other event is ignored in that state.\n",
    );
    let mut edges = Vec::new();
    for (from, state) in states() {
        let _ = write!(text, "\n## {from}\n\n| event | then |\n| --- | --- |\n");
        for (event_name, event) in events() {
            let cell = cell(&state, event);
            if cell.is_empty() {
                continue;
            }
            let _ = writeln!(text, "| {event_name} | {cell} |");
            if let Ok((to, _)) = state.step(event)
                && to.phase.name() != state.phase.name()
            {
                edges.push((state.phase.name(), to.phase.name(), event_name));
            }
        }
    }
    text.push_str("\n## Diagram\n\n```mermaid\nstateDiagram-v2\n");
    for (from, to, event) in edges {
        let id = |state: &str| state.replace([':', ' ', ','], "_");
        let _ = writeln!(text, "    {} --> {}: {event}", id(from), id(to));
    }
    text.push_str("```\n");
    blessed("docs/machines/transition.md", &text);
}

fn settle_until_read(mut state: Transition, reports: [Option<Report>; 2]) -> Transition {
    for slot in Slot::BOTH {
        let event = match reports[slot as usize] {
            Some(report) => Event::Asked(state.decision, slot, report),
            None => Event::Died(slot),
        };
        state = state.step(event).unwrap().0;
    }
    state
}

fn activated_slot(actions: &[Action]) -> Option<Slot> {
    actions.iter().find_map(|action| match action {
        Action::Activate(_, owner, _) => Some(owner.slot),
        _ => None,
    })
}

#[test]
fn the_old_release_is_tried_first_when_the_new_one_is_what_failed() {
    let (state, _) =
        switching(switch::Step::Activate).step(Event::Activated(NOW, Err(Refusal::Unfit))).unwrap();
    let (state, _) = state.step(Event::Held(state.decision)).unwrap();
    let state = settle_until_read(state, [Some(FIT), Some(FIT)]);
    let end = JournalEnd { last: Some(B6), highest_epoch: 6 };
    let (state, actions) = state.step(Event::JournalRead(state.decision, Some(end))).unwrap();
    assert_eq!(activated_slot(&actions), Some(Slot::A));
    assert_eq!(state.highest_epoch, 7, "with a fresh epoch");
}

#[test]
fn a_commit_whose_answer_was_lost_is_routed_and_not_repeated() {
    let (state, _) = switching(switch::Step::Activate).step(Event::Deadline(NOW)).unwrap();
    let (state, _) = state.step(Event::Held(state.decision)).unwrap();
    let state = settle_until_read(state, [Some(FIT), Some(Report { active: Some(6), fit: true })]);
    let end = JournalEnd { last: Some(B6), highest_epoch: 6 };
    let (state, actions) = state.step(Event::JournalRead(state.decision, Some(end))).unwrap();
    assert_eq!(state.owner(), Some(B6));
    assert_eq!(activated_slot(&actions), None);
}

#[test]
fn a_late_fence_is_killed_and_not_asked() {
    let (state, _) = switching(switch::Step::Fence).step(Event::Deadline(NOW)).unwrap();
    let (_, actions) = state.step(Event::Held(state.decision)).unwrap();
    assert!(actions.contains(&Action::Kill(Slot::A)));
    assert!(!actions.iter().any(|action| matches!(action, Action::Ask(_, Slot::A))));
}

#[test]
fn attempts_that_fail_wait_longer_and_say_degraded_once() {
    let mut state = settling(settle::Step::Activate(B6));
    let (mut waits, mut degraded) = (Vec::new(), 0);
    for _ in 0..9 {
        let (next, actions) = state.step(Event::Activated(state.decision, Err(Refusal::Unfit))).unwrap();
        for action in actions {
            match action {
                Action::Arm(_, wait) => waits.push(wait),
                Action::Finish(Outcome::Degraded) => degraded += 1,
                _ => {}
            }
        }
        let Phase::Settling(one) = next.phase else { panic!("gave up") };
        state = next;
        state.phase = Phase::Settling(Settling { step: settle::Step::Activate(B6), ..one });
    }
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!(waits.last(), Some(&RETRY_MAX_MS));
    assert_eq!(degraded, 1);
}

#[test]
fn a_release_that_fails_too_often_gives_way_and_with_both_broken_the_node_is_degraded() {
    let start = |broken| {
        let runtimes = [Runtime::Starting, Runtime::Absent];
        let state = Transition { broken, runtimes, ..settling(settle::Step::Start(Slot::A)) };
        let (_, actions) = state.step(Event::Died(Slot::A)).unwrap();
        let started = actions.iter().find_map(|action| match action {
            Action::Start(slot) => Some(*slot),
            _ => None,
        });
        (started, actions.contains(&Action::Finish(Outcome::Degraded)))
    };
    assert_eq!(start([false, false]), (Some(Slot::A), false), "its own first");
    assert_eq!(start([true, false]), (Some(Slot::B), false));
    assert_eq!(start([false, true]), (Some(Slot::A), false));
    assert_eq!(start([true, true]), (Some(Slot::B), true), "each in turn");
}

#[test]
fn a_candidate_that_was_on_its_way_and_dies_gives_way_to_the_release_that_served() {
    let runtimes = [Runtime::Absent, Runtime::Starting];
    let state = Transition { runtimes, ..settling(settle::Step::Start(Slot::A)) };
    let (_, actions) = state.step(Event::Died(Slot::B)).unwrap();
    assert!(actions.contains(&Action::Start(Slot::A)), "{actions:?}");
}

#[test]
fn a_broken_release_is_not_chosen_though_it_served_last() {
    let mut state = settling(settle::Step::Read([Asked::Gone, Asked::Gone]));
    (state.runtimes, state.broken) = ([Runtime::Absent; 2], [true, false]);
    let end = JournalEnd { last: Some(A5), highest_epoch: 6 };
    let (_, actions) = state.step(Event::JournalRead(NOW, Some(end))).unwrap();
    assert!(actions.contains(&Action::Start(Slot::B)), "{actions:?}");
}

#[test]
fn the_journal_is_created_only_when_nothing_was_ever_committed() {
    for committed in [false, true] {
        let (state, _) = Transition::boot(1, 0, committed, [Runtime::Absent, Runtime::Absent], false);
        let end = JournalEnd { last: None, highest_epoch: 0 };
        let (state, actions) = state.step(Event::JournalRead(state.decision, Some(end))).unwrap();
        assert!(actions.contains(&Action::Start(Slot::A)));
        let (state, _) = state.step(Event::Started(Slot::A)).unwrap();
        let (_, actions) = state.step(Event::Ready(Slot::A)).unwrap();
        let first = actions.iter().find_map(|action| match action {
            Action::Activate(_, _, first) => Some(*first),
            _ => None,
        });
        assert_eq!(first, Some(!committed));
    }
}
