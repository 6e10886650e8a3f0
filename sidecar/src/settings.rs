//! What can be set, with a unit in each name and the default of CONTRACTS.md 8.

use serde::Deserialize;
use std::time::Duration;

/// Settings of the sidecar, given whole as one JSON object at its start.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The first command of a session must have come by then.
    pub connect_within_ms: u64,
    /// Interval of the protocol's pings. SDKs give up on a server that is silent for 10 s longer.
    pub ping_ms: u64,
    /// After a ping, what a session has to show a sign of life.
    pub pong_ms: u64,
    /// A subscribe that cannot be served by then gets a temporary error; SDKs give up after 5 s.
    pub subscribe_within_ms: u64,
    /// A call that has no answer by then gets one about its outcome; SDKs give up after 5 s.
    pub call_within_ms: u64,
    /// After so much holding, commands are refused instead of queued.
    pub hold_unavailable_ms: u64,
    /// Pause between two attempts to reach the routed runtime.
    pub redial_ms: u64,
    /// Under load a socket is flushed at most once per this time.
    pub flush_ms: u64,
    /// Bytes of the newest publications kept per channel.
    pub hot_tail_bytes: usize,
    /// Unanswered commands of one session; past it the session is not read.
    pub unanswered_commands: usize,
    /// Bytes of unanswered commands of one session; past it the session is not read.
    pub unanswered_bytes: usize,
    /// Sessions at one time: a process may have 20,000 files open, a browser takes one, its upgrade a second
    /// for a moment.
    pub sessions: usize,
    /// Names, besides `localhost` and addresses, by which browsers may call this node (`Host`).
    pub allowed_hosts: Vec<String>,
    /// Origins, besides the node's own, whose pages may talk to it (`https://name[:port]`).
    pub allowed_origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_within_ms: 10_000,
            ping_ms: 25_000,
            pong_ms: 8_000,
            subscribe_within_ms: 2_000,
            call_within_ms: 4_000,
            hold_unavailable_ms: 30_000,
            redial_ms: 20,
            flush_ms: 10,
            hot_tail_bytes: 1024 * 1024,
            unanswered_commands: 32,
            unanswered_bytes: 256 * 1024,
            sessions: 9_000,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

/// Settings that cannot be used; all mistakes at once.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not the JSON object expected.
    #[error("sidecar settings: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Numbers that make no sense.
    #[error("sidecar settings: {}", .0.join("; "))]
    Invalid(Vec<String>),
}

impl Settings {
    /// Reads and checks settings from JSON text.
    ///
    /// # Errors
    /// Malformed JSON, unknown fields, or every value that is out of its range.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = serde_json::from_str(text)?;
        let positive = [
            ("connect_within_ms", settings.connect_within_ms),
            ("ping_ms", settings.ping_ms),
            ("pong_ms", settings.pong_ms),
            ("subscribe_within_ms", settings.subscribe_within_ms),
            ("call_within_ms", settings.call_within_ms),
            ("hold_unavailable_ms", settings.hold_unavailable_ms),
            ("redial_ms", settings.redial_ms),
            ("hot_tail_bytes", settings.hot_tail_bytes as u64),
            ("unanswered_commands", settings.unanswered_commands as u64),
            ("unanswered_bytes", settings.unanswered_bytes as u64),
            ("sessions", settings.sessions as u64),
        ];
        let mistakes: Vec<String> = positive
            .iter()
            .filter(|(_, value)| *value == 0)
            .map(|(name, _)| format!("{name} must be above 0"))
            .collect();
        if mistakes.is_empty() { Ok(settings) } else { Err(SettingsError::Invalid(mistakes)) }
    }

    /// Interval of pings.
    pub fn ping(&self) -> Duration {
        Duration::from_millis(self.ping_ms)
    }

    /// Silence in both directions after which a session is closed: a ping and its pong's time.
    pub fn silence(&self) -> Duration {
        Duration::from_millis(self.ping_ms + self.pong_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_all_mistakes_are_said_at_once() {
        assert_eq!(Settings::parse("{}").unwrap(), Settings::default());
        let error = Settings::parse(r#"{"ping_ms":0,"sessions":0}"#).unwrap_err().to_string();
        assert_eq!(error, "sidecar settings: ping_ms must be above 0; sessions must be above 0");
        assert!(Settings::parse(r#"{"pign_ms":1}"#).is_err());
    }
}
