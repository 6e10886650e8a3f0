//! Where a conversation is shown from: its beginning, its last turns, or now.

use super::call::ask_and_say;
use super::follow::Start;
use super::output::{CliError, Output};
use super::place::Place;
use holdfast_shared::error::{ApiError, Code};
use serde_json::json;

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

/// There is none of this name; what opens one.
pub(super) fn no_task(task: &str) -> CliError {
    let message = format!("there is no task {task}; `holdfast task open {task}` opens one");
    CliError::Refused(ApiError::new(Code::TaskNotFound, message))
}

#[cfg(test)]
mod tests {
    use super::*;

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
