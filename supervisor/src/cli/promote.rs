//! `promote`: the root files of the release that serves, put in place; and what came of it.

use super::output::{CliError, Output};
use super::place::Place;
use holdfast_shared::control::CallError;
use holdfast_shared::error::{ApiError, Code};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// It is one record in the supervisor's journal.
const ANSWERS: Duration = Duration::from_secs(10);
/// Placing and the restart have three minutes each; then the previous files are back.
const PROMOTES: Duration = Duration::from_secs(400);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// One look; the supervisor replaces itself meanwhile.
const LOOK: Duration = Duration::from_secs(2);

/// Asks for it and waits for the end.
pub fn promote(place: &Place, output: &Output) -> Result<u8, CliError> {
    super::output::block_on(async {
        let client = place.supervisor();
        let asked = client.post::<_, Value>("/v1/update/promote", &json!({}), ANSWERS).await;
        asked.map_err(|error| place.explain(error))?;
        let attempt = ended(place, output).await?;
        output.result(&json!({"outcome": "promoted", "attempt": attempt}), || {
            "Supervisor and sidecar run from the new root files.".into()
        });
        Ok(crate::exit::FINE)
    })
}

/// The attempt, once it has succeeded.
async fn ended(place: &Place, output: &Output) -> Result<Value, CliError> {
    let begun = Instant::now();
    let (mut asked, mut shown) = (Value::Null, String::new());
    while begun.elapsed() < PROMOTES {
        if let Ok(all) = look(place).await {
            // The newest is the one that was asked for; one that follows it has another name.
            if asked.is_null() {
                asked = all["attempts"][0]["attempt"].clone();
            }
            let attempts = all["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
            let attempt = attempts.iter().find(|attempt| attempt["attempt"] == asked);
            match attempt.and_then(|attempt| Some((attempt, attempt["state"].as_str()?))) {
                Some((attempt, "succeeded")) => return Ok(attempt.clone()),
                Some((attempt, _)) if attempt["ended_at"].is_i64() => return Err(failed(attempt)),
                Some((_, state)) if state != shown => {
                    output.say(&state.replace('_', " "));
                    shown = state.to_owned();
                }
                _ => {}
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(ApiError::new(Code::Unavailable, "the promotion has not ended; see `holdfast status`").into())
}

async fn look(place: &Place) -> Result<Value, CallError> {
    place.supervisor().get("/v1/attempts", LOOK).await
}

fn failed(attempt: &Value) -> CliError {
    let text = |name: &str| attempt[name].as_str().unwrap_or_default().to_owned();
    let message = format!("{}: {}", text("failure_reason"), text("message"));
    ApiError::new(Code::Refused, message).with_details(json!({"attempt": attempt})).into()
}
