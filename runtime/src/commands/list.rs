//! The list of tasks.

use super::agents::worker_state;
use crate::params;
use crate::state::State;
use crate::task::{Standing, Task};
use serde_json::{Value, json};

/// Tasks of one `task.list` answer.
pub const LISTED_TASKS: usize = 1000;

pub(super) fn list(state: &State, list: params::List) -> Value {
    let after = list.after.as_deref().unwrap_or("");
    let limit = list.limit.map_or(LISTED_TASKS, |limit| (limit as usize).min(LISTED_TASKS));
    let mut rest = state.tasks.values().filter(|task| task.id.as_str() > after);
    let tasks: Vec<Value> = rest.by_ref().take(limit).map(listed).collect();
    json!({"tasks": tasks, "more": rest.next().is_some()})
}

fn listed(task: &Task) -> Value {
    let queued: Vec<&str> = task.queue.iter().map(|queued| queued.turn.as_str()).collect();
    let mut listed = json!({
        "task": task.id, "skill": task.skill, "state": task.state(), "turns": task.turns, "queued": queued,
        "turn": task.running.as_ref().map(|running| &running.turn), "created_at": task.created_at,
        "updated_at": task.updated_at, "protocol": task.protocol, "worker": worker_state(task),
        "permissions": task.permissions(),
    });
    let session = task.agent.as_ref().and_then(|agent| agent.session.as_ref());
    if let Some(modes) = session.and_then(|session| session.modes.as_ref()) {
        listed["modes"] = json!(modes);
    }
    if let Standing::Errored(error) = &task.standing {
        listed["error"] = json!(error);
    }
    listed
}
