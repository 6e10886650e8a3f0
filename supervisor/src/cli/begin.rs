//! From where a task is looked at, and how it is where nothing runs in it.

use super::follow::Start;
use super::output::{CliError, Output};
use super::place::Place;
use super::task::{ask, ask_and_say, text};
use crate::render::one_line;
use holdfast_shared::error::{ApiError, Code};
use serde_json::{Value, json};

/// From where a conversation is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// From its beginning.
    Beginning,
    /// Its last turns, so many.
    Last(u32),
    /// What comes from now on.
    Now,
}

impl Begin {
    /// What `task attach` was asked for. Where nothing was, a person at a terminal wants what happens now, and a program
    /// that reads a pipe all of it.
    pub fn wished(all: bool, turns: Option<u32>, on_terminal: bool) -> Self {
        match turns {
            _ if all => Begin::Beginning,
            Some(turns) => Begin::Last(turns),
            None if on_terminal => Begin::Last(1),
            None => Begin::Beginning,
        }
    }
}

/// Where to begin, and whether there is more before it. A runtime of a release that knows no turns from the end shows all.
pub(super) async fn start(
    place: &Place,
    task: &str,
    from: Begin,
    output: &Output,
) -> Result<(Start, bool), CliError> {
    let turns = match from {
        Begin::Beginning => return Ok((Start::Beginning, false)),
        Begin::Now => return Ok((Start::Now, false)),
        Begin::Last(turns) => turns,
    };
    let asked = json!({"conversation": task, "last": {"turns": turns}, "limit": 0});
    match ask_and_say(place, "conversation.history", &asked, output).await {
        Ok(answer) => {
            let epoch = answer["epoch"].as_str().unwrap_or_default().to_owned();
            let offset = answer["since"]["offset"].as_u64().unwrap_or_default();
            Ok((Start::Behind { epoch, offset }, answer["more"] == true))
        }
        Err(CliError::Refused(refused)) if refused.code == Code::TaskNotFound => Err(no_task(task)),
        Err(CliError::Refused(refused)) if refused.code == Code::InvalidRequest => {
            Ok((Start::Beginning, false))
        }
        Err(error) => Err(error),
    }
}

/// There is no such task.
pub(super) fn no_task(task: &str) -> CliError {
    let message = format!("there is no task {task}; `holdfast task open {task}` opens one");
    CliError::Refused(ApiError::new(Code::TaskNotFound, message))
}

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

/// What the node says of a task; `null` where it does not know it.
pub(super) async fn look_up(place: &Place, task: &str) -> Result<Value, CliError> {
    let answer = ask(place, "task.list", &json!({"after": before(task), "limit": 1})).await?;
    let found = answer["tasks"][0].clone();
    Ok(if found["task"] == task { found } else { Value::Null })
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

    #[test]
    fn only_a_terminal_begins_with_the_last_turn_unasked() {
        assert_eq!(Begin::wished(false, None, true), Begin::Last(1));
        assert_eq!(Begin::wished(false, None, false), Begin::Beginning);
        for on_terminal in [true, false] {
            assert_eq!(Begin::wished(true, None, on_terminal), Begin::Beginning);
            assert_eq!(Begin::wished(false, Some(3), on_terminal), Begin::Last(3));
        }
    }
}
