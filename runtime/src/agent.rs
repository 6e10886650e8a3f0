//! A task's agent: its session, and the standing worker that serves turn after turn. Pure; a part of the fold.
//!
//! Numbers 1 to 15 of a worker's inbox are the handshake's and follow from its spool alone. From 16 on each number is
//! allotted by the record that decided on the message; what is in the message is derived again from journal and spool,
//! so that any runtime can write what was not consumed.

pub mod dialogue;
pub mod life;
pub mod mode;
pub mod upkeep;

use crate::acp::handshake::NUMBER_MAX;
use crate::acp::modes::Modes;
use crate::record::{
    EndingFor, PermissionAnswered, PermissionOutcome, RequestTaken, SessionReady, TerminalDeed,
    TerminalExited, TurnNumbers,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// Its modes, where the agent has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modes: Option<Modes>,
}

/// The one worker of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StandingWorker {
    /// Names it for ever.
    pub spawn_id: String,
    /// Which try it is to have one, from 1.
    pub number: u32,
    /// It has its session and takes prompts.
    pub ready: bool,
    /// The next inbox number.
    pub next: u64,
    /// Messages that were decided on and are perhaps not consumed, by number.
    pub messages: Vec<Sent>,
    /// It is told to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Its requests up to this output record are answered, or will be by a message.
    pub taken_to: u64,
    /// Whatever it asked people up to this output record is over.
    pub settled_to: u64,
    /// Modes that it was asked to go into and has not answered yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modes_asked: Vec<mode::Asked>,
    /// What it said about its mode up to this output record is known.
    #[serde(default)]
    pub mode_seen: u64,
    /// Turns that have output in its spool.
    pub served: u64,
    /// Its requests that wait for commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Wait>,
    /// Output records known to be on disk.
    pub synced_outputs: u64,
    /// When it was last of use, unix milliseconds.
    pub used_at: u64,
}

/// A message to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its inbox number.
    pub number: u64,
    /// What.
    pub what: What,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// What follows belongs to this turn.
    Mark(String),
    /// The running turn's prompt.
    Prompt,
    /// The running turn is to be cancelled.
    Cancel,
    /// The session's mode.
    Mode(String),
    /// The answer to a request.
    Answer {
        /// The record that ends the request's line.
        seq: u64,
        /// The agent's id of it, as JSON text.
        id: String,
        /// The command whose end is the answer; a wait may be longer than the turn, and its text is not read again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terminal: Option<String>,
    },
    /// The answer to a request for permission.
    Permission {
        /// The record that ends the request's line.
        seq: u64,
        /// The agent's id of it, as JSON text.
        id: String,
        /// The option chosen; none: cancelled.
        option: Option<String>,
    },
}

/// A worker's end, as it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why.
    pub why: EndingFor,
    /// The inbox message that says so.
    pub number: u64,
    /// More about why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
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
        let Some(worker) = self.worker_mut(&taken.spawn_id) else { return };
        worker.consumed(taken.consumed);
        worker.taken_to = worker.taken_to.max(taken.seq);
        let (seq, id) = (taken.seq, taken.id.clone());
        if let Some(TerminalDeed::Wait { terminal }) = &taken.terminal {
            worker.waiting.push(Wait { seq, id, terminal: terminal.clone() });
            return;
        }
        worker.send(taken.number, What::Answer { seq, id, terminal: None });
        match &taken.terminal {
            Some(TerminalDeed::Create { bytes }) => self.terminals.push(TerminalWorker {
                spawn_id: terminal_name(&taken.spawn_id, seq),
                bytes: *bytes,
                released: false,
            }),
            Some(TerminalDeed::Release { terminal }) => {
                let released = self.terminals.iter_mut().filter(|one| one.spawn_id == *terminal);
                released.for_each(|one| one.released = true);
            }
            Some(TerminalDeed::Wait { .. }) | None => {}
        }
    }

    /// A command that was waited for has ended.
    pub fn exited(&mut self, exited: &TerminalExited) {
        let Some(worker) = self.worker_mut(&exited.spawn_id) else { return };
        worker.consumed(exited.consumed);
        let Some(at) = worker.waiting.iter().position(|wait| wait.seq == exited.seq) else { return };
        let Wait { seq, id, terminal } = worker.waiting.remove(at);
        worker.send(exited.number, What::Answer { seq, id, terminal: Some(terminal) });
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

    /// A worker that takes prompts stands.
    pub fn is_warm(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.ready && worker.ending.is_none())
    }

    /// The worker has its session.
    pub fn ready(&mut self, ready: &SessionReady, at: u64) {
        let Some(worker) = self.worker_mut(&ready.spawn_id) else { return };
        (worker.ready, worker.used_at) = (true, at);
        (worker.taken_to, worker.settled_to) = (ready.outputs, ready.outputs);
        worker.mode_seen = ready.outputs;
        let (id, modes) = (ready.session.clone(), ready.modes.clone());
        self.session = Some(Session { id, resumable: ready.resumable, resumed: ready.resumed, modes });
        (self.wanted, self.switching) = (false, None);
    }

    /// The session that a new worker is to take up.
    pub fn session_to_load(&self) -> Option<String> {
        self.session.as_ref().filter(|session| session.resumable).map(|session| session.id.clone())
    }
}

