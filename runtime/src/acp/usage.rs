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

fn cost(value: &Value) -> Option<Cost> {
    let amount = value.get("amount")?.as_f64()?;
    Some(Cost { amount, currency: value.get("currency")?.as_str()?.to_owned() })
}
