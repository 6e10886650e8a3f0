//! `GET /supervisor/public/update-status`: what the supervisor has told, with the times as they are now. Pure.
//!
//! It is answered from memory, also while supervisor and runtime are down.

use serde_json::{Value, json};

/// What was told, with the seconds that are left at `now` in unix milliseconds and whether browser traffic reaches a
/// runtime. What is not of the expected form is answered as it was told.
pub fn fresh(told: &str, now: i64, link_up: bool) -> String {
    let Ok(mut status) = serde_json::from_str::<Value>(told) else { return told.to_owned() };
    if let Some(update) = status.get_mut("update").and_then(Value::as_object_mut) {
        let left = |time: Option<&Value>| Some((time?.as_i64()?.saturating_sub(now)).max(0) / 1000);
        let (countdown, state) = (left(update.get("scheduled_for")), left(update.get("state_until")));
        for (name, left) in [("countdown_remaining_sec", countdown), ("state_left_sec", state)] {
            if let Some(left) = left {
                update.insert(name.into(), json!(left));
            }
        }
    }
    if let Some(sidecar) = status.get_mut("sidecar").and_then(Value::as_object_mut) {
        // The one who answers serves, whatever it was when the supervisor last spoke.
        sidecar.insert("state".into(), json!("serving"));
        sidecar.insert("link_up".into(), json!(link_up));
    }
    status.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: i64) -> Value {
        let told = json!({
            "update": {"state": "countdown", "scheduled_for": 60_000, "state_until": 60_000, "countdown_remaining_sec": 60},
            "sidecar": {"state": "starting"},
        });
        serde_json::from_str(&fresh(&told.to_string(), now, false)).unwrap()
    }

    #[test]
    fn the_seconds_left_are_those_of_now() {
        assert_eq!(at(1_000)["update"]["countdown_remaining_sec"], json!(59));
        assert_eq!(at(58_999)["update"]["state_left_sec"], json!(1));
        assert_eq!(at(90_000)["update"]["countdown_remaining_sec"], json!(0));
        assert_eq!(at(0)["sidecar"], json!({"state": "serving", "link_up": false}));
    }

    #[test]
    fn without_a_time_there_are_no_seconds_and_foreign_forms_stay_as_they_are() {
        let told = fresh(r#"{"update":{"state":"idle","scheduled_for":null}}"#, 5, true);
        let status: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(status, json!({"update": {"state": "idle", "scheduled_for": null}}));
        for foreign in ["[1]", "no JSON", "{\"update\":7}"] {
            assert_eq!(fresh(foreign, 5, true), foreign);
        }
    }
}
