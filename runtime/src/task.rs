//! A task: what it is, and which command is allowed in which state. Pure.

use crate::agent::Agent;
use crate::agent::life::Phase;
use crate::channels::Log;
use crate::conversation::Conversation;
use crate::order::WorkOrder;
use crate::record::TurnNumbers;
use crate::turn::TurnState;
use holdfast_shared::error::Code;
use holdfast_shared::worker::Protocol;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Tasks of one node, stopped ones included; each is held in memory and in checkpoints.
pub const TASKS: usize = 4096;

/// A task's state as every surface shows it (CONTRACTS.md 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// There is no such task.
    Missing,
    /// The first session of its agent is being made.
    Creating,
    /// Open; no turn has run yet.
    Ready,
    /// A turn runs.
    Active,
    /// Open; a turn has run.
    Idle,
    /// Its worker cannot be started; to be opened again.
    Errored,
    /// Not open.
    Stopped,
}

impl TaskState {
    /// All of them.
    pub const ALL: [TaskState; 7] = [
        TaskState::Missing,
        TaskState::Creating,
        TaskState::Ready,
        TaskState::Active,
        TaskState::Idle,
        TaskState::Errored,
        TaskState::Stopped,
    ];

    /// The name in answers and events.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Missing => "missing",
            TaskState::Creating => "creating",
            TaskState::Ready => "ready",
            TaskState::Active => "active",
            TaskState::Idle => "idle",
            TaskState::Errored => "errored",
            TaskState::Stopped => "stopped",
        }
    }
}

/// A command to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskCommand {
    /// `task.open`
    Open,
    /// `task.switch`
    Switch,
    /// `task.prompt`
    Prompt,
    /// `task.prompt` with `queue`
    PromptQueue,
    /// `task.dequeue`
    Dequeue,
    /// `task.cancel`
    Cancel,
    /// `task.stop`
    Stop,
    /// `permission.answer`
    Answer,
    /// `task.mode`
    Mode,
}

/// Whether a command is allowed in a state. A task that is being stopped allows only what ends it
/// ([`Task::admits`]).
///
/// # Errors
/// The code of the refusal.
pub fn admits(state: TaskState, command: TaskCommand) -> Result<(), Code> {
    use TaskCommand as C;
    use TaskState as S;
    match (command, state) {
        (C::Open, S::Missing | S::Stopped | S::Errored) => Ok(()),
        (C::Open, S::Creating | S::Ready | S::Active | S::Idle) => Err(Code::AlreadyActive),
        (_, S::Missing) => Err(Code::TaskNotFound),
        // A worker that runs a turn is as warm as can be, and focus is the session's affair.
        (C::Switch, S::Creating | S::Ready | S::Active | S::Idle) => Ok(()),
        // A prompt to an agent that is starting waits for it.
        (C::Prompt, S::Creating | S::Ready | S::Idle) => Ok(()),
        (C::Prompt, S::Active) => Err(Code::AlreadyActive),
        (C::PromptQueue, S::Creating | S::Ready | S::Active | S::Idle) => Ok(()),
        // Without a running turn there is nothing to take back or to cancel, which is not an error of the state:
        // the turn may just have ended.
        (C::Dequeue | C::Cancel, S::Creating | S::Ready | S::Active | S::Idle) => Ok(()),
        (C::Stop, S::Creating | S::Ready | S::Active | S::Idle | S::Errored) => Ok(()),
        // Whoever answers late is told how it was answered.
        (C::Answer, _) => Ok(()),
        (C::Mode, S::Ready | S::Active | S::Idle) => Ok(()),
        (C::Mode, S::Creating) => Err(Code::TaskNotReady),
        (_, S::Errored | S::Stopped) => Err(Code::TaskNotReady),
    }
}

/// What a task is beside its turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Open for prompts.
    Open,
    /// To be stopped when its turn has ended.
    Stopping,
    /// Not open.
    Stopped,
    /// Its worker cannot be started; why.
    Errored(String),
}

/// A prompt that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Its turn.
    pub turn: String,
    /// The prompt.
    pub text: String,
}

