//! `task ...`: commands as browsers send them, over the sidecar's control socket.

use super::attach::{Attached, Begin, Ended};
use super::call::{ask, write};
use super::output::{CliError, Output};
use super::place::Place;
use crate::render::one_line;
use clap::Subcommand;
use serde_json::{Value, json};
use std::io::IsTerminal;

/// Tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Open a task, new or existing.
    Open {
        /// Its name: a-z 0-9 . _ -
        task: String,
        /// What runs its prompts: command (each a shell command line), demo (a small agent that does what its prompt
        /// says, see `holdfast agent-demo --help`), or one that is installed (`holdfast skill list`).
        #[arg(long, default_value = "command")]
        skill: String,
    },
    /// List tasks.
    List,
    /// Give a task a prompt; with the skill `command`, a shell command line.
    Prompt {
        /// The task.
        task: String,
        /// Wait in line when a turn runs.
        #[arg(long)]
        queue: bool,
        /// Stream the turn and exit with the command's code.
        #[arg(long)]
        wait: bool,
        /// The prompt; in quotes, or behind `--`, where it has options of its own.
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Show the turn of a task that runs, or its last one, and go on live; keys answer what an agent asks. q or Ctrl-C
    /// detaches; the work goes on. In a pipe, and with --json, everything is shown from the first turn on.
    Attach {
        /// The task.
        task: String,
        /// Begin so many turns before the end.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
        turns: Option<u32>,
        /// Begin with the first turn.
        #[arg(long, conflicts_with = "turns")]
        all: bool,
    },
    /// Put an agent into one of its modes; `task list` shows them.
    Mode {
        /// The task.
        task: String,
        /// The mode's id.
        mode: String,
    },
    /// Answer an agent's request for permission.
    Permit {
        /// The task.
        task: String,
        /// The request, as `task attach` names it.
        request: String,
        /// The option's id; without one the request is cancelled.
        option: Option<String>,
    },
    /// Take back a prompt that waits in line.
    Dequeue {
        /// The task.
        task: String,
        /// The turn that waits.
        turn: String,
    },
    /// Cancel the running turn.
    Cancel {
        /// The task.
        task: String,
    },
    /// Stop a task.
    Stop {
        /// The task.
        task: String,
    },
}

/// Runs it.
pub fn task(place: &Place, command: TaskCommand, output: &Output) -> Result<u8, CliError> {
    super::output::block_on(async {
        match command {
            TaskCommand::Open { task, skill } => {
                let answer = write(place, "task.open", json!({"task": task, "skill": skill})).await?;
                output.result(&answer, || format!("{task} is {}.", text(&answer["mode"])));
            }
            TaskCommand::List => {
                let answer = ask(place, "task.list", &json!({})).await?;
                output.result(&answer, || table(&answer["tasks"]));
            }
            TaskCommand::Prompt { task, queue, wait, text } => {
                return prompt(place, &task, &text.join(" "), queue, wait, output).await;
            }
            TaskCommand::Attach { task, turns, all } => {
                let from = Begin::wished(all, turns, !output.json && std::io::stdout().is_terminal());
                let attached = Attached::open(place, &task, from, output).await?;
                if let Ended::Detached { running } = attached.run().await? {
                    detached(&task, running, output);
                }
            }
            TaskCommand::Mode { task, mode } => {
                let answer = write(place, "task.mode", json!({"task": task, "mode": mode})).await?;
                output.result(&answer, || format!("{task}: mode {}.", text(&answer["mode"])));
            }
            TaskCommand::Permit { task, request, option } => {
                let wish = json!({"task": task, "request": request, "option": option});
                let answer = write(place, "permission.answer", wish).await?;
                output.result(&answer, || permitted(&task, &answer));
            }
            TaskCommand::Dequeue { task, turn } => {
                let answer = write(place, "task.dequeue", json!({"task": task, "turn": turn})).await?;
                output.result(&answer, || format!("{task}: {turn} is taken back."));
            }
            TaskCommand::Cancel { task } => {
                let answer = write(place, "task.cancel", json!({"task": task})).await?;
                output.result(&answer, || format!("{task}: cancelled."));
            }
            TaskCommand::Stop { task } => {
                let answer = write(place, "task.stop", json!({"task": task})).await?;
                output.result(&answer, || format!("{task}: stopped."));
            }
        }
        Ok(crate::exit::FINE)
    })
}

async fn prompt(
    place: &Place,
    task: &str,
    text: &str,
    queue: bool,
    wait: bool,
    output: &Output,
) -> Result<u8, CliError> {
    // Watching begins before the prompt, so nothing of the turn is missed.
    let attached = match wait {
        true => Some(Attached::open(place, task, Begin::Now, output).await?),
        false => None,
    };
    let answer = write(place, "task.prompt", json!({"task": task, "text": text, "queue": queue})).await?;
    let Some(mut attached) = attached else {
        output.result(&answer, || format!("{task}: {}", self::text(&answer["turn"])));
        return Ok(crate::exit::FINE);
    };
    attached.only(answer["turn"].clone());
    match attached.run().await? {
        Ended::Sealed(event) => {
            let (code, said) = outcome(&event);
            said.iter().for_each(|said| output.say(said));
            Ok(code)
        }
        Ended::Detached { .. } => {
            detached(task, true, output);
            Ok(130)
        }
    }
}

