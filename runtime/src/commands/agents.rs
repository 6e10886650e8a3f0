//! What concerns agents alone: their skills, permissions and modes.

use super::turns::{has_room_for_an_answer, place};
use super::{Late, Seen, Written, admitted, named};
use crate::agent::{Agent, StandingWorker};
use crate::event;
use crate::params::{Answer, Mode};
use crate::record::{self, Body, PermissionOutcome};
use crate::state::State;
use crate::task::{Task, TaskCommand, turn_number};
use crate::turn::TurnState;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Caller;
use holdfast_shared::worker::Protocol;
use serde_json::{Value, json};

/// What the workers of an installed skill speak.
pub(super) fn protocol(skill: &str, seen: &impl Seen) -> Result<Protocol, ApiError> {
    let unreadable = |error| ApiError::new(Code::Unavailable, format!("skills cannot be read: {error}"));
    let missing = || {
        let message = format!(
            "skill: {:?} is not installed; `holdfast skill list` names those that are, `holdfast skill install DIR` \
             installs one",
            named(skill)
        );
        ApiError::new(Code::InvalidRequest, message)
    };
    seen.protocol(skill).map_err(unreadable)?.ok_or_else(missing)
}

/// The message that asks the running turn's agent to cancel, if the turn can have been given to it and it was not asked
/// yet.
pub(super) fn cancel_number(task: &Task) -> Option<u64> {
    let running = task.running.as_ref().filter(|running| running.state != TurnState::Cancelling)?;
    let worker = task.agent.as_ref()?.worker.as_ref()?;
    (worker.ready && running.numbers.is_some()).then_some(worker.next)
}

/// How warm a task is, in a list.
pub(super) fn worker_state(task: &Task) -> &'static str {
    match task.agent.as_ref().and_then(|agent| agent.worker.as_ref()) {
        Some(worker) if worker.ending.is_some() => "none",
        Some(worker) if worker.ready => "warm",
        Some(_) => "starting",
        None => "none",
    }
}

/// Why nothing can be said of a request for permission: there never was one of this name, as far as can be told.
pub fn unknown_permission(task: &str, request: &str) -> ApiError {
    ApiError::new(
        Code::InvalidRequest,
        format!("request: no permission {:?} waits in task {}", named(request), named(task)),
    )
}

/// Whether an answer comes when its turn is over, and how the request ended is not in memory any more.
pub(super) fn late(state: &State, answer: &Answer) -> Result<Option<Late>, ApiError> {
    let task = admitted(state, &answer.task, TaskCommand::Answer, "answered")?;
    let Some((turn, seq)) = event::named_permission(&answer.request) else { return Ok(None) };
    let is_alive = task.running.as_ref().is_some_and(|running| running.turn == turn)
        || task.queue.iter().any(|queued| queued.turn == turn);
    let was = turn_number(turn).is_some_and(|number| (1..=task.turns).contains(&number));
    let is_known = || {
        let mut spans = task.conversation.unfiled.iter().filter(|span| span.turn == turn);
        spans.any(|span| span.permission(seq).is_some())
    };
    if is_alive || !was || is_known() {
        return Ok(None);
    }
    let (task, turn, request) = (task.id.clone(), turn.to_owned(), answer.request.clone());
    Ok(Some(Late { task, turn, seq, request }))
}

/// `permission.answer`: the first answer wins, all others are told how it was answered. What names a question of
/// another turn answers nothing.
pub(super) fn answer(state: &State, answer: Answer, caller: &Caller, seen: &impl Seen) -> Written {
    let task = admitted(state, &answer.task, TaskCommand::Answer, "answered")?;
    let unknown = || unknown_permission(&task.id, &answer.request);
    let (turn, seq) = event::named_permission(&answer.request).ok_or_else(unknown)?;
    let mut spans = task.conversation.open.iter().chain(&task.conversation.unfiled);
    let answered = spans.find(|span| span.turn == turn).and_then(|span| span.permission(seq));
    let is_running = task.running.as_ref().is_some_and(|running| running.turn == turn);
    let pending = seen.permission(&task.id, seq).filter(|_| is_running && answered.is_none());
    let Some(pending) = pending else {
        let answered = answered.ok_or_else(unknown)?;
        return Ok((Body::CommandAnswered(record::CommandAnswered {}), told(&task.id, answered)));
    };
    if let Some(option) = answer.option.as_ref().filter(|option| !pending.options.contains(option)) {
        let options: Vec<String> = pending.options.iter().map(|option| named(option)).collect();
        let message = format!("option: {:?} is none of {}", named(option), options.join(", "));
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    let (Some(running), Some(worker)) = (&task.running, standing(task)) else { return Err(unknown()) };
    let consumed = seen.consumed(&task.id);
    has_room_for_an_answer(task)?;
    has_room_for_messages(task, worker, consumed)?;
    let outcome = match answer.option {
        Some(_) => PermissionOutcome::Selected,
        None => PermissionOutcome::Cancelled,
    };
    let mut result = json!({"task": task.id, "request": answer.request, "outcome": outcome, "won": true});
    if let Some(option) = &answer.option {
        result["option_id"] = json!(option);
    }
    let body = record::PermissionAnswered {
        task: task.id.clone(),
        turn: running.turn.clone(),
        spawn_id: worker.spawn_id.clone(),
        seq,
        id: pending.id,
        number: worker.next,
        outcome,
        option_id: answer.option,
        by: Some(caller.principal.clone()),
        withdrawn: false,
        after: place(seen, &task.id)?,
        consumed,
    };
    Ok((Body::PermissionAnswered(body), result))
}

/// What is told to whoever answers after the end of the turn, when nobody had answered.
pub fn told_over(task: &str, request: &str) -> Value {
    told(task, &json!({"request": request, "outcome": PermissionOutcome::Cancelled}))
}

/// What is told to whoever answers late.
pub fn told(task: &str, answered: &Value) -> Value {
    let mut result = json!({
        "task": task, "request": answered["request"], "outcome": answered["outcome"], "won": false,
    });
    if let Some(option) = answered.get("option_id") {
        result["option_id"] = option.clone();
    }
    result
}

/// `task.mode`
pub(super) fn set_mode(state: &State, Mode { task, mode }: Mode, seen: &impl Seen) -> Written {
    let found = admitted(state, &task, TaskCommand::Mode, "set to a mode")?;
    let session = found.agent.as_ref().and_then(|agent| agent.session.as_ref());
    if !session.and_then(|session| session.modes.as_ref()).is_some_and(|modes| modes.has(&mode)) {
        let message = format!("mode: task {task} has no mode {:?}", named(&mode));
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    let worker = standing(found).filter(|_| found.agent.as_ref().is_some_and(Agent::is_warm));
    let Some(worker) = worker else {
        let message = format!("the agent of task {task} is not warm; switch to the task first");
        return Err(ApiError::new(Code::TaskNotReady, message));
    };
    let consumed = seen.consumed(&task);
    has_room_for_messages(found, worker, consumed)?;
    let (spawn_id, number) = (worker.spawn_id.clone(), worker.next);
    let answer = json!({"task": task, "mode": mode});
    Ok((Body::ModeSet(record::ModeSet { task, spawn_id, mode, number, consumed }), answer))
}

fn standing(task: &Task) -> Option<&StandingWorker> {
    task.agent.as_ref()?.worker.as_ref()
}

fn has_room_for_messages(task: &Task, worker: &StandingWorker, consumed: u64) -> Result<(), ApiError> {
    if worker.has_room(consumed) {
        return Ok(());
    }
    Err(ApiError::new(Code::Busy, format!("the agent of task {} does not read what it is told", task.id)))
}