/// The turn that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The turn.
    pub turn: String,
    /// Ordered or cancelling.
    pub state: TurnState,
    /// Its work order.
    pub order: WorkOrder,
    /// For an agent: the messages that bring it to the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<TurnNumbers>,
    /// When it was cancelled, unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<u64>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Chosen by whoever opened it.
    pub id: String,
    /// What its workers are.
    pub skill: String,
    /// What they speak.
    #[serde(default = "command")]
    pub protocol: Protocol,
    /// For skills that speak ACP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// The id in its workspace, once a worker was to run there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Open or not.
    pub standing: Standing,
    /// Turns so far; the last one is `t<turns>`.
    pub turns: u64,
    /// The turn that runs.
    pub running: Option<Running>,
    /// Prompts behind it, first in, first out.
    pub queue: VecDeque<Queued>,
    /// What is said in it.
    pub conversation: Conversation,
    /// Channel `task:<id>`.
    pub log: Log,
    /// When it was created, unix milliseconds.
    pub created_at: u64,
    /// When something last happened to it, unix milliseconds.
    pub updated_at: u64,
}

fn command() -> Protocol {
    Protocol::Command
}

impl Task {
    /// The state that every surface shows.
    pub fn state(&self) -> TaskState {
        match &self.standing {
            _ if self.running.is_some() => TaskState::Active,
            Standing::Open if self.agent.as_ref().is_some_and(|agent| agent.session.is_none()) => {
                TaskState::Creating
            }
            Standing::Open if self.turns == 0 => TaskState::Ready,
            Standing::Open => TaskState::Idle,
            Standing::Stopping | Standing::Stopped => TaskState::Stopped,
            Standing::Errored(_) => TaskState::Errored,
        }
    }

    /// Whether a command is allowed now.
    ///
    /// # Errors
    /// The code of the refusal.
    pub fn admits(&self, command: TaskCommand) -> Result<(), Code> {
        let ends_it = matches!(
            command,
            TaskCommand::Stop | TaskCommand::Cancel | TaskCommand::Dequeue | TaskCommand::Answer
        );
        if self.standing == Standing::Stopping && !ends_it {
            return Err(Code::TaskNotReady);
        }
        admits(self.state(), command)
    }

    /// The worker that is alive or ordered for it: the running turn's, or the standing one.
    pub fn worker(&self) -> Option<&str> {
        match &self.agent {
            Some(agent) => agent.worker.as_ref().map(|worker| worker.spawn_id.as_str()),
            None => self.running.as_ref().map(|running| running.order.spawn_id.as_str()),
        }
    }

    /// Requests for permission of its agent that wait for people.
    pub fn permissions(&self) -> u64 {
        self.agent.as_ref().and_then(|agent| agent.worker.as_ref()).map_or(0, |worker| worker.pending)
    }

    /// The last output record of its worker that is known to be on disk.
    pub fn synced_outputs(&self) -> u64 {
        match &self.agent {
            Some(agent) => agent.worker.as_ref().map_or(0, |worker| worker.synced_outputs),
            None => self.running.as_ref().map_or(0, |running| running.order.synced_outputs),
        }
    }

    /// Where its standing worker and turn are; `given` is the first message that was taken in the turn.
    pub fn phase(&self, given: Option<u64>) -> Option<Phase> {
        let worker = self.agent.as_ref()?.worker.as_ref()?;
        let Some(running) = &self.running else {
            return Some(if worker.ready { Phase::Warm } else { Phase::Starting });
        };
        let given = running.numbers.is_some_and(|numbers| given == Some(numbers.prompt));
        Some(match (running.state == TurnState::Cancelling, given) {
            (false, false) => Phase::Waiting,
            (false, true) => Phase::Prompted,
            (true, false) => Phase::CancelWaiting,
            (true, true) => Phase::Cancelling,
        })
    }

    /// Turns that neither run nor wait.
    pub fn ended_turns(&self) -> u64 {
        self.turns.saturating_sub(self.queue.len() as u64 + u64::from(self.running.is_some()))
    }

    /// The id of the next turn.
    pub fn next_turn(&self) -> String {
        format!("t{}", self.turns + 1)
    }
}

/// The number in a turn's name.
pub fn turn_number(turn: &str) -> Option<u64> {
    let number = turn.strip_prefix('t')?.parse().ok()?;
    (format!("t{number}") == turn).then_some(number)
}

/// Whether `id` may name a task: `[a-z0-9][a-z0-9._-]{0,63}`. It is a directory name too.
pub fn id_is_valid(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    id.len() <= 64
        && id.bytes().next().is_some_and(plain)
        && id.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests;
