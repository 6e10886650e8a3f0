//! `attempts`: what was tried, and how it ended.

use super::output::{CliError, Output};
use super::place::Place;
use crate::io::logs;
use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};
use std::time::Duration;

/// The supervisor answers from memory.
const ANSWERS: Duration = Duration::from_secs(5);
/// Lines of a failed candidate's log that are shown.
const LINES: usize = 5;
/// A candidate that is killed at the end of its attempt may still write for so long.
const WRITES_ON_MS: i64 = 1_000;
/// States in which a candidate runs.
const CANDIDATE_RUNS: [&str; 4] = ["prewarming", "admitted", "switching", "probation"];

/// Lists them, the newest first.
pub fn attempts(place: &Place, output: &Output) -> Result<u8, CliError> {
    super::output::block_on(async {
        let client = place.supervisor();
        let mut answer: Value =
            client.get("/v1/attempts", ANSWERS).await.map_err(|error| place.explain(error))?;
        for attempt in answer["attempts"].as_array_mut().into_iter().flatten() {
            if let Some(log) = candidate_log(place, attempt) {
                attempt["candidate_log"] = log;
            }
        }
        output.result(&answer, || table(&answer["attempts"], output));
        Ok(crate::exit::FINE)
    })
}

/// What the candidate of a failed attempt wrote last, where one ran.
fn candidate_log(place: &Place, attempt: &Value) -> Option<Value> {
    attempt["failure_reason"].as_str()?;
    let ended_at = attempt["ended_at"].as_i64()?;
    let mut steps = attempt["steps"].as_array()?.iter();
    let ran =
        steps.find(|step| step["state"].as_str().is_some_and(|state| CANDIDATE_RUNS.contains(&state)))?;
    let slot = Slot::from_name(attempt["slot"].as_str()?)?;
    let name = Role::Runtime(slot).name();
    let (from, to) = (ran["at"].as_i64()?, ended_at + WRITES_ON_MS);
    let lines = logs::lines_between(&place.home.logs(), name, from, to, LINES);
    Some(json!({"process": name, "lines": lines}))
}

fn table(attempts: &Value, output: &Output) -> String {
    let attempts = attempts.as_array().map(Vec::as_slice).unwrap_or_default();
    if attempts.is_empty() {
        return "Nothing was tried yet.".into();
    }
    let lines =
        attempts.iter().flat_map(|attempt| std::iter::once(line(attempt)).chain(log_lines(attempt, output)));
    lines.collect::<Vec<String>>().join("\n")
}

fn log_lines(attempt: &Value, output: &Output) -> Vec<String> {
    let log = &attempt["candidate_log"];
    let Some(process) = log["process"].as_str() else { return Vec::new() };
    let lines: Vec<&str> = log["lines"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let head = match lines.as_slice() {
        [] => format!(
            "         {process} wrote nothing; `holdfast logs {process}` has what came before and after"
        ),
        _ => format!("         last lines of `holdfast logs {process}`:"),
    };
    let lines = lines.into_iter().map(|line| format!("         | {}", super::logs::words(line, output)));
    std::iter::once(head).chain(lines).collect()
}

fn line(attempt: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let at = attempt["requested_at"].as_i64().and_then(time).unwrap_or_default();
    let why = match (&attempt["failure_reason"], &attempt["planned_reason"]) {
        (Value::String(reason), _) => {
            let stage = text(&attempt["failed_stage"]);
            format!("  {reason} in {stage}: {}", text(&attempt["message"]))
        }
        (_, Value::String(reason)) => format!("  {reason}"),
        _ => String::new(),
    };
    let back = &attempt["rollback_failure"];
    let back = if back.is_object() { format!("; {}", text(&back["message"])) } else { String::new() };
    format!(
        "{:<6} {at}  {:<8} slot {}  {:<10} {}{why}{back}",
        text(&attempt["attempt"]),
        text(&attempt["action"]),
        text(&attempt["slot"]),
        text(&attempt["target_version"]),
        text(&attempt["state"]),
    )
}

/// A time in unix milliseconds as RFC 3339, to the second.
pub(super) fn time(milliseconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(milliseconds / 1000).ok().map(|time| time.to_string())
}
