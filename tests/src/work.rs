//! Tasks, turns and commands as the tests use them.

use crate::client::{Client, Refusal, Since, Wanted};
use crate::node::Node;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A turn's command line ended, all of it shown; long, because everything of the node may be restarting.
pub const SEALED_DEADLINE: Duration = Duration::from_secs(60);

/// The channel of a task's conversation.
pub fn conversation(task: &str) -> String {
    format!("conversation:{task}")
}

/// A client of this node's operator.
pub fn client(node: &Node, channels: &[(&str, Since)]) -> Client {
    Client::start(wanted(node, channels, false))
}

/// A client that keeps every event's data.
pub fn recorder(node: &Node, channels: &[(&str, Since)]) -> Client {
    Client::start(wanted(node, channels, true))
}

fn wanted(node: &Node, channels: &[(&str, Since)], keep_data: bool) -> Wanted {
    Wanted {
        address: node.ready.address(),
        token: node.ready.token.clone(),
        channels: channels.iter().map(|(name, since)| ((*name).to_owned(), *since)).collect(),
        keep_data,
    }
}

/// Opens a task of the built-in skill.
///
/// # Panics
/// When it is refused.
pub async fn open_task(client: &Client, task: &str) -> Value {
    let opened = client.command("task.open", json!({"task": task, "skill": "command"})).await;
    opened.unwrap_or_else(|refusal| panic!("task.open {task}: {refusal:?}"))
}

/// Prompts a task; the turn's id.
///
/// # Errors
/// The refusal.
pub async fn prompt(client: &Client, task: &str, text: &str, queue: bool) -> Result<String, Refusal> {
    let answer = client.command("task.prompt", json!({"task": task, "text": text, "queue": queue})).await?;
    Ok(answer["turn"].as_str().unwrap_or_default().to_owned())
}

/// A command line that writes numbered lines until it is told to end, then how many there were.
#[derive(Clone, Debug)]
pub struct PacedTurn {
    end_file: PathBuf,
    pause: &'static str,
}

impl PacedTurn {
    /// A line every 20 ms.
    pub fn new(scratch: &Path) -> Self {
        Self::every(scratch, "0.02")
    }

    /// A line every so many seconds, as `sleep` takes them.
    pub fn every(scratch: &Path, pause: &'static str) -> Self {
        Self { end_file: scratch.join(format!("end-{}", uuid::Uuid::new_v4().simple())), pause }
    }

    /// The command line.
    pub fn command_line(&self) -> String {
        format!(
            "i=0; while [ ! -e '{}' ]; do i=$((i+1)); echo \"line $i\"; sleep {}; done; echo \"last $i\"",
            self.end_file.display(),
            self.pause
        )
    }

    /// Lets it end.
    ///
    /// # Panics
    /// When the file cannot be made.
    pub fn end(&self) {
        std::fs::write(&self.end_file, "").expect("a new file");
    }
}

/// Checks that a paced turn's whole text is there, each line once and in order; the number of lines.
///
/// # Errors
/// The first line that is not as it should be.
pub fn check_paced(text: &str) -> Result<u64, String> {
    let mut lines = 0;
    for line in text.lines() {
        if line == format!("line {}", lines + 1) {
            lines += 1;
        } else if line == format!("last {lines}") {
            return Ok(lines);
        } else {
            return Err(format!("after {lines} lines came {line:?}"));
        }
    }
    Err(format!("no last line after {lines} lines"))
}

/// Whether the last turn seen is sealed.
pub fn sealed(events: &[Value], turn: &str) -> bool {
    seal_of(events, turn).is_some()
}

/// The seal of a turn.
pub fn seal_of<'a>(events: &'a [Value], turn: &str) -> Option<&'a Value> {
    events.iter().find(|event| event["type"] == "turn.sealed" && event["turn"] == turn)
}
