//! A task's agent: its session, and the standing worker that serves turn after turn. Pure; a part of the fold.
//!
//! Numbers 1 to 15 of a worker's inbox are the handshake's and follow from its spool alone. From 16 on each number is
//! allotted by the record that decided on the message; what is in the message is derived again from journal and spool,
//! so that any runtime can write what was not consumed.

pub mod dialogue;
pub mod last_words;
pub mod life;
pub mod mode;
mod standing;
pub mod upkeep;

use crate::acp::handshake::NUMBER_MAX;
use crate::acp::modes::Modes;
use crate::record::{RequestTaken, SessionReady, TaskFailure, TerminalAsked, TerminalDeed, TerminalExited};
use serde::{Deserialize, Serialize};
pub use standing::{Ending, Sent, StandingWorker, What};

/// The first inbox number that a record allots.
pub const FIRST_NUMBER: u64 = NUMBER_MAX + 1;
/// Messages to one worker that may wait to be consumed; past it no more of its requests are taken, which are answered
/// later. An agent that reads nothing waits for itself.
pub const MESSAGES: usize = 64;
/// Commands of one agent at a time, those that have ended and are not released included; further ones are refused.
pub const TERMINALS: usize = 32;
/// Requests of one worker that wait for commands; further ones are answered when the first are.
pub const WAITS: usize = 64;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agent {
    /// The standing worker, from its order until its end.
    pub worker: Option<StandingWorker>,
    /// The session, once there was one.
    pub session: Option<Session>,
    /// A worker is wanted though no turn asks for it.
    pub wanted: bool,
    /// Until when a switch to the task is to be answered, unix milliseconds.
    pub switching: Option<u64>,
    /// Why its turn could not be run, until those who look at the task are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<TaskFailure>,
    /// It has lost its session, and whoever reads the conversation is to be told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub loss_unsaid: bool,
    /// Commands that it had run and that are not removed yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub terminals: Vec<TerminalWorker>,
}

/// A command that an agent had run: a worker of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalWorker {
    /// Names the worker, and the terminal for the agent.
    pub spawn_id: String,
    /// Bytes of its output that an answer carries at most.
    pub bytes: u64,
    /// It is to be ended and removed.
    pub released: bool,
}

/// A request that waits for the end of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The record that ends the request's line.
    pub seq: u64,
    /// The agent's id of it, as JSON text.
    pub id: String,
    /// The command.
    pub terminal: String,
    /// It waits until it is known whether the command runs, not for its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub creating: bool,
    /// The turn is being cancelled: the command is not wanted any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub called_off: bool,
}

/// The name of the command that a worker asked for in the line that ends with this record.
pub fn terminal_name(worker: &str, seq: u64) -> String {
    format!("{worker}-t{seq}")
}

/// A session of the agent, which outlives its workers if the agent can load it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The agent's name of it.
    pub id: String,
    /// A later worker can take it up.
    pub resumable: bool,
    /// The worker that is ready took it up.
    pub resumed: bool,
    /// It is another than the one before, which knew of turns that had been: what was said in them, the agent has lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// Its modes, where the agent has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modes: Option<Modes>,
}

impl Agent {
    /// Its worker is there no longer, and so nobody asks for its commands any more.
    pub fn worker_gone(&mut self) {
        self.worker = None;
        self.terminals.iter_mut().for_each(|terminal| terminal.released = true);
    }

    /// The command of this name, unless it was released.
    pub fn terminal(&self, spawn_id: &str) -> Option<&TerminalWorker> {
        self.terminals.iter().find(|terminal| terminal.spawn_id == spawn_id && !terminal.released)
    }

    /// A request was taken.
    pub fn take(&mut self, taken: &RequestTaken) {
        let RequestTaken { task, spawn_id, seq, id, number, consumed, terminal } = taken.clone();
        // As earlier releases have it; with a number the answer was decided on at once.
        if let (Some(TerminalDeed::Create { bytes }), 0) = (&terminal, number) {
            return self.asked(&TerminalAsked { task, spawn_id, seq, id, consumed, bytes: *bytes });
        }
        let Some(worker) = self.worker_mut(&spawn_id) else { return };
        worker.taken(seq, consumed);
        match terminal {
            Some(TerminalDeed::Wait { terminal }) => {
                return worker.waiting.push(Wait { seq, id, terminal, creating: false, called_off: false });
            }
            Some(TerminalDeed::Create { bytes }) => self.add_terminal(terminal_name(&spawn_id, seq), bytes),
            Some(TerminalDeed::Release { terminal }) => self.release(&terminal),
            None => {}
        }
        if let Some(worker) = self.worker_mut(&spawn_id) {
            worker.send(number, What::Answer { seq, id, terminal: None, called_off: false });
        }
    }

