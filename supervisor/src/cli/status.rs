//! `status`: how the node is.

use super::output::{CliError, Output};
use super::place::Place;
use crate::io::listener::remembered;
use holdfast_shared::home::Role;
use holdfast_shared::process::read_holder;
use serde_json::{Value, json};
use std::time::Duration;

/// The supervisor's loop answers at once; past this it is stuck.
const ANSWERS: Duration = Duration::from_secs(5);

/// The sidecar answers from memory; past this nothing is known of an update.
const SIDECAR_ANSWERS: Duration = Duration::from_secs(2);

/// Prints the status; its exit code says whether all is well.
pub fn status(place: &Place, output: &Output) -> Result<u8, CliError> {
    let asked = super::output::block_on(async {
        match place
            .supervisor()
            .get::<Value>("/v1/status", ANSWERS)
            .await
            .map_err(|error| place.explain(error))
        {
            Err(CliError::Call(_)) if place.anything_lives() => Ok(without_supervisor(place).await),
            asked => asked,
        }
    });
    let status = asked?;
    output.result(&status, || words(&status, output));
    Ok(if is_fine(&status) { crate::exit::FINE } else { crate::exit::DEGRADED })
}

fn is_fine(status: &Value) -> bool {
    let state = status["node"]["state"].as_str().unwrap_or_default();
    let problems = status["node"]["problems"].as_array().is_some_and(|problems| !problems.is_empty());
    matches!(state, "running" | "switching" | "settling" | "starting" | "stopping") && !problems
}

/// What can be said while no supervisor answers: what lives, and what the supervisor told the sidecar last.
pub(super) async fn without_supervisor(place: &Place) -> Value {
    let told = place.sidecar().post::<_, Value>("/v1/rpc/node.state", &json!({}), SIDECAR_ANSWERS).await;
    without(place, &told.unwrap_or_default())
}

/// The same from what the sidecar says, `null` where it does not answer.
fn without(place: &Place, told: &Value) -> Value {
    let of = |role: Role| json!({"alive": place.lives(role), "pid": pid(place, role)});
    let url = remembered(&place.home).ok().flatten().map(|address| format!("http://{address}/"));
    let update = if told["update"]["state"].is_string() {
        told["update"].clone()
    } else {
        json!({"state": "unknown"})
    };
    json!({
        "node": {"state": "degraded", "home": place.home.path(), "url": url, "ready": false,
            "problems": ["the supervisor does not answer; the keeper starts it again, or `holdfast up` does"]},
        "keeper": of(Role::Keeper),
        "supervisor": {"pid": Value::Null},
        "sidecar": of(Role::Sidecar),
        // Which runtime is active is the supervisor's to say.
        "active": Value::Null,
        "candidate": Value::Null,
        "update": update,
    })
}

fn pid(place: &Place, role: Role) -> Option<i32> {
    read_holder(&place.home, role).ok().flatten().map(|living| living.pid)
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

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::home::Home;

    #[test]
    fn without_a_supervisor_an_update_is_what_the_sidecar_was_told_or_unknown() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place { home: Home::new(directory.path().to_owned()) };
        let state = |told: &Value| without(&place, told)["update"]["state"].clone();
        assert_eq!(state(&json!({"update": {"state": "prewarming"}})), "prewarming");
        assert_eq!((state(&Value::Null), state(&json!({"update": 7}))), (json!("unknown"), json!("unknown")));
        let said = without(&place, &json!({"runtime": {"active_slot": "a", "epoch": 3}}));
        for path in ["/node/url", "/supervisor/pid", "/sidecar/pid", "/active", "/candidate"] {
            assert_eq!(said.pointer(path), Some(&Value::Null), "nothing lives: {path} in {said}");
        }
    }
}
