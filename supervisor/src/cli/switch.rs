//! `switch` and `rollback`: a change of the serving runtime, with its progress.

use super::output::{CliError, Output};
use super::place::Place;
use crate::command::{Rollback, Switch, Update};
use holdfast_shared::control::CallError;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::slot::Slot;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An update may wait for the minimum period and be put off; its working states have 30 minutes. Who no longer wants
/// to wait presses Ctrl-C: it goes on.
const SWITCHES: Duration = Duration::from_secs(7_200);
/// Between two looks at the progress.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// One look.
const LOOK: Duration = Duration::from_secs(2);
/// A supervisor that died is back within this time.
const COMES_BACK: Duration = Duration::from_secs(60);
/// States of an update in which nothing is under way.
const ENDED: [&str; 6] = ["root_promotion_pending", "idle", "failed", "rolled_back", "cancelled", "expired"];

/// Switches.
pub fn switch(place: &Place, to: Option<&str>, output: &Output) -> Result<u8, CliError> {
    change(place, "/v1/switch", &Switch { to: to.and_then(Slot::from_name) }, output)
}

/// Goes back.
pub fn rollback(place: &Place, output: &Output) -> Result<u8, CliError> {
    change(place, "/v1/rollback", &Rollback {}, output)
}

/// Installs a bundle and hands over to it.
pub fn update(place: &Place, request: &Update, output: &Output) -> Result<u8, CliError> {
    change(place, "/v1/update", request, output)
}

fn change(place: &Place, path: &str, request: &impl Serialize, output: &Output) -> Result<u8, CliError> {
    super::output::block_on(async {
        let before = status(place).await.map_err(|error| place.explain(error))?;
        let client = place.supervisor();
        let asked = client.post::<_, Value>(path, request, SWITCHES);
        let answer = tokio::select! {
            answer = asked => answer,
            never = show_progress(place, output) => match never {},
        };
        let answer = match answer {
            Err(CallError::Broken { .. } | CallError::Unreachable { .. }) => {
                after_a_death(place, &before["active"], output).await?
            }
            answer => answer?,
        };
        output.result(&answer, || {
            let active = &answer["active"];
            let pending = match answer["outcome"].as_str() {
                Some("root_promotion_pending") => " Its other root files wait for `holdfast promote`.",
                _ => "",
            };
            format!("Slot {} serves, with epoch {}.{pending}", text(&active["slot"]), text(&active["epoch"]))
        });
        Ok(crate::exit::FINE)
    })
}

async fn status(place: &Place) -> Result<Value, CallError> {
    place.supervisor().get("/v1/status", LOOK).await
}

fn has_ended(status: &Value) -> bool {
    status["update"]["state"].as_str().is_some_and(|state| ENDED.contains(&state))
}

async fn show_progress(place: &Place, output: &Output) -> std::convert::Infallible {
    let mut shown = String::new();
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        if let Ok(status) = status(place).await {
            let message = text(&status["update"]["message"]);
            if !has_ended(&status) && message != shown {
                output.say(&message);
                shown = message;
            }
        }
    }
}

/// The supervisor died in the middle: its successor goes on with the attempt, and how that ends is the outcome.
async fn after_a_death(place: &Place, before: &Value, output: &Output) -> Result<Value, CliError> {
    output.say("The supervisor was restarted in the middle; waiting for the end ...");
    let (begun, mut heard) = (Instant::now(), Instant::now());
    while begun.elapsed() < SWITCHES && heard.elapsed() < COMES_BACK {
        tokio::time::sleep(LOOK_AGAIN).await;
        let Ok(status) = status(place).await else { continue };
        heard = Instant::now();
        if status["node"]["ready"] != json!(true) || !has_ended(&status) {
            continue;
        }
        let now = status["active"].clone();
        if now["slot"] != before["slot"] {
            return Ok(json!({"outcome": "switched", "active": now}));
        }
        let why = &status["update"]["message"];
        let message =
            format!("the change was interrupted; slot {} serves. {}", text(&now["slot"]), text(why));
        return Err(ApiError::new(Code::Refused, message).with_details(json!({"active": now})).into());
    }
    Err(ApiError::new(Code::Unavailable, "the node has not settled; see `holdfast status`").into())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
