//! What an agent says that it used: tokens, and how full the context window is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known of a turn's use; what the agent did not say is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens in the context window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Tokens that the context window holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What the session cost so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Tokens given to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens that it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// All tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// Tokens of its thoughts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought_tokens: Option<u64>,
    /// Tokens read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_read_tokens: Option<u64>,
    /// Tokens written to a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_write_tokens: Option<u64>,
}

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// In whole units of the currency.
    pub amount: f64,
    /// ISO 4217.
    pub currency: String,
}

impl Usage {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes an update of the session, of whatever kind; whether it said something of use.
    pub fn note_update(&mut self, update: &Value) -> bool {
        if update.get("sessionUpdate").and_then(Value::as_str) != Some("usage_update") {
            return false;
        }
        set(&mut self.used, update.get("used"));
        set(&mut self.size, update.get("size"));
        self.cost = update.get("cost").and_then(cost).or(self.cost.take());
        true
    }

    /// Takes the result of a prompt, which may say how many tokens the turn took.
    pub fn note_result(&mut self, result: &Value) {
        let Some(usage) = result.get("usage") else { return };
        set(&mut self.input_tokens, usage.get("inputTokens"));
        set(&mut self.output_tokens, usage.get("outputTokens"));
        set(&mut self.total_tokens, usage.get("totalTokens"));
        set(&mut self.thought_tokens, usage.get("thoughtTokens"));
        set(&mut self.cached_read_tokens, usage.get("cachedReadTokens"));
        set(&mut self.cached_write_tokens, usage.get("cachedWriteTokens"));
    }
}

fn set(field: &mut Option<u64>, said: Option<&Value>) {
    if let Some(count) = said.and_then(count) {
        *field = Some(count);
    }
}

/// A count, also where the writer knows only one kind of number.
pub(super) fn count(value: &Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..9e15).contains(number));
    value.as_u64().or_else(|| fraction().map(|number| number as u64))
}

/// Bytes of a currency's name; what is longer is none. It is journaled with the turn's end.
const CURRENCY_BYTES_MAX: usize = 16;

fn cost(value: &Value) -> Option<Cost> {
    let amount = value.get("amount")?.as_f64()?;
    let currency = value.get("currency")?.as_str().filter(|name| name.len() <= CURRENCY_BYTES_MAX)?;
    Some(Cost { amount, currency: currency.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_agent_says_is_kept_and_what_it_does_not_say_is_not_there() {
        let mut usage = Usage::default();
        assert!(usage.is_empty() && serde_json::to_value(&usage).unwrap() == json!({}));
        assert!(usage.note_update(&json!({"sessionUpdate": "usage_update", "used": 5, "size": 200_000})));
        usage.note_result(&json!({"stopReason": "end_turn", "usage": {
            "totalTokens": 7, "inputTokens": 4, "outputTokens": 3.0, "thoughtTokens": null, "cachedReadTokens": 1,
        }}));
        let expected = json!({"used": 5, "size": 200_000, "input_tokens": 4, "output_tokens": 3,
            "total_tokens": 7, "cached_read_tokens": 1});
        assert_eq!(serde_json::to_value(&usage).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Usage>(expected).unwrap(), usage);
    }

    #[test]
    fn the_last_word_counts_and_nonsense_is_no_word() {
        let mut usage = Usage::default();
        let cost = json!({"amount": 0.25, "currency": "USD"});
        usage.note_update(&json!({"sessionUpdate": "usage_update", "used": 5, "size": 10, "cost": cost}));
        for used in [json!(-1), json!(1.5), json!("7"), json!(null), json!(1e300), json!([])] {
            usage.note_update(
                &json!({"sessionUpdate": "usage_update", "used": used, "cost": {"amount": "x"}}),
            );
            assert_eq!((usage.used, usage.size), (Some(5), Some(10)), "{used}");
        }
        assert_eq!(usage.cost, Some(Cost { amount: 0.25, currency: "USD".to_owned() }));
        let cost = json!({"amount": 1, "currency": "x".repeat(1_000_000)});
        usage.note_update(&json!({"sessionUpdate": "usage_update", "cost": cost}));
        assert_eq!(usage.cost, Some(Cost { amount: 0.25, currency: "USD".to_owned() }));
        usage.note_update(&json!({"sessionUpdate": "usage_update", "used": 0}));
        assert_eq!(usage.used, Some(0));
    }

    #[test]
    fn other_updates_and_results_say_nothing() {
        let mut usage = Usage::default();
        assert!(!usage.note_update(&json!({"sessionUpdate": "plan", "used": 5})));
        assert!(!usage.note_update(&json!([])));
        for result in [json!(null), json!({"usage": null}), json!({"usage": 5}), json!({"usage": []})] {
            usage.note_result(&result);
        }
        assert!(usage.is_empty());
    }
}
