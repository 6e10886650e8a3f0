//! The whole matrix of the holder, compared with docs/machines; and its ends by name.

use super::*;
use holdfast_shared::blessed::blessed;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fmt::Write;

const PHASES: [Phase; 8] = [
    Phase::Starting,
    Phase::Running,
    Phase::Asking,
    Phase::Ending,
    Phase::Killing,
    Phase::Draining,
    Phase::Recording,
    Phase::Exited,
];

const EVENTS: [Event; 16] = [
    Event::Started,
    Event::Message(Kind::Input),
    Event::Message(Kind::TurnMark),
    Event::Message(Kind::CloseStdin),
    Event::Message(Kind::Cancel),
    Event::Message(Kind::Kill),
    Event::Stop,
    Event::QuotaReached,
    Event::Mute,
    Event::WorkerExited,
    Event::Deadline,
    Event::TreeEmpty,
    Event::PipesEmpty,
    Event::ExitWritten,
    Event::NoSpace,
    Event::SpaceAgain,
];

fn cell(state: State, event: Event) -> String {
    let Ok((next, actions)) = step(state, event) else { return "-".to_owned() };
    let mut words = Vec::new();
    if next.phase != state.phase {
        words.push(format!("**{:?}**", next.phase));
    }
    if next.full != state.full {
        words.push(if next.full { "full" } else { "space" }.to_owned());
    }
    if let (None, Some(cause)) = (state.cause, next.cause) {
        words.push(format!("cause {cause:?}"));
    }
    words.extend(actions.iter().map(|action| format!("{action:?}")));
    if words.is_empty() { "stays".to_owned() } else { words.join(", ") }
}

fn matrix(title: &str, full: bool) -> String {
    let mut text = format!("\n## {title}\n\n| event |");
    for phase in PHASES {
        let _ = write!(text, " {phase:?} |");
    }
    text.push_str("\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for event in EVENTS {
        let _ = write!(text, "| {event:?} |");
        for phase in PHASES {
            let _ = write!(text, " {} |", cell(State { phase, full, cause: None }, event));
        }
        text.push('\n');
    }
    text
}

fn diagram() -> String {
    let mut edges = BTreeSet::new();
    for (at, phase) in PHASES.into_iter().enumerate() {
        for event in EVENTS {
            if let Ok((next, _)) = step(State { phase, full: false, cause: None }, event)
                && next.phase != phase
            {
                edges.insert((at, format!("    {phase:?} --> {:?}: {event:?}\n", next.phase)));
            }
        }
    }
    let edges: String = edges.into_iter().map(|(_, edge)| edge).collect();
    format!(
        "\n## Diagram\n\n```mermaid\nstateDiagram-v2\n    [*] --> Starting\n{edges}    Exited --> [*]\n```\n"
    )
}

#[test]
fn the_whole_matrix_is_as_committed() {
    let head = "# A holder\n\nWritten by a test of `supervisor/src/hold/machine.rs` (HOLDFAST_BLESS=1 writes it anew). Each cell is \
                the next phase, where it\nchanges, and what is done; `-` cannot happen. A message that is not taken \
                (no `Take`) stays in the inbox, unconsumed.\n";
    let text = [
        head.to_owned(),
        matrix("While there is space on the disk", false),
        matrix("While the disk is full", true),
        diagram(),
    ];
    blessed("docs/machines/holder.md", &text.concat());
}

fn reachable() -> HashSet<State> {
    let mut seen = HashSet::from([State::START]);
    let mut open = VecDeque::from([State::START]);
    while let Some(state) = open.pop_front() {
        for event in EVENTS {
            if let Ok((next, _)) = step(state, event)
                && seen.insert(next)
            {
                open.push_back(next);
            }
        }
    }
    seen
}

#[test]
fn every_end_passes_through_an_empty_tree_and_drained_pipes_with_a_cause() {
    for state in reachable() {
        if matches!(state.phase, Phase::Draining | Phase::Recording | Phase::Exited) {
            assert!(state.cause.is_some(), "{state:?} has no cause");
        }
        for event in EVENTS {
            let Ok((next, actions)) = step(state, event) else { continue };
            if next.phase == Phase::Exited && state.phase != Phase::Exited {
                assert_eq!((state.phase, event), (Phase::Recording, Event::ExitWritten));
            }
            if next.phase == Phase::Draining && state.phase != Phase::Draining {
                assert_eq!(event, Event::TreeEmpty);
            }
            if state.full {
                let feeds = matches!(event, Event::Message(Kind::Input | Kind::TurnMark | Kind::CloseStdin));
                assert!(!(feeds && actions.contains(&Action::Take)), "nothing is fed while the disk is full");
            }
            let lost_output = (state.cause, event) == (Some(EndedBy::Worker), Event::QuotaReached);
            assert!(
                next.cause == state.cause || state.cause.is_none() || lost_output,
                "the first cause stays"
            );
        }
    }
}

#[test]
fn wherever_a_timer_is_needed_to_go_on_one_is_armed() {
    for state in reachable() {
        for event in EVENTS {
            let Ok((next, actions)) = step(state, event) else { continue };
            let waits = matches!(next.phase, Phase::Asking | Phase::Ending | Phase::Killing);
            if waits && (next.phase != state.phase || event == Event::Deadline) {
                assert!(actions.iter().any(|action| matches!(action, Action::Arm(_))), "{state:?} {event:?}");
            }
        }
    }
}
