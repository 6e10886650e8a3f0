//! The runtime's settings, given whole as JSON at its start.

use holdfast_shared::free_space::MIN_FREE_BYTES;
use holdfast_shared::journal::{Limits, MAX_RECORD_BYTES};
use serde::Deserialize;
use std::time::Duration;

/// Settings; each has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A checkpoint is due after this many journal records.
    pub checkpoint_records: u64,
    /// Bytes of records that may wait for the journal's writer; past it commands are refused with `BUSY`. What was
    /// taken must fit the space kept allocated ahead (16 MiB, three quarters of it) when the disk fills up.
    pub journal_queue_bytes: u64,
    /// The first pause before the supervisor is asked again for a worker; doubled up to
    /// [`Settings::spawn_retry_longest_ms`].
    pub spawn_retry_ms: u64,
    /// The longest pause between two such asks.
    pub spawn_retry_longest_ms: u64,
    /// Idle agents that stay warm; opening one more ends the least recently used.
    pub warm_workers: u64,
    /// How long a switch to a task may take until its agent is ready.
    pub switch_timeout_ms: u64,
    /// How long an agent may take from its start until it has its session.
    pub agent_start_limit_ms: u64,
    /// How long an agent that was asked to cancel may take to end its turn.
    pub cancel_grace_ms: u64,
    /// How long an agent's turn may go on without a sign of life.
    pub turn_silence_limit_ms: u64,
    /// An agent is given no prompt while less is free on the disk of workers or workspaces; 0: not looked at.
    pub min_free_bytes: u64,
    /// A record of the journal may be so long. No node is configured otherwise: tests lower it.
    pub record_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            checkpoint_records: 10_000,
            journal_queue_bytes: Limits::RUNTIME.queue_bytes,
            spawn_retry_ms: 20,
            spawn_retry_longest_ms: 1000,
            warm_workers: 8,
            switch_timeout_ms: 5000,
            agent_start_limit_ms: 30_000,
            cancel_grace_ms: 10_000,
            turn_silence_limit_ms: 1_800_000,
            min_free_bytes: MIN_FREE_BYTES,
            record_bytes_max: MAX_RECORD_BYTES as u64,
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It is not of the settings' form.
    #[error("runtime settings: {0}")]
    Malformed(String),
    /// Values out of their range, all at once.
    #[error("runtime settings: {}", .0.join("; "))]
    OutOfRange(Vec<String>),
}

impl Settings {
    /// The pause before the ask number `asks` (from 1) for a worker is repeated.
    pub fn spawn_pause(&self, asks: u32) -> Duration {
        let doubled = self.spawn_retry_ms.saturating_mul(1 << asks.min(20).saturating_sub(1));
        Duration::from_millis(doubled.min(self.spawn_retry_longest_ms))
    }

    /// The settings with this JSON text.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Settings =
            serde_json::from_str(text).map_err(|error| SettingsError::Malformed(error.to_string()))?;
        let limits = [
            ("checkpoint_records", settings.checkpoint_records, 10, 1_000_000),
            ("journal_queue_bytes", settings.journal_queue_bytes, 1, Limits::RUNTIME.headroom_bytes / 4 * 3),
            ("spawn_retry_ms", settings.spawn_retry_ms, 1, 10_000),
            ("spawn_retry_longest_ms", settings.spawn_retry_longest_ms, 1, 60_000),
            ("warm_workers", settings.warm_workers, 0, 4096),
            ("switch_timeout_ms", settings.switch_timeout_ms, 1, 600_000),
            ("agent_start_limit_ms", settings.agent_start_limit_ms, 1, 3_600_000),
            ("cancel_grace_ms", settings.cancel_grace_ms, 1, 3_600_000),
            ("turn_silence_limit_ms", settings.turn_silence_limit_ms, 1, 7 * 24 * 3_600_000),
            ("min_free_bytes", settings.min_free_bytes, 0, 1 << 50),
            ("record_bytes_max", settings.record_bytes_max, 1, MAX_RECORD_BYTES as u64),
        ];
        let wrong: Vec<String> = limits
            .iter()
            .filter(|(_, value, low, high)| !(low..=high).contains(&value))
            .map(|(name, value, low, high)| format!("{name} is {value}, allowed are {low} to {high}"))
            .collect();
        if wrong.is_empty() { Ok(settings) } else { Err(SettingsError::OutOfRange(wrong)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_said_at_once_and_unknown_names_refused() {
        assert!(Settings::parse("{}").is_ok());
        let wrong = r#"{"checkpoint_records": 1, "spawn_retry_ms": 0, "journal_queue_bytes": 20000000}"#;
        let Err(SettingsError::OutOfRange(list)) = Settings::parse(wrong) else { panic!("taken") };
        assert_eq!(list.len(), 3);
        assert!(matches!(Settings::parse(r#"{"other": 1}"#), Err(SettingsError::Malformed(_))));
    }
}
