//! The modes of a session: ways of working that an agent offers, one of which is in use.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Modes that are kept of what an agent offers.
pub const MODES_MAX: usize = 64;
/// Bytes of a mode's id; one with a longer id is none. All of them are journaled, and listed with their task.
pub const ID_BYTES_MAX: usize = 256;
/// Characters of a mode's name and of its description; longer ones are cut.
pub const TEXT_CHARS_MAX: usize = 256;

/// The modes of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Modes {
    /// The one in use.
    pub current_mode_id: String,
    /// All there are.
    pub available_modes: Vec<Mode>,
}

/// A mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mode {
    /// Names it in `session/set_mode`.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Modes {
    /// The `modes` of the answer to `session/new`, `session/load` or `session/resume`; `None` where there are none.
    /// A mode without an id is left out.
    pub fn read(result: &Value) -> Option<Self> {
        let modes = result.get("modes")?;
        let current_mode_id = mode_id(modes.get("currentModeId")?)?;
        let available = modes.get("availableModes")?.as_array()?;
        let available_modes = available.iter().filter_map(read_mode).take(MODES_MAX).collect();
        Some(Self { current_mode_id, available_modes })
    }

    /// Whether there is a mode of this id.
    pub fn has(&self, id: &str) -> bool {
        self.available_modes.iter().any(|mode| mode.id == id)
    }
}

fn mode_id(id: &Value) -> Option<String> {
    id.as_str().filter(|id| id.len() <= ID_BYTES_MAX).map(str::to_owned)
}

fn read_mode(mode: &Value) -> Option<Mode> {
    let cut = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect::<String>();
    let text = |field| mode.get(field).and_then(Value::as_str).map(cut);
    let id = mode_id(mode.get("id")?)?;
    Some(Mode { name: text("name").unwrap_or_else(|| id.clone()), id, description: text("description") })
}

/// The mode that an agent went into by itself, where this update of the session says so.
pub fn of_update(update: &Value) -> Option<&str> {
    let says_so = update.get("sessionUpdate").and_then(Value::as_str) == Some("current_mode_update");
    says_so.then(|| update.get("currentModeId").and_then(Value::as_str)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn modes_are_read_as_far_as_they_go_and_given_on_as_they_are_named() {
        let modes = json!({"currentModeId": "ask", "later": 1, "availableModes": [
            {"id": "ask", "name": "Ask", "description": "asks first", "later": 1},
            {"id": "code"}, {"name": "none"}, {"id": 5}, null,
        ]});
        let modes = Modes::read(&json!({"sessionId": "s", "modes": modes})).unwrap();
        assert!(modes.has("ask") && modes.has("code"));
        assert!(!modes.has("none") && !modes.has("") && !modes.has("Ask"));
        let expected = json!({"currentModeId": "ask", "availableModes": [
            {"id": "ask", "name": "Ask", "description": "asks first"}, {"id": "code", "name": "code"},
        ]});
        assert_eq!(serde_json::to_value(&modes).unwrap(), expected);
    }

    #[test]
    fn an_agent_without_modes_has_none() {
        let cases = [
            Value::Null,
            json!({}),
            json!({"modes": null}),
            json!({"modes": {}}),
            json!({"modes": {"currentModeId": 1, "availableModes": []}}),
            json!({"modes": {"currentModeId": "a", "availableModes": {}}}),
        ];
        for result in cases {
            assert_eq!(Modes::read(&result), None, "{result}");
        }
    }

    #[test]
    fn no_more_modes_are_kept_than_the_bound() {
        let many: Vec<_> = (0..1000).map(|number| json!({"id": number.to_string()})).collect();
        let modes = Modes::read(&json!({"modes": {"currentModeId": "0", "availableModes": many}})).unwrap();
        assert_eq!(modes.available_modes.len(), MODES_MAX);
    }

    #[test]
    fn what_an_agent_offers_is_bounded_before_it_is_kept() {
        let long = "é".repeat(100_000);
        let modes = json!({"currentModeId": "a", "availableModes": [
            {"id": "a", "name": long, "description": long}, {"id": long}, {"id": "b".repeat(ID_BYTES_MAX)},
        ]});
        let modes = Modes::read(&json!({"modes": modes})).unwrap();
        assert_eq!(modes.available_modes.len(), 2, "an id cannot be cut");
        let first = &modes.available_modes[0];
        assert_eq!(first.name.chars().count(), TEXT_CHARS_MAX);
        assert_eq!(first.description.as_deref(), Some(&*first.name));
        assert_eq!(Modes::read(&json!({"modes": {"currentModeId": long, "availableModes": []}})), None);
    }

    #[test]
    fn an_update_says_the_mode_only_where_it_is_of_that_kind() {
        let update = json!({"sessionUpdate": "current_mode_update", "currentModeId": "code"});
        assert_eq!(of_update(&update), Some("code"));
        assert_eq!(of_update(&json!({"sessionUpdate": "plan", "currentModeId": "code"})), None);
        assert_eq!(of_update(&json!({"sessionUpdate": "current_mode_update", "modeId": "code"})), None);
        assert_eq!(of_update(&Value::Null), None);
    }
}
