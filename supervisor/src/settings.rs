//! `<home>/holdfast.toml`, read by the supervisor; each child is given its own part whole at its start.

use crate::attempt::{OnLowMemory, Rules};
use crate::memory::Gate;
use crate::skill::out_of_range;
use holdfast_shared::free_space::MIN_FREE_BYTES;
use holdfast_shared::worker::Limits;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the inactive slot does when no switch is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standby {
    /// Nothing runs there.
    #[default]
    None,
    /// A runtime follows, so that settling after a crash costs no more than a switch.
    Warm,
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `none` (default) or `warm`.
    pub standby: Standby,
    /// `[supervisor]`
    pub supervisor: SupervisorSettings,
    /// `[command]`: the built-in skill.
    pub command: CommandSettings,
    /// `[runtime]`: checked by the runtime.
    pub runtime: toml::Table,
    /// `[sidecar]`: checked by the sidecar.
    pub sidecar: toml::Table,
}

/// The supervisor's own settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisorSettings {
    /// An active runtime that said nothing for so long is settled.
    pub active_silent_ms: u64,
    /// Any other child that said nothing for so long is killed.
    pub child_silent_ms: u64,
    /// A candidate that is not ready by then has failed.
    pub prewarming_ms: u64,
    /// Good probes in a row that admission and probation ask for.
    pub good_probes: u32,
    /// Between two probes.
    pub probe_interval_ms: u64,
    /// A probe that took longer is a bad one.
    pub probe_timeout_ms: u64,
    /// Probation ends as a failure after so long without the good probes.
    pub probation_ms: u64,
    /// Between two updates.
    pub minimum_update_period_ms: u64,
    /// What people see before an update.
    pub countdown_ms: u64,
    /// What `holdfast update defer` adds.
    pub defer_ms: u64,
    /// A candidate that is not ready in time is tried once more after so long.
    pub automatic_defer_ms: u64,
    /// Where `GET /metrics` is answered over TCP too, to whoever can reach it; nowhere when not named.
    pub metrics_listen: Option<SocketAddr>,
    /// `defer_then_stop_and_switch` (default), `defer` or `stop_and_switch`.
    pub on_low_memory: OnLowMemory,
    /// Memory that a candidate is granted at least before it is started.
    pub candidate_memory_bytes: u64,
    /// Memory that must stay free beside it.
    pub reserve_memory_bytes: u64,
    /// Memory that a candidate may take at most; not named: 40 % of the machine's, 512 MiB to 1.5 GiB.
    pub candidate_limit_bytes: Option<u64>,
    /// No worker is started while less is free on the disk of workers and workspaces; 0: it is not looked at.
    pub min_free_bytes: u64,
    /// A directory of the cgroup v2 hierarchy that this node may make groups in, for its workers; looked for when not
    /// named.
    pub worker_cgroup: Option<PathBuf>,
    /// Other root files (supervisor, sidecar, holder) of a release are put in place without `holdfast promote`.
    pub auto_promote: bool,
}

impl Default for SupervisorSettings {
    fn default() -> Self {
        Self {
            active_silent_ms: 3_000,
            child_silent_ms: 15_000,
            prewarming_ms: 60_000,
            good_probes: 3,
            probe_interval_ms: 100,
            probe_timeout_ms: 2_000,
            probation_ms: 60_000,
            minimum_update_period_ms: 300_000,
            countdown_ms: 60_000,
            defer_ms: 300_000,
            automatic_defer_ms: 60_000,
            metrics_listen: None,
            on_low_memory: OnLowMemory::default(),
            candidate_memory_bytes: Gate::default().candidate_bytes,
            reserve_memory_bytes: Gate::default().reserve_bytes,
            candidate_limit_bytes: None,
            min_free_bytes: MIN_FREE_BYTES,
            worker_cgroup: None,
            auto_promote: false,
        }
    }
}

/// The built-in skill `command`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommandSettings {
    /// Bytes of output a turn may write.
    pub output_quota_bytes: u64,
    /// What a cancelled command is given between TERM and KILL.
    pub kill_grace_ms: u64,
    /// Variables of the supervisor's environment that commands are given, where set.
    pub environment: Vec<String>,
    /// What a command with all its processes may use, as in a skill's manifest.
    pub limits: Limits,
}

impl Default for CommandSettings {
    fn default() -> Self {
        let environment = ["HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER"];
        Self {
            output_quota_bytes: holdfast_shared::worker::OUTPUT_QUOTA_BYTES,
            kill_grace_ms: holdfast_shared::worker::KILL_GRACE_MS,
            environment: environment.map(str::to_owned).to_vec(),
            limits: Limits::default(),
        }
    }
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not the form of a settings file; says line and field.
    #[error("{0}")]
    Malformed(String),
    /// Values out of their range, all of them.
    #[error("{}", .0.join("; "))]
    OutOfRange(Vec<String>),
}

