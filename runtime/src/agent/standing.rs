//! A task's standing worker: what it was told and is still to be told, which of its requests are taken. Pure.

use super::{FIRST_NUMBER, MESSAGES, Wait, mode};
use crate::record::{EndingFor, PermissionAnswered, PermissionOutcome, TurnNumbers};
use crate::workers::KnownRequests;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// Its requests for permission that wait for people, as far as whoever looks at tasks was told.
    #[serde(default, skip_serializing_if = "is_none")]
    pub pending: u64,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_none(number: &u64) -> bool {
    *number == 0
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
        /// It is refused: the turn was cancelled, or the agent had withdrawn it, before it could be served.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        called_off: bool,
    },
    /// The answer to a request for permission.
    Permission {
        /// The record that ends the request's line.
        seq: u64,
        /// The agent's id of it, as JSON text.
        id: String,
        /// The option chosen; none: cancelled.
        option: Option<String>,
        /// The agent asks no longer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        withdrawn: bool,
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

impl StandingWorker {
    pub(super) fn ordered(spawn_id: &str, number: u32, at: u64) -> Self {
        Self {
            spawn_id: spawn_id.to_owned(),
            number,
            ready: false,
            next: FIRST_NUMBER,
            messages: Vec::new(),
            ending: None,
            taken_to: 0,
            settled_to: 0,
            pending: 0,
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

    /// The request in this record is taken, messages up to `consumed` being consumed.
    pub(super) fn taken(&mut self, seq: u64, consumed: u64) {
        self.consumed(consumed);
        self.taken_to = self.taken_to.max(seq);
    }

    /// Requests whose answer is still needed, messages up to `consumed` being taken.
    pub fn needed(&self, consumed: u64) -> BTreeSet<u64> {
        let sent = self.messages.iter().filter(|sent| sent.number > consumed);
        let answers = sent.filter_map(|sent| match sent.what {
            What::Answer { seq, .. } => Some(seq),
            _ => None,
        });
        let creating = self.waiting.iter().filter(|wait| wait.creating).map(|wait| wait.seq);
        answers.chain(creating).collect()
    }

    /// What there is to know for who begins to read its spool.
    pub fn known(&self) -> KnownRequests {
        KnownRequests { taken_to: self.taken_to, needed: self.needed(0) }
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
        let (seq, id, withdrawn) = (answered.seq, answered.id.clone(), answered.withdrawn);
        self.send(answered.number, What::Permission { seq, id, option, withdrawn });
    }

    /// Its turn is sealed behind this many of its output records: what only that turn was about is void. What it asked
    /// of files and commands is not, also what was read with the answer to its prompt and not taken yet.
    pub fn turn_over(&mut self, outputs: u64, has_output: bool, at: u64) {
        // A segment of its own began with its mark, and messages are taken in order: answers before it are given.
        let mark = self.messages.iter().find(|sent| matches!(sent.what, What::Mark(_)));
        if let Some(mark) = mark.filter(|_| has_output).map(|sent| sent.number) {
            self.messages.retain(|sent| sent.number > mark || !matches!(sent.what, What::Answer { .. }));
        }
        self.messages.retain(|sent| matches!(sent.what, What::Mode(_) | What::Answer { .. }));
        self.served += u64::from(has_output);
        self.settled_to = self.settled_to.max(outputs);
        self.pending = 0;
        self.used_at = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(seq: u64) -> What {
        What::Answer { seq, id: "1".into(), terminal: None, called_off: false }
    }

    #[test]
    fn answers_that_a_turns_mark_has_passed_are_owed_to_nobody() {
        let mut worker = StandingWorker::ordered("w", 1, 0);
        worker.bring("t1", worker.turn_numbers(), 0);
        worker.send(worker.next, answer(4));
        worker.turn_over(9, true, 1);
        assert_eq!(worker.needed(0), [4].into(), "it may have been read with the turn's end");
        // A turn that was never brought to it says nothing of what was taken.
        worker.bring("t2", worker.turn_numbers(), 2);
        worker.turn_over(9, false, 3);
        assert_eq!(worker.needed(0), [4].into());
        worker.bring("t3", worker.turn_numbers(), 4);
        worker.send(worker.next, answer(12));
        worker.turn_over(20, true, 5);
        assert_eq!(worker.needed(0), [12].into());
    }
}
