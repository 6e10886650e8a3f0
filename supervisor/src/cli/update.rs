//! `update FILE`, and `update cancel|defer|status`: the change that is planned or under way.

use super::output::{CliError, Output};
use super::place::Place;
use crate::command::Update;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// It is one record in the supervisor's journal.
const ANSWERS: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    /// The bundle; its signature FILE.minisig is beside it.
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Take a version below the highest seen from its key.
    #[arg(long)]
    allow_downgrade: bool,
    #[command(subcommand)]
    command: Option<UpdateCommand>,
}

/// The change that is planned or under way.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum UpdateCommand {
    /// End it before anything is switched.
    Cancel,
    /// Put off what is planned or counting down.
    Defer,
    /// Say what is planned or under way.
    Status,
}

/// Runs it.
pub fn update(place: &Place, arguments: Arguments, output: &Output) -> Result<u8, CliError> {
    let Arguments { file, allow_downgrade, command } = arguments;
    let command = match (command, file) {
        (Some(command), _) => command,
        (None, Some(file)) => {
            let bundle = super::hand_over::hand_over(place, &file, output)?;
            let request = Update { bundle: bundle.display().to_string(), allow_downgrade };
            return super::switch::update(place, &request, output);
        }
        (None, None) => return Err(CliError::Usage("name a bundle".into())),
    };
    operate(place, command, output)
}

fn operate(place: &Place, command: UpdateCommand, output: &Output) -> Result<u8, CliError> {
    super::output::block_on(async {
        let client = place.supervisor();
        let path = match command {
            UpdateCommand::Cancel => "/v1/update/cancel",
            UpdateCommand::Defer => "/v1/update/defer",
            UpdateCommand::Status => "/v1/status",
        };
        let asked: Result<Value, _> = match command {
            UpdateCommand::Status => client.get(path, ANSWERS).await,
            _ => client.post(path, &json!({}), ANSWERS).await,
        };
        let answer = asked.map_err(|error| place.explain(error))?;
        output.result(&answer["update"], || words(&answer["update"]));
        Ok(crate::exit::FINE)
    })
}

fn words(update: &Value) -> String {
    let told = |name: &str, value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(format!("{name:<12} {text}")),
        Value::Array(all) if all.is_empty() => None,
        other => Some(format!("{name:<12} {other}")),
    };
    let due = update["scheduled_for"].as_i64().and_then(super::attempts::time);
    [
        told("update", &update["state"]),
        told("", &update["message"]),
        told("release", &update["target_version"]),
        told("reason", &update["planned_reason"]),
        due.map(|due| format!("{:<12} {due}", "due")),
        told("failed with", &update["failure_reason"]),
        told("then", &update["subsequent_transition"]),
        told("possible", &update["operator_actions"]),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<String>>()
    .join("\n")
}
