//! `attempts`: what was tried, and how it ended.

use super::output::{CliError, Output};
use super::place::Place;
use serde_json::Value;
use std::time::Duration;

/// The supervisor answers from memory.
const ANSWERS: Duration = Duration::from_secs(5);

/// Lists them, the newest first.
pub fn attempts(place: &Place, output: &Output) -> Result<u8, CliError> {
    super::output::block_on(async {
        let client = place.supervisor();
        let answer: Value =
            client.get("/v1/attempts", ANSWERS).await.map_err(|error| place.explain(error))?;
        output.result(&answer, || table(&answer["attempts"]));
        Ok(crate::exit::FINE)
    })
}

fn table(attempts: &Value) -> String {
    let attempts = attempts.as_array().map(Vec::as_slice).unwrap_or_default();
    if attempts.is_empty() {
        return "Nothing was tried yet.".into();
    }
    attempts.iter().map(line).collect::<Vec<String>>().join("\n")
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
