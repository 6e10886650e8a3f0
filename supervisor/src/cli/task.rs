//! `task ...` and `rpc`: commands as browsers send them, over the sidecar's control socket.

use super::follow::Follower;
use super::output::{CliError, Output};
use super::place::Place;
use crate::io::centrifuge_client::ClientError;
use clap::Subcommand;
use holdfast_shared::control::CallError;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::process::Signals;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

/// One attempt; the sidecar itself answers within 4 s.
const ANSWERS: Duration = Duration::from_secs(15);
/// How long a command whose outcome is pending is asked for again, under its id.
const ASKS_AGAIN: Duration = Duration::from_secs(120);
/// Between two of these.
const AGAIN: Duration = Duration::from_millis(100);

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
    /// Show a task's whole conversation and go on live. Ctrl-C detaches; the work goes on.
    Attach {
        /// The task.
        task: String,
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
                let answer = call(place, "task.list", &json!({})).await?;
                output.result(&answer, || table(&answer["tasks"]));
            }
            TaskCommand::Prompt { task, queue, wait, text } => {
                return prompt(place, &task, &text.join(" "), queue, wait, output).await;
            }
            TaskCommand::Attach { task } => return attach(place, &task, output).await,
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
        output.result(&answer, || format!("{answer:#}"));
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
async fn write(place: &Place, method: &str, mut params: Value) -> Result<Value, CliError> {
    params["command_id"] = json!(uuid::Uuid::now_v7());
    let deadline = Instant::now() + ASKS_AGAIN;
    loop {
        let error = match call(place, method, &params).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = match &error {
            CliError::Refused(refused) => matches!(refused.code, Code::OutcomePending | Code::Unavailable),
            CliError::Call(CallError::Refused(_)) => false,
            CliError::Call(_) => place.anything_lives(),
            _ => false,
        };
        if !again || Instant::now() >= deadline {
            return Err(error);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Follows a task's conversation, from its beginning or from now on.
async fn watch<'a>(place: &'a Place, task: &str, from_the_beginning: bool) -> Result<Follower<'a>, CliError> {
    let opened = Follower::open(place, &format!("conversation:{task}"), from_the_beginning).await;
    opened.map_err(|error| match error {
        CliError::Session(ClientError::Refused { code, .. }) if code == Code::UnknownChannel.number() => {
            let message = format!("there is no task {task}; `holdfast task open {task}` opens one");
            CliError::Refused(ApiError::new(Code::TaskNotFound, message))
        }
        error => error,
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
    let follower = match wait {
        true => Some(watch(place, task, false).await?),
        false => None,
    };
    let answer = write(place, "task.prompt", json!({"task": task, "text": text, "queue": queue})).await?;
    let Some(mut follower) = follower else {
        output.result(&answer, || format!("{task}: {}", self::text(&answer["turn"])));
        return Ok(crate::exit::FINE);
    };
    let turn = answer["turn"].clone();
    let mut signals = Signals::listen(&[libc::SIGINT]).map_err(CliError::system("catch Ctrl-C"))?;
    loop {
        let event = tokio::select! {
            event = follower.next() => event?,
            _ = signals.next() => {
                detached(task, output);
                return Ok(130);
            }
        };
        if event["turn"] != turn {
            continue;
        }
        show(&event, output);
        if event["type"] == "turn.sealed" {
            return Ok(exit_code(&event, output));
        }
    }
}

/// The command's own code; a turn that ended otherwise says so.
fn exit_code(sealed: &Value, output: &Output) -> u8 {
    let reason = text(&sealed["stop_reason"]);
    match sealed["exit_code"].as_i64() {
        Some(code) => u8::try_from(code).unwrap_or(crate::exit::FAILED),
        None if reason == "end_turn" => crate::exit::FINE,
        None => {
            output.say(&format!("The turn ended: {reason}."));
            crate::exit::FAILED
        }
    }
}

async fn attach(place: &Place, task: &str, output: &Output) -> Result<u8, CliError> {
    let mut follower = watch(place, task, true).await?;
    let mut signals = Signals::listen(&[libc::SIGINT]).map_err(CliError::system("catch Ctrl-C"))?;
    loop {
        tokio::select! {
            event = follower.next() => show_with_marks(&event?, output),
            _ = signals.next() => {
                detached(task, output);
                return Ok(crate::exit::FINE);
            }
        }
    }
}

fn detached(task: &str, output: &Output) {
    output.say(&format!("\nDetached; the work goes on. `holdfast task cancel {task}` cancels it."));
}

/// An event as the terminal shows it: stdout on stdout, stderr on stderr; as JSON, one event per line.
fn show(event: &Value, output: &Output) {
    if output.json {
        output.write(&format!("{event}\n"));
        return;
    }
    if event["type"] == "turn.output" {
        let text = event["text"].as_str().unwrap_or_default();
        match event["stream"].as_str() {
            Some("stderr") => {
                let mut stderr = std::io::stderr().lock();
                let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
            }
            _ => output.write(text),
        }
    }
}

fn show_with_marks(event: &Value, output: &Output) {
    show(event, output);
    if output.json {
        return;
    }
    let turn = text(&event["turn"]);
    match event["type"].as_str().unwrap_or_default() {
        "turn.started" => output.say(&output.paint("36", &format!("[{turn}] $ {}", text(&event["text"])))),
        "turn.queued" => {
            output.say(&output.paint("36", &format!("[{turn}] queued: {}", text(&event["text"]))))
        }
        "turn.sealed" => {
            let code =
                event["exit_code"].as_i64().map_or(String::new(), |code| format!(", exit code {code}"));
            output.say(&output.paint("36", &format!("[{turn}] {}{code}", text(&event["stop_reason"]))));
        }
        "truncated" => output.say("[older turns are gone]"),
        _ => {}
    }
}

fn table(tasks: &Value) -> String {
    let row = |task: &Value| {
        format!("{:<24} {:<10} {}", text(&task["task"]), text(&task["state"]), text(&task["skill"]))
    };
    tasks.as_array().into_iter().flatten().map(row).collect::<Vec<String>>().join("\n")
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
