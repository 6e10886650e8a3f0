//! How the serving runtime is changed, and what happens where two do not fit into memory (CONTRACTS.md 2).

use serde::{Deserialize, Serialize};

/// How.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Both run: the candidate follows the journal and takes over within milliseconds.
    #[default]
    WarmSwitch,
    /// The old one is stopped first: commands wait for as long as the new one needs to start.
    StopAndSwitch,
}

/// What an attempt does when there is too little memory for two runtimes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLowMemory {
    /// It waits once, then stops and switches.
    #[default]
    DeferThenStopAndSwitch,
    /// It waits until there is enough, as long as an attempt may wait.
    Defer,
    /// It stops and switches at once.
    StopAndSwitch,
}
