//! An agent's plan.

use super::harmless::one_line;
use super::words::text;
use serde_json::Value;

/// Entries that are kept.
const ENTRIES_MAX: usize = 64;

/// Status and text of each entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(Vec<(String, String)>);

impl Plan {
    /// Takes an update, which names all of them; whether anything has changed.
    pub fn take(&mut self, update: &Value) -> bool {
        let entries = update["entries"].as_array().into_iter().flatten().take(ENTRIES_MAX);
        let now = entries.map(|entry| (text(&entry["status"]), one_line(&text(&entry["content"])))).collect();
        std::mem::replace(&mut self.0, now) != self.0
    }

    /// All of it, an entry to a line.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(status, entry)| format!("  {} {entry}", tick(status))).collect()
    }

    /// Status and text of each entry.
    pub fn entries(&self) -> &[(String, String)] {
        &self.0
    }

    /// Its turn is over.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The sign of an entry's status.
pub fn tick(status: &str) -> &'static str {
    match status {
        "completed" => "[x]",
        "in_progress" => "[>]",
        _ => "[ ]",
    }
}