/// What a sealed turn is to its caller: the exit code, and what is said of one that did not end by itself. The code is the
/// worker's own where that says that it failed; only a turn that ended as it should is fine.
fn outcome(sealed: &Value) -> (u8, Option<String>) {
    let reason = text(&sealed["stop_reason"]);
    let code = sealed["exit_code"].as_i64().map(|code| u8::try_from(code).unwrap_or(crate::exit::FAILED));
    let own = code.filter(|code| *code != crate::exit::FINE);
    match (reason.as_str(), own) {
        ("end_turn", own) => (own.unwrap_or(crate::exit::FINE), None),
        ("failed", Some(own)) => (own, None),
        _ => {
            let why: Vec<String> =
                ["code", "detail"].iter().filter_map(|name| sealed[*name].as_str().map(one_line)).collect();
            let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(": ")) };
            (own.unwrap_or(crate::exit::FAILED), Some(format!("The turn ended: {reason}{why}.")))
        }
    }
}

fn detached(task: &str, running: bool, output: &Output) {
    output.say(&match running {
        true => format!("\nDetached; the work goes on. `holdfast task cancel {task}` cancels it."),
        false => "\nDetached.".to_owned(),
    });
}

fn permitted(task: &str, answer: &Value) -> String {
    let said = match answer["option_id"].as_str() {
        Some(option) => one_line(option),
        None => text(&answer["outcome"]),
    };
    match answer["won"] == false {
        true => format!("{task}: another answer was first: {said}."),
        false => format!("{task}: answered {said}."),
    }
}

fn table(tasks: &Value) -> String {
    let row = |task: &Value| {
        let mode = text(&task["modes"]["currentModeId"]);
        let asks = task["permissions"].as_u64().unwrap_or_default() > 0;
        let state = if asks { "asks you".to_owned() } else { text(&task["state"]) };
        format!(
            "{:<24} {:<10} {:<16} {:<9} {:<9} {mode}",
            text(&task["task"]),
            state,
            text(&task["skill"]),
            text(&task["protocol"]),
            text(&task["worker"]),
        )
        .trim_end()
        .to_owned()
            + &task["error"].as_str().map(|why| format!("\n    {}", one_line(why))).unwrap_or_default()
    };
    tasks.as_array().into_iter().flatten().map(row).collect::<Vec<String>>().join("\n")
}

/// A value as words; an agent's own words (a mode's name) move nothing.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => one_line(text),
        other => one_line(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_which_task_asks() {
        let task = |name: &str, permissions: Value| json!({"task": name, "state": "active", "skill": "demo", "protocol": "acp", "worker": "warm", "permissions": permissions});
        let shown = table(&json!([task("a", json!(2)), task("b", json!(0)), task("older", Value::Null)]));
        let states: Vec<&str> = shown.lines().map(|line| line[24..36].trim()).collect();
        assert_eq!(states, ["asks you", "active", "active"], "{shown}");
    }

    #[test]
    fn a_list_says_why_a_task_is_errored() {
        let bad =
            json!({"task": "a", "state": "errored", "skill": "bad", "error": "no\u{1b}[2J key\nat all"});
        let shown = table(&json!([bad, {"task": "b", "state": "idle", "skill": "demo"}]));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!((lines.len(), lines[1]), (3, "    no␛[2J key at all"), "{shown}");
    }

    #[test]
    fn only_a_turn_that_ended_as_it_should_is_fine() {
        let sealed = |reason: &str, code: Option<i64>| {
            outcome(&json!({"type": "turn.sealed", "stop_reason": reason, "exit_code": code}))
        };
        assert_eq!(sealed("end_turn", None), (0, None));
        assert_eq!(sealed("end_turn", Some(0)), (0, None));
        assert_eq!(sealed("end_turn", Some(3)), (3, None));
        assert_eq!(sealed("failed", Some(3)), (3, None));
        let said = |reason: &str| Some(format!("The turn ended: {reason}."));
        assert_eq!(sealed("failed", None), (1, said("failed")));
        assert_eq!(
            sealed("interrupted", Some(0)),
            (1, said("interrupted")),
            "an agent that leaves in mid-turn"
        );
        assert_eq!(sealed("interrupted", Some(137)), (137, said("interrupted")));
        assert_eq!(sealed("cancelled", Some(143)), (143, said("cancelled")));
        assert_eq!(sealed("limit", Some(-9)), (1, said("limit")));
        let why = json!({"stop_reason": "failed", "code": "STORAGE_FULL", "detail": "no\u{1b}[2J room"});
        assert_eq!(outcome(&why).1.as_deref(), Some("The turn ended: failed (STORAGE_FULL: no␛[2J room)."));
    }
}