impl Settings {
    /// Reads and checks the file's text.
    ///
    /// # Errors
    /// All values out of range at once, or the first place that is not of the file's form.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Settings =
            toml::from_str(text).map_err(|error| SettingsError::Malformed(error.to_string()))?;
        let own = &settings.supervisor;
        let ranges = [
            ("supervisor.active_silent_ms", own.active_silent_ms, 1_000, 600_000),
            ("supervisor.child_silent_ms", own.child_silent_ms, 1_000, 3_600_000),
            ("supervisor.prewarming_ms", own.prewarming_ms, 100, 900_000),
            ("supervisor.good_probes", u64::from(own.good_probes), 1, 1_000),
            ("supervisor.probe_interval_ms", own.probe_interval_ms, 1, 60_000),
            ("supervisor.probe_timeout_ms", own.probe_timeout_ms, 10, 60_000),
            ("supervisor.probation_ms", own.probation_ms, 100, 900_000),
            ("supervisor.minimum_update_period_ms", own.minimum_update_period_ms, 0, 86_400_000),
            ("supervisor.countdown_ms", own.countdown_ms, 0, 86_400_000),
            ("supervisor.defer_ms", own.defer_ms, 100, 86_400_000),
            ("supervisor.automatic_defer_ms", own.automatic_defer_ms, 100, 900_000),
            ("supervisor.candidate_memory_bytes", own.candidate_memory_bytes, 1 << 20, 1 << 40),
            ("supervisor.reserve_memory_bytes", own.reserve_memory_bytes, 0, 1 << 50),
            (
                "supervisor.candidate_limit_bytes",
                own.candidate_limit_bytes.unwrap_or(1 << 30),
                1 << 20,
                1 << 50,
            ),
            ("supervisor.min_free_bytes", own.min_free_bytes, 0, 1 << 50),
            ("command.output_quota_bytes", settings.command.output_quota_bytes, 4_096, 1 << 40),
            ("command.kill_grace_ms", settings.command.kill_grace_ms, 0, 600_000),
        ];
        let wrong: Vec<String> = ranges
            .into_iter()
            .filter(|(_, value, low, high)| !(*low..=*high).contains(value))
            .map(|(name, value, low, high)| format!("{name} is {value}; allowed are {low} to {high}"))
            .chain(
                out_of_range(&settings.command.limits)
                    .into_iter()
                    .map(|what| format!("command.limits.{what}")),
            )
            .collect();
        if wrong.is_empty() { Ok(settings) } else { Err(SettingsError::OutOfRange(wrong)) }
    }

    /// The runtime's part as it is given to it.
    pub fn runtime_json(&self) -> String {
        serde_json::to_string(&self.runtime).unwrap_or_else(|_| "{}".into())
    }

    /// The sidecar's part as it is given to it.
    pub fn sidecar_json(&self) -> String {
        serde_json::to_string(&self.sidecar).unwrap_or_else(|_| "{}".into())
    }
}

impl SupervisorSettings {
    /// The limits of an attempt.
    pub fn rules(&self) -> Rules {
        Rules {
            good_probes: self.good_probes,
            prewarming_ms: self.prewarming_ms.cast_signed(),
            probation_ms: self.probation_ms.cast_signed(),
            minimum_period_ms: self.minimum_update_period_ms.cast_signed(),
            countdown_ms: self.countdown_ms.cast_signed(),
            defer_ms: self.defer_ms.cast_signed(),
            automatic_defer_ms: self.automatic_defer_ms.cast_signed(),
            on_low_memory: self.on_low_memory,
            auto_promote: self.auto_promote,
            ..Rules::default()
        }
    }

    /// The numbers of the memory gate.
    pub fn memory_gate(&self) -> Gate {
        Gate {
            candidate_bytes: self.candidate_memory_bytes,
            reserve_bytes: self.reserve_memory_bytes,
            limit_bytes: self.candidate_limit_bytes,
        }
    }

    /// See the field.
    pub fn probe_timeout(&self) -> Duration {
        Duration::from_millis(self.probe_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_all_defaults_and_children_get_their_own_part() {
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
        let text = "standby = \"warm\"\n[sidecar]\nping_ms = 5\n[supervisor]\nmetrics_listen = \"[::1]:9\"";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.standby, Standby::Warm);
        assert_eq!(settings.supervisor.metrics_listen.map(|address| address.port()), Some(9));
        assert_eq!(settings.sidecar_json(), r#"{"ping_ms":5}"#);
        assert_eq!(settings.runtime_json(), "{}");
    }

    #[test]
    fn without_settings_the_rules_of_an_attempt_are_the_default_ones() {
        assert_eq!(SupervisorSettings::default().rules(), Rules::default());
    }

    #[test]
    fn mistakes_are_refused_all_at_once() {
        let text = "[supervisor]\ngood_probes = 0\nprobe_interval_ms = 0";
        let Err(SettingsError::OutOfRange(wrong)) = Settings::parse(text) else { panic!("taken") };
        assert_eq!(wrong.len(), 2);
        let text = "[command.limits]\nopen_files = 64\nprocesses = 0";
        let Err(SettingsError::OutOfRange(wrong)) = Settings::parse(text) else { panic!("taken") };
        assert!(wrong.len() == 1 && wrong[0].starts_with("command.limits.processes is 0"), "{wrong:?}");
        let error = Settings::parse("standbye = 1").unwrap_err().to_string();
        assert!(error.contains("standbye"), "{error}");
    }
}
