//! `switch`: a warm switch, with its progress.

use super::output::{CliError, Output};
use super::place::Place;
use crate::command::Switch;
use holdfast_shared::control::CallError;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Prewarming, switching and probation together have less than this.
const SWITCHES: Duration = Duration::from_secs(180);
/// Between two looks at the progress.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// One look.
const LOOK: Duration = Duration::from_secs(2);
/// A supervisor that died in the middle is back, and has settled, within this time.
const SETTLES: Duration = Duration::from_secs(60);

/// Switches.
pub fn switch(place: &Place, to: Option<&str>, output: &Output) -> Result<u8, CliError> {
    let to = to.and_then(Slot::from_name);
    super::output::block_on(async {
        let before = active(place).await.map_err(|error| place.explain(error))?;
        let client = place.supervisor();
        let request = Switch { to };
        let asked = client.post::<_, Value>("/v1/switch", &request, SWITCHES);
        let answer = tokio::select! {
            answer = asked => answer,
            never = show_progress(place, output) => match never {},
        };
        let answer = match answer {
            Err(CallError::Broken { .. } | CallError::Unreachable { .. }) => {
                after_a_death(place, &before, output).await?
            }
            answer => answer?,
        };
        output.result(&answer, || {
            let active = &answer["active"];
            format!("Slot {} serves, with epoch {}.", text(&active["slot"]), text(&active["epoch"]))
        });
        Ok(crate::exit::FINE)
    })
}

async fn active(place: &Place) -> Result<Value, CallError> {
    let status: Value = place.supervisor().get("/v1/status", LOOK).await?;
    Ok(status["active"].clone())
}

async fn show_progress(place: &Place, output: &Output) -> std::convert::Infallible {
    let client = place.supervisor();
    let mut shown = String::new();
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        if let Ok(status) = client.get::<Value>("/v1/status", LOOK).await {
            let message = text(&status["update"]["message"]);
            if status["update"]["state"] != json!("idle") && message != shown {
                output.say(&message);
                shown = message;
            }
        }
    }
}

/// The supervisor died while it switched: its successor settles, and what serves then is the outcome.
async fn after_a_death(place: &Place, before: &Value, output: &Output) -> Result<Value, CliError> {
    output.say("The supervisor was restarted in the middle; waiting until the node is settled ...");
    let deadline = Instant::now() + SETTLES;
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK_AGAIN).await;
        let Ok(status) = place.supervisor().get::<Value>("/v1/status", LOOK).await else { continue };
        if status["node"]["ready"] != json!(true) {
            continue;
        }
        let now = status["active"].clone();
        if now["slot"] != before["slot"] {
            return Ok(json!({"outcome": "switched", "active": now}));
        }
        let message = format!("the switch was interrupted; slot {} serves", text(&now["slot"]));
        return Err(ApiError::new(Code::Refused, message).with_details(json!({"active": now})).into());
    }
    Err(ApiError::new(Code::Unavailable, "the node has not settled; see `holdfast status`").into())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
