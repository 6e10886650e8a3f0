//! `order.json`: what a worker is told to be.

use crate::durable_file;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Environment variable naming an inherited descriptor of the workspace, opened by the supervisor beneath the
/// workspaces' root. Where it is set, the worker starts in that directory whatever `cwd` says.
pub const CWD_FD_VARIABLE: &str = "HOLDFAST_CWD_FD";
/// Default of [`Order::output_quota_bytes`]: 256 MiB a turn.
pub const OUTPUT_QUOTA_BYTES: u64 = 256 * 1024 * 1024;
/// Default of [`Order::term_grace_ms`]: the stop ladder's time between asking and TERM.
pub const TERM_GRACE_MS: u64 = 10_000;
/// Default of [`Order::kill_grace_ms`]: the stop ladder's time between TERM and KILL.
pub const KILL_GRACE_MS: u64 = 5_000;

/// What the worker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Plain output; stdin is /dev/null and `started` means consumed.
    Command,
    /// Agent Client Protocol: JSON lines on stdin and stdout.
    Acp,
}

/// How standard output is cut into records. Standard error is always cut as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputMode {
    /// What one read brought, cut at a character boundary.
    Bytes,
    /// One record per line, its newline included; long ones in parts.
    Lines,
}

/// `order.json`: everything the holder is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Names the worker for ever.
    pub spawn_id: String,
    /// Whose workspace and conversation.
    pub task: String,
    /// The first turn; empty for a worker that waits for one.
    pub turn: String,
    /// What the worker speaks.
    pub protocol: Protocol,
    /// How its output is cut.
    pub mode: OutputMode,
    /// Program and arguments; a program without a slash is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited. The holder adds only the worker's mark
    /// ([`WORKER_VARIABLE`](crate::leftovers::WORKER_VARIABLE)).
    pub env: BTreeMap<String, String>,
    /// The working directory, unless a descriptor is passed ([`CWD_FD_VARIABLE`]).
    pub cwd: PathBuf,
    /// The most bytes one turn's segment may take.
    #[serde(default = "default_quota")]
    pub output_quota_bytes: u64,
    /// Between asking (closing stdin) and TERM. A worker without stdin cannot be asked.
    #[serde(default = "default_term_grace")]
    pub term_grace_ms: u64,
    /// Between TERM and KILL.
    #[serde(default = "default_kill_grace")]
    pub kill_grace_ms: u64,
    /// What the worker may use.
    #[serde(default)]
    pub limits: Limits,
    /// Who the worker runs as; the holder's own user where not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
}

/// What a worker with all its processes may use; what is not named is not limited. By control groups where the
/// machine has them, else by resource limits of each process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Open files of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Seconds of processor time of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<u64>,
    /// Share of processors, in hundredths of one: 150 is one and a half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u64>,
    /// Bytes of a single file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its further groups.
    #[serde(default)]
    pub groups: Vec<u32>,
}

fn default_quota() -> u64 {
    OUTPUT_QUOTA_BYTES
}

fn default_term_grace() -> u64 {
    TERM_GRACE_MS
}

fn default_kill_grace() -> u64 {
    KILL_GRACE_MS
}

impl Order {
    /// The file in a worker's directory.
    pub fn path(directory: &Path) -> PathBuf {
        directory.join("order.json")
    }

    /// Writes the order, whole for whoever looks. It is read once, by the holder that is started next: none is started
    /// for the same directory after a power cut, so nothing waits for the disk.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        durable_file::place(&Self::path(directory), &serde_json::to_vec(self)?).map(drop)
    }

    /// Reads the order.
    pub fn read(directory: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(Self::path(directory))?)?)
    }
}
