//! What a holder does about its worker, whole: pure.

use holdfast_shared::inbox::Kind;
use holdfast_shared::worker::EndedBy;

/// How far the worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not yet running.
    Starting,
    /// It runs.
    Running,
    /// Its stdin was closed so that it ends.
    Asking,
    /// All of its processes were sent TERM.
    Ending,
    /// All of its processes are sent KILL until none is left.
    Killing,
    /// No process is left; what is still in the pipes is recorded.
    Draining,
    /// The exit is being recorded.
    Recording,
    /// The exit is durable.
    Exited,
}

/// The state of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// How far the worker is.
    pub phase: Phase,
    /// The disk is full: nothing is read from the worker, nothing fed to it, what is queued is tried again.
    pub full: bool,
    /// What first made the worker end; `None` while nothing did.
    pub cause: Option<EndedBy>,
}

/// What happens to a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The worker's program is about to run; `started` is durable.
    Started,
    /// The next message of the inbox is wholly there.
    Message(Kind),
    /// SIGTERM to the holder.
    Stop,
    /// The turn's output reached its quota.
    QuotaReached,
    /// An agent closed its standard output and lives on: nothing more can come of it.
    Mute,
    /// The worker's own process ended.
    WorkerExited,
    /// No descendant is left.
    TreeEmpty,
    /// The armed timer fired.
    Deadline,
    /// Everything that was in the pipes is in the spool.
    PipesEmpty,
    /// The exit is durable.
    ExitWritten,
    /// A write found the disk full.
    NoSpace,
    /// A write that had found the disk full succeeded.
    SpaceAgain,
}

/// What a holder does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take the message: record `consumed`, then do what it says.
    Take,
    /// Close the worker's stdin.
    CloseStdin,
    /// Send TERM (and CONT) to all descendants.
    Terminate,
    /// Send KILL to all descendants.
    Kill,
    /// Arm the timer.
    Arm(Timer),
    /// Record the quota and discard output from now on.
    DiscardOutput,
    /// Read the pipes to their end, without pauses.
    Drain,
    /// Queue the exit record.
    RecordExit,
}

/// The times a holder waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// `term_grace_ms` of the order; zero for a worker that has no stdin to be asked by.
    TermGrace,
    /// `kill_grace_ms` of the order.
    KillGrace,
    /// What the descendants of a worker that has ended are given.
    LeftoverGrace,
    /// Until KILL is sent to what appeared meanwhile.
    KillAgain,
}

/// The event cannot happen in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to a holder in {state:?}")]
pub struct Illegal {
    /// The state.
    pub state: State,
    /// The event.
    pub event: Event,
}

impl State {
    /// Before anything.
    pub const START: State = State { phase: Phase::Starting, full: false, cause: None };

    fn to(self, phase: Phase) -> Self {
        State { phase, ..self }
    }

    fn because(self, cause: EndedBy) -> Self {
        State { cause: self.cause.or(Some(cause)), ..self }
    }
}

/// The new state and what to do, in order. A message that is not taken (no [`Action::Take`]) stays in the inbox,
/// unconsumed.
pub fn step(state: State, event: Event) -> Result<(State, Vec<Action>), Illegal> {
    use Action::{Arm, CloseStdin, DiscardOutput, Drain, Kill, RecordExit, Take, Terminate};
    use Event::{
        Deadline, ExitWritten, Message, Mute, NoSpace, PipesEmpty, QuotaReached, SpaceAgain, Started, Stop,
    };
    use Event::{TreeEmpty, WorkerExited};
    use Phase::{Asking, Draining, Ending, Exited, Killing, Recording, Running, Starting};
    use Timer::{KillAgain, KillGrace, LeftoverGrace, TermGrace};

    let end_of = |message: Kind| if message == Kind::Kill { EndedBy::Kill } else { EndedBy::Cancel };
    let (next, actions): (State, &[Action]) = match (state.phase, event) {
        (Starting, Started) => (state.to(Running), &[]),

        (Starting | Exited, _) => return Err(Illegal { state, event }),
        (_, NoSpace) if !state.full => (State { full: true, ..state }, &[]),
        (_, SpaceAgain) if state.full => (State { full: false, ..state }, &[]),

        (Running, Message(Kind::Cancel)) => {
            (state.to(Asking).because(EndedBy::Cancel), &[Take, CloseStdin, Arm(TermGrace)])
        }
        (Running, Stop) => (state.to(Asking).because(EndedBy::Stop), &[CloseStdin, Arm(TermGrace)]),
        (Running | Asking | Ending, Message(kind @ Kind::Kill)) => {
            (state.to(Killing).because(end_of(kind)), &[Take, Kill, Arm(KillAgain)])
        }
        (Running, Message(Kind::Input | Kind::TurnMark | Kind::CloseStdin)) if state.full => (state, &[]),
        (Running, Message(Kind::Input | Kind::TurnMark)) => (state, &[Take]),
        (Running, Message(Kind::CloseStdin)) => (state, &[Take, CloseStdin]),
        (_, Message(Kind::Cancel | Kind::Kill)) if !state.full => (state, &[Take]),
        (_, Message(_) | Stop) => (state, &[]),

        (Running, Mute) => (state.to(Asking).because(EndedBy::Worker), &[CloseStdin, Arm(TermGrace)]),

        (Running | Asking, QuotaReached) => {
            (state.to(Ending).because(EndedBy::Quota), &[DiscardOutput, Terminate, Arm(KillGrace)])
        }
        // Output is missing from now on, which outweighs that the worker ended by itself.
        (Ending | Killing | Draining, QuotaReached) if state.cause == Some(EndedBy::Worker) => {
            (State { cause: Some(EndedBy::Quota), ..state }, &[DiscardOutput])
        }
        (Ending | Killing | Draining, QuotaReached) => (state.because(EndedBy::Quota), &[DiscardOutput]),

        (Running | Asking | Ending, WorkerExited) => {
            (state.to(Ending).because(EndedBy::Worker), &[Terminate, Arm(LeftoverGrace)])
        }
        (Killing, WorkerExited) => (state, &[]),

        (Asking, Deadline) => (state.to(Ending), &[Terminate, Arm(KillGrace)]),
        (Ending | Killing, Deadline) => (state.to(Killing), &[Kill, Arm(KillAgain)]),

        (Ending | Killing, TreeEmpty) => (state.to(Draining), &[Drain]),
        (Draining, PipesEmpty) => (state.to(Recording), &[RecordExit]),
        (Recording, ExitWritten) => (state.to(Exited), &[]),

        _ => return Err(Illegal { state, event }),
    };
    Ok((next, actions.to_vec()))
}

#[cfg(test)]
mod tests;
