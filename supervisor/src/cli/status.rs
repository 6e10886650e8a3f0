//! `status`: how the node is.

use super::output::{CliError, Output};
use super::place::Place;
use holdfast_shared::home::Role;
use serde_json::{Value, json};
use std::time::Duration;

/// The supervisor's loop answers at once; past this it is stuck.
const ANSWERS: Duration = Duration::from_secs(5);

/// Prints the status; its exit code says whether all is well.
pub fn status(place: &Place, output: &Output) -> Result<u8, CliError> {
    let asked = super::output::block_on(async {
        place.supervisor().get::<Value>("/v1/status", ANSWERS).await.map_err(|error| place.explain(error))
    });
    let status = match asked {
        Ok(status) => status,
        Err(CliError::Call(_)) if place.anything_lives() => without_supervisor(place),
        Err(error) => return Err(error),
    };
    output.result(&status, || words(&status, output));
    Ok(if is_fine(&status) { crate::exit::FINE } else { crate::exit::DEGRADED })
}

fn is_fine(status: &Value) -> bool {
    let state = status["node"]["state"].as_str().unwrap_or_default();
    let problems = status["node"]["problems"].as_array().is_some_and(|problems| !problems.is_empty());
    matches!(state, "running" | "switching" | "settling" | "starting" | "stopping") && !problems
}

/// What can be said while no supervisor answers.
pub(super) fn without_supervisor(place: &Place) -> Value {
    let lives = |role: Role| json!({"alive": place.lives(role)});
    json!({
        "node": {"state": "degraded", "home": place.home.path(), "ready": false,
            "problems": ["the supervisor does not answer; the keeper starts it again, or `holdfast up` does"]},
        "keeper": lives(Role::Keeper),
        "supervisor": {"pid": Value::Null},
        "sidecar": lives(Role::Sidecar),
        "active": Value::Null,
        "candidate": Value::Null,
        "update": {"state": "idle"},
    })
}

fn words(status: &Value, output: &Output) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let state = text(&status["node"]["state"]);
    let colour = if is_fine(status) { "32" } else { "33" };
    let mut lines = vec![
        format!("node        {}  {}", output.paint(colour, &state), text(&status["node"]["url"])),
        format!("home        {}", text(&status["node"]["home"])),
        format!(
            "supervisor  pid {}, generation {}",
            text(&status["supervisor"]["pid"]),
            text(&status["supervisor"]["generation"])
        ),
        format!(
            "sidecar     {}, pid {}, {} sessions",
            text(&status["sidecar"]["state"]),
            text(&status["sidecar"]["pid"]),
            text(&status["sidecar"]["sessions"])
        ),
    ];
    for (name, runtime) in [("active", &status["active"]), ("candidate", &status["candidate"])] {
        if runtime.is_object() {
            lines.push(format!(
                "{name:<11} slot {}, epoch {}, pid {}, {} ({})",
                text(&runtime["slot"]),
                text(&runtime["epoch"]),
                text(&runtime["pid"]),
                text(&runtime["runtime_instance_id"]),
                text(&runtime["release"])
            ));
        } else if name == "active" {
            lines.push("active      none".into());
        }
    }
    lines.push(format!("update      {}", text(&status["update"]["state"])));
    if let Some(failure) = status["update"]["failure_reason"].as_str() {
        lines.push(format!("last switch {failure}; see `holdfast attempts`"));
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for problem in list(&status["node"]["problems"]) {
        lines.push(output.paint("33", &format!("problem     {}", text(&problem))));
    }
    for part in list(&status["node"]["settings_not_applied"]) {
        lines.push(format!("settings    not applied yet: {}", text(&part)));
    }
    lines.join("\n")
}
