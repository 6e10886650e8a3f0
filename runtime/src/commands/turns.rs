//! What concerns turns: prompts, what waits, and the end of what runs.

use super::agents::cancel_number;
use super::{Given, PROMPT_BYTES, PROMPTED, Seen, Written, admitted, named};
use crate::conversation::{ANSWER_EVENTS_BYTES, OPEN_EVENTS_BYTES, UNFILED_SPANS};
use crate::order::turn_started;
use crate::params::{Prompt, TaskOnly, TaskTurn};
use crate::record::{self, Body};
use crate::state::State;
use crate::task::{Task, TaskCommand};
use crate::turn::{QUEUED_PROMPTS, TurnState};
use holdfast_shared::error::{ApiError, Code};
use serde_json::json;

pub(super) fn prompt(state: &State, prompt: Prompt, given: &Given, seen: &impl Seen) -> Written {
    if prompt.text.len() > PROMPT_BYTES || prompt.text.contains('\0') {
        let message = format!("text: at most {PROMPT_BYTES} bytes, without NUL");
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    let command = if prompt.queue { TaskCommand::PromptQueue } else { TaskCommand::Prompt };
    let task = admitted(state, &prompt.task, command, PROMPTED)?;
    if task.conversation.unfiled.len() >= UNFILED_SPANS {
        let message = format!("{UNFILED_SPANS} ended turns of task {} could not be put away", task.id);
        return Err(ApiError::new(Code::StorageFull, message));
    }
    // Said at once: a turn whose worker has to wait for room looks like one that runs and is silent.
    if let Some(error) = &given.no_room {
        return Err(error.clone());
    }
    let (turn, text) = (task.next_turn(), prompt.text);
    let answer = json!({"turn": turn});
    if task.running.is_none() && task.queue.is_empty() {
        return Ok((Body::TurnStarted(turn_started(task, turn, text, given.next)), answer));
    }
    if task.queue.len() >= QUEUED_PROMPTS {
        let message = format!("{QUEUED_PROMPTS} prompts wait in task {} already", task.id);
        return Err(ApiError::new(Code::Busy, message));
    }
    has_room(task)?;
    has_span(task)?;
    let (after, task) = (place(seen, &prompt.task)?, prompt.task);
    Ok((Body::TurnQueued(record::TurnQueued { task, turn, text, after }), answer))
}

pub(super) fn dequeue(state: &State, TaskTurn { task, turn }: TaskTurn, seen: &impl Seen) -> Written {
    let found = admitted(state, &task, TaskCommand::Dequeue, "dequeued from")?;
    if !found.queue.iter().any(|queued| queued.turn == turn) {
        let message = format!("turn: {:?} does not wait in task {task}", named(&turn));
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    has_room(found)?;
    has_span(found)?;
    let (after, answer) = (place(seen, &task)?, json!({"task": task, "turn": turn}));
    Ok((Body::TurnDequeued(record::TurnDequeued { task, turn, after }), answer))
}

pub(super) fn cancel(state: &State, TaskOnly { task }: TaskOnly) -> Written {
    let found = admitted(state, &task, TaskCommand::Cancel, "cancelled")?;
    let Some(running) = &found.running else {
        // The turn may just have ended by itself; that nothing runs is what was asked for.
        let answer = json!({"task": task, "turn": null});
        return Ok((Body::CommandAnswered(record::CommandAnswered {}), answer));
    };
    let (turn, answer) = (running.turn.clone(), json!({"task": task, "turn": running.turn}));
    if running.state == TurnState::Cancelling {
        return Ok((Body::CommandAnswered(record::CommandAnswered {}), answer));
    }
    let number = cancel_number(found);
    Ok((Body::TurnCancelled(record::TurnCancelled { task, turn, number }), answer))
}

pub(super) fn stop(state: &State, TaskOnly { task }: TaskOnly, seen: &impl Seen) -> Written {
    let found = admitted(state, &task, TaskCommand::Stop, "stopped")?;
    has_span(found)?;
    let number = cancel_number(found);
    let (after, answer) = (place(seen, &task)?, json!({"task": task}));
    Ok((Body::TaskStopped(record::TaskStopped { task, after, number }), answer))
}

/// Behind all output that can have been shown. A wrong place would move what a subscriber has seen.
pub(super) fn place(seen: &impl Seen, task: &str) -> Result<u64, ApiError> {
    let message = || format!("the output of task {task} cannot be read at the moment");
    seen.outputs(task).ok_or_else(|| ApiError::new(Code::Unavailable, message()))
}

/// A running turn holds up to so many events.
pub(super) fn has_room(task: &Task) -> Result<(), ApiError> {
    if task.conversation.is_full() { Err(full(task, OPEN_EVENTS_BYTES)) } else { Ok(()) }
}

/// Answers have room of their own behind that.
pub(super) fn has_room_for_an_answer(task: &Task) -> Result<(), ApiError> {
    match task.conversation.takes_no_answer() {
        true => Err(full(task, OPEN_EVENTS_BYTES + ANSWER_EVENTS_BYTES)),
        false => Ok(()),
    }
}

fn full(task: &Task, bytes: u64) -> ApiError {
    ApiError::new(Code::Busy, format!("the running turn of task {} holds {bytes} bytes of events", task.id))
}

/// Between two turns there is no span for events about what waits; the next begins at once.
pub(super) fn has_span(task: &Task) -> Result<(), ApiError> {
    if task.running.is_some() || task.queue.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(Code::Busy, format!("the next turn of task {} is about to begin", task.id)))
}
