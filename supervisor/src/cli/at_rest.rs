//! How a task is in which nothing runs: said to whoever looks at it.

use super::call::call;
use super::place::Place;
use super::task::text;
use crate::render::one_line;
use serde_json::{Value, json};

/// How a task is, where nothing runs in it: said to whoever looks at it. `None` while a turn runs or waits.
pub(super) fn at_rest(task: &Value) -> Option<String> {
    let (name, state, skill) = (text(&task["task"]), text(&task["state"]), text(&task["skill"]));
    let open = format!("`holdfast task open {name} --skill {skill}`");
    match state.as_str() {
        "errored" => {
            let why = task["error"].as_str().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
            Some(format!("[{name} is errored{why}; {open} starts it again]"))
        }
        "stopped" => Some(format!("[{name} is stopped; {open} opens it]")),
        "creating" => Some(format!("[{name} is being made: its agent starts; no turn runs]")),
        "ready" | "idle" => Some(format!("[{name} is {state}; no turn runs]")),
        _ => None,
    }
}

/// What the node says of a task; `null` where it does not know it, or no runtime answers: it is asked once.
pub(super) async fn look_up(place: &Place, task: &str) -> Value {
    let answer = call(place, "task.list", &json!({"after": before(task), "limit": 1})).await;
    let found = answer.map(|mut answer| answer["tasks"][0].take()).unwrap_or_default();
    if found["task"] == task { found } else { Value::Null }
}

/// A text that is before this name and behind every other that is: names have letters, digits and `.`, `_`, `-` alone, all
/// of them before `~`.
fn before(task: &str) -> String {
    let mut name: Vec<char> = task.chars().collect();
    let Some(last) = name.pop().and_then(|last| char::from_u32(u32::from(last).saturating_sub(1))) else {
        return String::new();
    };
    name.into_iter().chain([last, '~']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_rest_is_said_with_what_helps() {
        let of = |state: &str, error: Value| {
            at_rest(&json!({"task": "a", "state": state, "skill": "bad", "error": error})).unwrap_or_default()
        };
        let errored = of("errored", json!("no\nkey"));
        assert_eq!(errored, "[a is errored: no key; `holdfast task open a --skill bad` starts it again]");
        assert!(of("stopped", Value::Null).contains("`holdfast task open a --skill bad` opens it"));
        assert!(of("idle", Value::Null).contains("no turn runs"));
        assert_eq!(of("active", Value::Null), "");
    }

    #[test]
    fn a_task_is_the_first_behind_what_is_before_it() {
        let names = ["a", "ab", "a-b", "a.", "a0", "a9", "ab-", "ab0", "aaz", "aazz", "b", "b_", "0", "z.z"];
        for task in names {
            let before = before(task);
            let first = names.iter().copied().filter(|name| *name > before.as_str()).min();
            assert_eq!(first, Some(task), "{before}");
        }
    }
}
