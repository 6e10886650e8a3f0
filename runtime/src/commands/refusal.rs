//! How a command is refused: what stands against it, and what helps.

use crate::task::{Standing, Task, id_is_valid};
use holdfast_shared::error::{ApiError, Code};
use serde_json::json;

/// Characters of what a caller names that a refusal says again.
const NAMED_CHARS: usize = 100;
/// What a prompt does to a task.
pub(super) const PROMPTED: &str = "prompted";

pub(super) fn not_found(id: &str) -> ApiError {
    let hint = if id_is_valid(id) { format!("; `holdfast task open {id}` opens one") } else { String::new() };
    ApiError::new(Code::TaskNotFound, format!("there is no task {:?}{hint}", named(id)))
}

/// What somebody named, as far as it is said again.
pub(super) fn named(name: &str) -> String {
    name.chars().take(NAMED_CHARS).collect()
}

pub(super) fn refusal(code: Code, task: &Task, done: &str) -> ApiError {
    let (id, state) = (&task.id, task.state());
    let message =
        format!("task {id} is {} and cannot be {done}{}", state.name(), what_then(code, task, done));
    let mut details = json!({"task": id, "state": state});
    if let Standing::Errored(why) = &task.standing {
        details["error"] = json!(why);
    }
    ApiError::new(code, message).with_details(details)
}

/// Why a task is as it is, where something was wrong, and what helps.
fn what_then(code: Code, task: &Task, done: &str) -> String {
    let (id, skill) = (&task.id, &task.skill);
    match (&task.standing, code) {
        (Standing::Errored(why), _) => {
            format!(": {why}; `holdfast task open {id} --skill {skill}` starts it again")
        }
        (_, Code::AlreadyActive) if done == PROMPTED => {
            "; with `queue` (`holdfast task prompt --queue`) the prompt waits in line".to_owned()
        }
        (_, Code::AlreadyActive) => format!(" again; `holdfast task prompt {id} TEXT` gives it work"),
        (Standing::Stopping, Code::TaskNotReady) => " while it is being stopped".to_owned(),
        (Standing::Stopped, _) => format!("; `holdfast task open {id} --skill {skill}` opens it"),
        _ => String::new(),
    }
}
