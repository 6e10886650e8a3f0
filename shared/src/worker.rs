//! A worker's directory `workers/<spawn id>/`: what it is told to be, that it began, and what became of it.
//!
//! The supervisor makes the directory (an existing one means: was started), writes `order.json` and starts
//! `holdfast hold DIR`. From these files alone anyone can say how the worker is: [`WorkerState::read`].

use crate::durable_file;
use crate::process;
use crate::spool::{self, Flushed, SpoolError, SpoolLock, SpoolTail, SpoolWriter};
use crate::version::Contracts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Begins the name of a worker's directory that was moved aside to be removed; no worker has such a name.
pub const REMOVED: &str = ".removed-";

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

/// `started`: durable before the worker's program runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The worker's process, leader of its session.
    pub pid: i32,
    /// Its start time in clock ticks since boot; pid and start time name a process.
    pub start_time: u64,
    /// The boot in which it runs.
    pub boot_id: String,
    /// Its holder.
    pub holder_pid: i32,
    /// Versions of files and protocols that its holder speaks.
    #[serde(default)]
    pub contracts: Contracts,
}

impl Started {
    /// The file in a worker's directory.
    pub fn path(directory: &Path) -> PathBuf {
        directory.join("started")
    }

    /// Writes it, and makes durable all that says that a worker was started: this file, the beginning of its spool, and
    /// the names of both and of the directory. One commit of the file system takes them all, since everything is written
    /// before the first sync.
    ///
    /// # Errors
    /// When one cannot be written or synced; the worker's program may not run then, and the file is gone again: nobody
    /// takes the order for consumed. Where not even that can be done the worker is lost, and so its prompt given to nobody.
    pub fn write(&self, directory: &Path, spool: &SpoolWriter) -> Result<(), SpoolError> {
        self.write_durably(directory, spool).inspect_err(|_| {
            // Under the spool's lock: a worker that is locked is alive, whatever this file says, and whoever looks at it later
            // finds one that was never started.
            let _ = std::fs::remove_file(Self::path(directory));
        })
    }

    fn write_durably(&self, directory: &Path, spool: &SpoolWriter) -> Result<(), SpoolError> {
        let path = Self::path(directory);
        let bytes = serde_json::to_vec(self).map_err(io::Error::from);
        let placed = bytes.and_then(|bytes| durable_file::place(&path, &bytes));
        let file = placed.map_err(SpoolError::io("write", &path))?;
        // Its place on the disk is then part of the spool's commit, and not of one more.
        durable_file::begin_to_write(&file);
        if spool.sync()? == Flushed::NoSpace {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(SpoolError::io("sync the spool in", directory)(full));
        }
        file.sync_all().map_err(SpoolError::io("sync", &path))?;
        for names in [Some(directory), directory.parent()].into_iter().flatten() {
            durable_file::sync_directory(names).map_err(SpoolError::io("sync", names))?;
        }
        Ok(())
    }

    /// Reads it; `None` if the worker was not started. A file without contents is what a power cut left of one that was
    /// not synced yet, and so of a worker whose program never ran.
    pub fn read(directory: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(Self::path(directory)) {
            Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => Ok(None),
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitStatus {
    /// It returned this code. 126 and 127 also stand for a program that could not be run.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What made the worker end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// It ended by itself.
    Worker,
    /// A cancel message.
    Cancel,
    /// A kill message.
    Kill,
    /// SIGTERM to the holder: the node is being stopped.
    Stop,
    /// Its output reached the quota.
    Quota,
}

/// The last record of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How the worker's own process ended.
    pub status: ExitStatus,
    /// How many output records there are.
    pub final_seq: u64,
    /// What made it end.
    pub ended_by: EndedBy,
}

/// How a worker is, said by its files alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// There is no directory.
    NotStarted,
    /// The spool is locked. `started` is `None` while the holder prepares.
    Alive(Option<Started>),
    /// The spool ends with an exit.
    Ended(Exit),
    /// It ran, and nobody knows how it ended.
    Lost(Started),
    /// There is a directory, no holder, and no `started`: no program ever ran. Only [`abandon`] makes sure that
    /// none will.
    LostBeforeStart,
}

impl WorkerState {
    /// Reads the state. Changes nothing and takes no lock.
    pub fn read(directory: &Path) -> Result<Self, SpoolError> {
        if !directory.try_exists().map_err(SpoolError::io("look for", directory))? {
            return Ok(WorkerState::NotStarted);
        }
        // The lock first: a holder that ends between the two looks has left its exit behind.
        let alive = spool::is_locked(directory)?;
        let started = Started::read(directory).map_err(SpoolError::io("read", Started::path(directory)))?;
        match (alive, started) {
            (true, started) => Ok(WorkerState::Alive(started)),
            (false, None) => Ok(WorkerState::LostBeforeStart),
            (false, Some(started)) => {
                Ok(find_exit(directory)?.map_or(WorkerState::Lost(started), WorkerState::Ended))
            }
        }
    }
}

/// Makes sure that a worker which has not started never will: a holder that comes late finds the mark under the
/// lock and refuses. Makes the directory if it is missing, so that nobody else can. Answers the state after
/// that: `LostBeforeStart`, or what the worker is because it was quicker.
pub fn abandon(directory: &Path) -> Result<WorkerState, SpoolError> {
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(SpoolError::io("create", directory)(error));
        }
        _ => {}
    }
    let lock = match SpoolLock::take(directory) {
        Ok(lock) => lock,
        Err(SpoolError::Locked { .. }) => return WorkerState::read(directory),
        Err(error) => return Err(error),
    };
    if Started::read(directory).map_err(SpoolError::io("read", Started::path(directory)))?.is_none() {
        let mark = abandoned_path(directory);
        durable_file::write(&mark, b"").map_err(SpoolError::io("write", mark))?;
    }
    lock.release()?;
    WorkerState::read(directory)
}

/// Whether [`abandon`] marked this directory. Conclusive only under the spool's lock.
pub fn is_abandoned(directory: &Path) -> io::Result<bool> {
    abandoned_path(directory).try_exists()
}

fn abandoned_path(directory: &Path) -> PathBuf {
    directory.join("abandoned")
}

fn find_exit(directory: &Path) -> Result<Option<Exit>, SpoolError> {
    // It is the last record of the last one. Earlier ones may have been removed with the turns they held, or be damaged.
    let last = spool::segments(directory)?.last().copied().unwrap_or_default();
    let mut tail = SpoolTail::open_at(directory, last);
    while !tail.poll(spool::TAIL_PIECE_BYTES_MAX)?.is_empty() {}
    Ok(tail.exit())
}

/// The kernel's name for this boot, as 16 bytes.
pub fn boot_id() -> io::Result<[u8; 16]> {
    let text = process::boot_id()?;
    let id =
        uuid::Uuid::parse_str(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(id.into_bytes())
}