    /// A command was asked for.
    pub fn asked(&mut self, asked: &TerminalAsked) {
        let TerminalAsked { spawn_id, seq, id, consumed, bytes, .. } = asked;
        let Some(worker) = self.worker_mut(spawn_id) else { return };
        worker.taken(*seq, *consumed);
        let (seq, id, terminal) = (*seq, id.clone(), terminal_name(spawn_id, *seq));
        worker.waiting.push(Wait { seq, id, terminal: terminal.clone(), creating: true, called_off: false });
        self.add_terminal(terminal, *bytes);
    }

    fn add_terminal(&mut self, spawn_id: String, bytes: u64) {
        self.terminals.push(TerminalWorker { spawn_id, bytes, released: false });
    }

    fn release(&mut self, terminal: &str) {
        let released = self.terminals.iter_mut().filter(|one| one.spawn_id == terminal);
        released.for_each(|one| one.released = true);
    }

    /// A command that was waited for has ended, or it is known whether one runs.
    pub fn exited(&mut self, exited: &TerminalExited) {
        let Some(worker) = self.worker_mut(&exited.spawn_id) else { return };
        worker.consumed(exited.consumed);
        let Some(at) = worker.waiting.iter().position(|wait| wait.seq == exited.seq) else { return };
        let Wait { seq, id, terminal, creating, called_off } = worker.waiting.remove(at);
        let terminal = Some(terminal).filter(|_| !creating);
        let called_off = called_off || exited.withdrawn;
        worker.send(exited.number, What::Answer { seq, id, terminal, called_off });
    }

    /// The turn is being cancelled: commands of which it is not known yet whether they run are not wanted any more.
    pub fn call_off(&mut self) {
        let waiting = self.worker.iter_mut().flat_map(|worker| &mut worker.waiting);
        for wait in waiting.filter(|wait| wait.creating) {
            wait.called_off = true;
            let named = self.terminals.iter_mut().filter(|one| one.spawn_id == wait.terminal);
            named.for_each(|one| one.released = true);
        }
    }

    /// Another worker in place of the one there was.
    pub fn order(&mut self, spawn_id: &str, number: u32, at: u64) -> &mut StandingWorker {
        self.worker_gone();
        self.worker.insert(StandingWorker::ordered(spawn_id, number, at))
    }

    /// The standing worker, if it is this one.
    pub fn worker_mut(&mut self, spawn_id: &str) -> Option<&mut StandingWorker> {
        self.worker.as_mut().filter(|worker| worker.spawn_id == spawn_id)
    }

    /// There is something to be done for it without a turn.
    pub fn is_unfinished(&self) -> bool {
        self.worker.is_some() || self.wanted || self.switching.is_some() || self.failed.is_some()
    }

    /// A worker that takes prompts stands.
    pub fn is_warm(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.ready && worker.ending.is_none())
    }

    /// No worker stands, and none was asked for.
    pub fn is_cold(&self) -> bool {
        let stands = self.worker.as_ref().is_some_and(|worker| worker.ending.is_none());
        !stands && !self.wanted && self.switching.is_none()
    }

    /// The worker has its session; `was_used` says whether turns had been before.
    pub fn ready(&mut self, ready: &SessionReady, was_used: bool, at: u64) {
        let Some(worker) = self.worker_mut(&ready.spawn_id) else { return };
        (worker.ready, worker.used_at) = (true, at);
        (worker.taken_to, worker.settled_to) = (ready.outputs, ready.outputs);
        worker.mode_seen = ready.outputs;
        let (id, modes) = (ready.session.clone(), ready.modes.clone());
        let lost = was_used && !ready.resumed && self.session.is_some();
        self.loss_unsaid |= lost;
        let (resumable, resumed) = (ready.resumable, ready.resumed);
        self.session = Some(Session { id, resumable, resumed, lost, modes });
        (self.wanted, self.switching) = (false, None);
    }

    /// The session that a new worker is to take up.
    pub fn session_to_load(&self) -> Option<String> {
        self.session.as_ref().filter(|session| session.resumable).map(|session| session.id.clone())
    }
}