impl StandingWorker {
    fn ordered(spawn_id: &str, number: u32, at: u64) -> Self {
        Self {
            spawn_id: spawn_id.to_owned(),
            number,
            ready: false,
            next: FIRST_NUMBER,
            messages: Vec::new(),
            ending: None,
            taken_to: 0,
            settled_to: 0,
            modes_asked: Vec::new(),
            mode_seen: 0,
            served: 0,
            waiting: Vec::new(),
            synced_outputs: 0,
            used_at: at,
        }
    }

    /// The numbers that a turn's mark and prompt would get.
    pub fn turn_numbers(&self) -> TurnNumbers {
        TurnNumbers { mark: self.next, prompt: self.next + 1 }
    }

    /// A message was decided on, with this number.
    pub fn send(&mut self, number: u64, what: What) {
        self.next = self.next.max(number + 1);
        self.messages.push(Sent { number, what });
    }

    /// A turn is to be brought to it.
    pub fn bring(&mut self, turn: &str, numbers: TurnNumbers, at: u64) {
        self.send(numbers.mark, What::Mark(turn.to_owned()));
        self.send(numbers.prompt, What::Prompt);
        self.used_at = at;
    }

    /// Messages up to this one are consumed.
    pub fn consumed(&mut self, number: u64) {
        self.messages.retain(|sent| sent.number > number);
    }

    /// Requests whose answer is still needed, messages up to `consumed` being taken.
    pub fn needed(&self, consumed: u64) -> BTreeSet<u64> {
        let sent = self.messages.iter().filter(|sent| sent.number > consumed);
        let answers = sent.filter_map(|sent| match sent.what {
            What::Answer { seq, .. } => Some(seq),
            _ => None,
        });
        answers.collect()
    }

    /// Whether another message may be decided on, `consumed` being taken already.
    pub fn has_room(&self, consumed: u64) -> bool {
        self.messages.iter().filter(|sent| sent.number > consumed).count() < MESSAGES
    }

    /// A permission was answered.
    pub fn permitted(&mut self, answered: &PermissionAnswered) {
        self.consumed(answered.consumed);
        let option = match answered.outcome {
            PermissionOutcome::Selected => answered.option_id.clone(),
            PermissionOutcome::Cancelled => None,
        };
        self.send(answered.number, What::Permission { seq: answered.seq, id: answered.id.clone(), option });
    }

    /// Its turn is sealed behind this many of its output records: what only that turn was about is void. What it asked
    /// of files and commands is not, also what was read with the answer to its prompt and not taken yet.
    pub fn turn_over(&mut self, outputs: u64, has_output: bool, at: u64) {
        self.messages.retain(|sent| matches!(sent.what, What::Mode(_) | What::Answer { .. }));
        self.served += u64::from(has_output);
        self.settled_to = self.settled_to.max(outputs);
        self.used_at = at;
    }
}
