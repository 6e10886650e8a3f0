//! `task ...` and `rpc`: commands as browsers send them, over the sidecar's control socket.

use super::attach::{Attached, Begin, Ended};
use super::output::{CliError, Output};
use super::place::Place;
use crate::render::{json_text, one_line};
use clap::Subcommand;
use holdfast_shared::control::CallError;
use holdfast_shared::error::Code;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// One attempt; the sidecar itself answers within 4 s.
const ANSWERS: Duration = Duration::from_secs(15);
/// A command is asked for again, under its id, until what became of it is known.
const OF_A_COMMAND: Again =
    Again { within: Duration::from_secs(120), codes: &[Code::OutcomePending, Code::Unavailable] };
/// A read changes nothing, so there is no outcome of it to be unknown. After so long the node is taken for gone, as by who
/// follows a conversation.
const OF_A_READ: Again = Again {
    within: Duration::from_secs(60),
    codes: &[Code::OutcomePending, Code::Unavailable, Code::OutcomeUnknown],
};
/// Between two of these.
const AGAIN: Duration = Duration::from_millis(100);

/// When something is asked again.
struct Again {
    /// For how long.
    within: Duration,
    /// After these refusals.
    codes: &'static [Code],
}

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

/// Calls any method with any parameters.
pub fn rpc(place: &Place, method: &str, params: &str, output: &Output) -> Result<u8, CliError> {
    let params: Value = serde_json::from_str(params)
        .map_err(|error| CliError::Usage(format!("the parameters are no JSON: {error}")))?;
    if !params.is_object() {
        return Err(CliError::Usage("the parameters are no JSON object".into()));
    }
    super::output::block_on(async {
        let answer = call(place, method, &params).await?;
        output.result(&answer, || json_text(format!("{answer:#}")));
        Ok(crate::exit::FINE)
    })
}

async fn call(place: &Place, method: &str, params: &Value) -> Result<Value, CliError> {
    if !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(CliError::Usage(format!("{method:?} is no method")));
    }
    let path = format!("/v1/rpc/{method}");
    place.sidecar().post(&path, params, ANSWERS).await.map_err(|error| place.explain(error))
}

/// A command with an id: asked for again, under it, until its outcome is known. It happens once.
pub(super) async fn write(place: &Place, method: &str, mut params: Value) -> Result<Value, CliError> {
    params["command_id"] = json!(uuid::Uuid::now_v7());
    until_known(place, method, &params, &OF_A_COMMAND, |_| ()).await
}

/// A read: asked again until it is answered.
pub(super) async fn ask(place: &Place, method: &str, params: &Value) -> Result<Value, CliError> {
    until_known(place, method, params, &OF_A_READ, |_| ()).await
}

/// The same; that the node does not answer is said once.
pub(super) async fn ask_and_say(
    place: &Place,
    method: &str,
    params: &Value,
    output: &Output,
) -> Result<Value, CliError> {
    let mut said = false;
    let say = |error: &CliError| {
        if !std::mem::replace(&mut said, true) {
            output.say(&format!("The node does not answer; trying again ({error})."));
        }
    };
    until_known(place, method, params, &OF_A_READ, say).await
}

async fn until_known(
    place: &Place,
    method: &str,
    params: &Value,
    again: &Again,
    mut failed: impl FnMut(&CliError),
) -> Result<Value, CliError> {
    let deadline = Instant::now() + again.within;
    loop {
        let error = match call(place, method, params).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let is_again = match &error {
            CliError::Refused(refused) => again.codes.contains(&refused.code),
            CliError::Call(CallError::Refused(_)) => false,
            CliError::Call(_) => place.anything_lives(),
            _ => false,
        };
        if !is_again || Instant::now() >= deadline {
            return Err(error);
        }
        failed(&error);
        tokio::time::sleep(AGAIN).await;
    }
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
    use holdfast_shared::control::{Limits, Reply, Request, serve};
    use holdfast_shared::error::ApiError;
    use holdfast_shared::home::{Home, Role};
    use holdfast_shared::process::bind_unix;
    use std::cell::Cell;
    use std::rc::Rc;

    /// What a stand-in for the sidecar, which refuses the first two calls with `code`, made of a call.
    fn asked_of_one_that_refuses(code: Code, write_it: bool) -> (Result<Value, CliError>, usize) {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { home: Home::new(directory.path()) };
        std::fs::create_dir_all(place.home.run()).unwrap();
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let answer = super::super::output::block_on(async {
            let socket = bind_unix(&place.home.control(Role::Sidecar)).unwrap();
            let listener = tokio::net::UnixListener::from_std(socket).unwrap();
            let handle = move |_: Request| {
                counted.set(counted.get() + 1);
                let refused = counted.get() <= 2;
                async move {
                    if refused {
                        Err(ApiError::new(code, "not yet"))
                    } else {
                        Reply::json(&json!({"read": 1}))
                    }
                }
            };
            let serving = tokio::task::spawn_local(serve(listener, Limits::default(), handle));
            let answer = match write_it {
                true => write(&place, "task.open", json!({})).await,
                false => ask(&place, "conversation.history", &json!({})).await,
            };
            serving.abort();
            Ok(answer)
        });
        (answer.unwrap(), calls.get())
    }

    #[test]
    fn a_read_without_an_outcome_is_asked_again_and_a_command_is_not() {
        for code in [Code::OutcomeUnknown, Code::Unavailable, Code::OutcomePending] {
            let (answer, calls) = asked_of_one_that_refuses(code, false);
            assert_eq!((answer.unwrap(), calls), (json!({"read": 1}), 3), "{code:?}");
        }
        let (answer, calls) = asked_of_one_that_refuses(Code::OutcomeUnknown, true);
        assert!(matches!(answer, Err(CliError::Refused(error)) if error.code == Code::OutcomeUnknown));
        assert_eq!(calls, 1);
        let (answer, calls) = asked_of_one_that_refuses(Code::TaskNotFound, false);
        assert!(answer.is_err() && calls == 1);
    }

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
