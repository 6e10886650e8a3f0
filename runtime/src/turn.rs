//! One turn's life: a machine of four states. Pure.
//!
//! A prompt waits (`queued`), then a worker is ordered for it (`ordered`; whether the worker runs yet is the
//! worker's files to say), perhaps it is told to end (`cancelling`), and it is sealed once. Nothing is run twice:
//! another worker is ordered only where the first never started.

use crate::span::StopReason;
use holdfast_shared::worker::{EndedBy, Exit, ExitStatus};
use serde::{Deserialize, Serialize};

/// Workers ordered for one turn at most (CONTRACTS.md 3).
pub const ORDERS_PER_TURN: u32 = 3;
/// Prompts that wait in one task (CONTRACTS.md 4).
pub const QUEUED_PROMPTS: usize = 16;

/// Where a turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// It waits behind another.
    Queued,
    /// Its work order is in the journal.
    Ordered,
    /// Its worker is told to end.
    Cancelling,
    /// It has ended.
    Sealed,
}

/// What happens to a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnEvent {
    /// Nothing runs before it any more.
    Due,
    /// `task.cancel`
    Cancel,
    /// `task.dequeue`
    Dequeue,
    /// `task.stop`
    Stop,
    /// The worker ended and all its output was read.
    Exited(Exit),
    /// The worker's holder is gone without an exit (a power cut does that too), or its spool is damaged.
    Lost,
    /// The worker never started, and never will; it was the order with this number, from 1.
    NeverStarted(u32),
    /// The supervisor will not start this worker.
    Refused,
}

/// What is to be journaled or done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnAction {
    /// Journal the work order; then have the worker started.
    Order,
    /// Journal another work order in place of the first.
    OrderAgain,
    /// Tell the worker to end, or make sure that it never starts.
    End,
    /// Journal the seal.
    Seal(StopReason),
}

/// The event cannot happen in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to a turn that is {state:?}")]
pub struct Illegal {
    /// The state.
    pub state: TurnState,
    /// The event.
    pub event: TurnEvent,
}

/// The next state of a turn and what follows from the event.
///
/// # Errors
/// [`Illegal`]; nothing changes.
pub fn step(state: TurnState, event: TurnEvent) -> Result<(TurnState, Vec<TurnAction>), Illegal> {
    use TurnAction::{End, Order, OrderAgain, Seal};
    use TurnState::{Cancelling, Ordered, Queued, Sealed};
    let sealed = |reason| Ok((Sealed, vec![Seal(reason)]));
    match (state, event) {
        (Queued, TurnEvent::Due) => Ok((Ordered, vec![Order])),
        (Queued, TurnEvent::Dequeue | TurnEvent::Stop) => sealed(StopReason::Cancelled),
        (Ordered, TurnEvent::Cancel | TurnEvent::Stop) => Ok((Cancelling, vec![End])),
        (Cancelling, TurnEvent::Cancel | TurnEvent::Stop) => Ok((Cancelling, vec![])),
        (Ordered | Cancelling, TurnEvent::Exited(exit)) => sealed(reason(exit)),
        (Ordered | Cancelling, TurnEvent::Lost) => sealed(StopReason::Interrupted),
        (Ordered, TurnEvent::NeverStarted(order)) if order < ORDERS_PER_TURN => {
            Ok((Ordered, vec![OrderAgain]))
        }
        (Ordered, TurnEvent::NeverStarted(_) | TurnEvent::Refused) => sealed(StopReason::Failed),
        (Cancelling, TurnEvent::NeverStarted(_) | TurnEvent::Refused) => sealed(StopReason::Cancelled),
        (state, event) => Err(Illegal { state, event }),
    }
}

/// Why a turn ended, by how its worker did. A command that ran to its own end has ended its turn, whatever its
/// exit code says.
pub fn reason(exit: Exit) -> StopReason {
    match (exit.ended_by, exit.status) {
        (EndedBy::Worker, _) if is_out_of_time(exit) => StopReason::Limit,
        (EndedBy::Worker, ExitStatus::Code(_)) => StopReason::EndTurn,
        (EndedBy::Worker, ExitStatus::Signal(_)) => StopReason::Failed,
        (EndedBy::Cancel | EndedBy::Kill, _) => StopReason::Cancelled,
        (EndedBy::Stop, _) => StopReason::Interrupted,
        (EndedBy::Quota, _) => StopReason::Limit,
    }
}

