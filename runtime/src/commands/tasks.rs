//! What concerns a task as a whole: that it is open, and that somebody looks at it.

use super::{Given, Seen, Written, admitted, agents, refusal};
use crate::agent::Agent;
use crate::params::{Open, TaskOnly};
use crate::record::{self, Body};
use crate::state::{State, open_mode};
use crate::task::{TASKS, TaskCommand, TaskState, id_is_valid};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Caller;
use holdfast_shared::worker::Protocol;
use serde_json::json;

pub(super) fn open(state: &State, open: Open, given: &Given, seen: &impl Seen) -> Written {
    if !id_is_valid(&open.task) {
        let message = "task: 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit";
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    let protocol = agents::protocol(&open.skill, seen)?;
    let task = state.task(&open.task);
    if let Some(task) = task {
        task.admits(TaskCommand::Open).map_err(|code| refusal(code, task, "opened"))?;
        if task.skill != open.skill || task.protocol != protocol {
            let message = format!("skill: task {} has skill {:?}, as it was installed", task.id, task.skill);
            return Err(ApiError::new(Code::InvalidRequest, message));
        }
    } else if state.tasks.len() >= TASKS {
        return Err(ApiError::new(Code::Busy, format!("there are {TASKS} tasks already")));
    }
    let (mode, conversation_epoch) = (open_mode(task), given.fresh_epoch.clone());
    let has_session = task.and_then(|task| task.agent.as_ref()).is_some_and(|agent| agent.session.is_some());
    let state = match task {
        _ if protocol == Protocol::Acp && !has_session => TaskState::Creating,
        Some(task) if task.turns > 0 => TaskState::Idle,
        _ => TaskState::Ready,
    };
    let answer = json!({"task": open.task, "mode": mode, "state": state});
    let (task, skill) = (open.task, open.skill);
    Ok((Body::TaskOpened(record::TaskOpened { task, skill, mode, conversation_epoch, protocol }), answer))
}

pub(super) fn switch(state: &State, TaskOnly { task }: TaskOnly, caller: &Caller, given: &Given) -> Written {
    let found = admitted(state, &task, TaskCommand::Switch, "switched to")?;
    // A worker that was ended meanwhile, as one too many is, comes back before the prompt that somebody is writing.
    let is_cold = found.agent.as_ref().is_some_and(Agent::is_cold);
    if caller.focus.as_deref() == Some(&*task) && !is_cold {
        let answer = json!({"task": task, "state": found.state()});
        return Ok((Body::CommandAnswered(record::CommandAnswered {}), answer));
    }
    let answer = json!({"task": task, "state": "switching"});
    if found.agent.as_ref().is_some_and(|agent| !agent.is_warm()) {
        let deadline = given.now_ms.saturating_add(given.switch_timeout_ms);
        return Ok((Body::TaskSwitching(record::TaskSwitching { task, deadline }), answer));
    }
    // As warm as it gets, since a `command` worker is started per turn: `task.ready` follows at once.
    Ok((Body::TaskReady(record::TaskReady { task }), answer))
}
