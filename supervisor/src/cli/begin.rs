//! Where a conversation is shown from: its beginning, its last turns, or now.

use super::follow::Start;
use super::output::CliError;
use super::place::Place;
use super::task::ask;
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

/// Where to begin, and whether there is more before it. A runtime of a release that knows no turns from the end shows all.
pub(super) async fn start(place: &Place, task: &str, from: Begin) -> Result<(Start, bool), CliError> {
    let turns = match from {
        Begin::Beginning => return Ok((Start::Beginning, false)),
        Begin::Now => return Ok((Start::Now, false)),
        Begin::Last(turns) => turns,
    };
    let asked = json!({"conversation": task, "last": {"turns": turns}, "limit": 0});
    match ask(place, "conversation.history", &asked).await {
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