/// Whether a worker was ended because it had used up its skill's `cpu_seconds`: that alone sends this signal.
pub fn is_out_of_time(exit: Exit) -> bool {
    exit.status == ExitStatus::Signal(libc::SIGXCPU)
}

/// The exit code as shells say it: 128 and the signal's number where a signal ended it.
pub fn exit_code(exit: Exit) -> i32 {
    match exit.status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => 128 + signal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::blessed::blessed;
    use std::fmt::Write;

    const STATES: [TurnState; 4] =
        [TurnState::Queued, TurnState::Ordered, TurnState::Cancelling, TurnState::Sealed];

    fn exit(ended_by: EndedBy, status: ExitStatus) -> Exit {
        Exit { status, final_seq: 0, ended_by }
    }

    fn events() -> Vec<(&'static str, TurnEvent)> {
        let exited = |ended_by, status| TurnEvent::Exited(exit(ended_by, status));
        vec![
            ("due", TurnEvent::Due),
            ("task.cancel", TurnEvent::Cancel),
            ("task.dequeue", TurnEvent::Dequeue),
            ("task.stop", TurnEvent::Stop),
            ("exited, code 0", exited(EndedBy::Worker, ExitStatus::Code(0))),
            ("exited, code 3", exited(EndedBy::Worker, ExitStatus::Code(3))),
            ("exited, signal 9", exited(EndedBy::Worker, ExitStatus::Signal(9))),
            ("exited, out of processor time", exited(EndedBy::Worker, ExitStatus::Signal(libc::SIGXCPU))),
            ("exited by cancel", exited(EndedBy::Cancel, ExitStatus::Signal(15))),
            ("exited by kill", exited(EndedBy::Kill, ExitStatus::Signal(9))),
            ("exited by the node's stop", exited(EndedBy::Stop, ExitStatus::Signal(15))),
            ("exited by its quota", exited(EndedBy::Quota, ExitStatus::Signal(15))),
            ("lost", TurnEvent::Lost),
            ("never started, order 1", TurnEvent::NeverStarted(1)),
            ("never started, order 3", TurnEvent::NeverStarted(ORDERS_PER_TURN)),
            ("refused", TurnEvent::Refused),
        ]
    }

    fn cell(state: TurnState, event: TurnEvent) -> String {
        match step(state, event) {
            Err(_) => "-".to_owned(),
            Ok((next, actions)) if actions.is_empty() => format!("{next:?}"),
            Ok((next, actions)) => format!("{next:?}: {}", format!("{actions:?}").trim_matches(['[', ']'])),
        }
    }

    #[test]
    fn the_whole_matrix_is_as_committed() {
        let mut text = String::from(
            "# A turn\n\nWritten by a test of `runtime/src/turn.rs` (HOLDFAST_BLESS=1 writes it anew). Each cell is the next state\nand what follows; `-` cannot happen.\n\n| event |",
        );
        for state in STATES {
            let _ = write!(text, " {state:?} |");
        }
        text.push_str("\n| --- | --- | --- | --- | --- |\n");
        for (name, event) in events() {
            let _ = write!(text, "| {name} |");
            for state in STATES {
                let _ = write!(text, " {} |", cell(state, event));
            }
            text.push('\n');
        }
        text.push_str(DIAGRAM);
        blessed("docs/machines/turn.md", &text);
    }

    const DIAGRAM: &str = "\n```mermaid\nstateDiagram-v2\n  [*] --> Queued: queued behind another\n  [*] --> Ordered: prompt to an idle task\n  Queued --> Ordered: due\n  Queued --> Sealed: dequeue, stop\n  Ordered --> Ordered: never started\n  Ordered --> Cancelling: cancel, stop\n  Ordered --> Sealed: exited, lost, refused\n  Cancelling --> Sealed: exited, lost, never started\n  Sealed --> [*]\n```\n";

    #[test]
    fn a_sealed_turn_stays_as_it_is_and_a_turn_is_sealed_once() {
        for (_, event) in events() {
            assert!(step(TurnState::Sealed, event).is_err());
        }
    }

    #[test]
    fn a_signal_is_said_as_shells_say_it() {
        assert_eq!(exit_code(exit(EndedBy::Worker, ExitStatus::Code(7))), 7);
        assert_eq!(exit_code(exit(EndedBy::Kill, ExitStatus::Signal(9))), 137);
    }
}
