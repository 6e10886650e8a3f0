//! Work orders: a worker that is wanted for a turn, from before it starts until its turn is sealed. Pure.

use crate::agent::FIRST_NUMBER;
use crate::record::{TurnNumbers, TurnStarted};
use crate::task::Task;
use serde::{Deserialize, Serialize};

/// Number of the one inbox message a `command` worker can get: the word to end. Numbers are given by the journal
/// record written first, per worker.
pub const END_MESSAGE: u64 = 1;

/// A work order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkOrder {
    /// Names the worker for ever; also the name of its directory.
    pub spawn_id: String,
    /// Which order of the turn it is, from 1.
    pub number: u32,
    /// The prompt.
    pub text: String,
    /// The inbox message that tells the worker to end, once that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_message: Option<u64>,
    /// Output records known to be on disk.
    #[serde(default)]
    pub synced_outputs: u64,
}

impl WorkOrder {
    /// The first or a later order of a turn.
    pub fn new(spawn_id: &str, number: u32, text: &str) -> Self {
        let (spawn_id, text) = (spawn_id.to_owned(), text.to_owned());
        Self { spawn_id, number, text, end_message: None, synced_outputs: 0 }
    }
}

/// The name of the worker that the record (`epoch`, `lsn`) orders. A record's name is used once for ever, so the
/// worker's is too.
pub fn spawn_id(epoch: u64, lsn: u64) -> String {
    format!("w-{epoch}-{lsn}")
}

/// The numbers of a turn's mark and prompt in the inbox of a worker that it is the first for.
pub const FIRST_TURN: TurnNumbers = TurnNumbers { mark: FIRST_NUMBER, prompt: FIRST_NUMBER + 1 };

/// The record that begins a turn of a task, which will have the name `next`: with a worker of its own, or with the
/// agent's standing one, or one that is ordered with it.
pub fn turn_started(task: &Task, turn: String, text: String, next: (u64, u64)) -> TurnStarted {
    let fresh = spawn_id(next.0, next.1);
    let (spawn_id, numbers) = match &task.agent {
        None => (fresh, None),
        Some(agent) => match &agent.worker {
            Some(worker) => (worker.spawn_id.clone(), Some(worker.turn_numbers())),
            None => (fresh, Some(FIRST_TURN)),
        },
    };
    TurnStarted { task: task.id.clone(), turn, text, spawn_id, numbers }
}
