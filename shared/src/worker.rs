//! A worker's directory `workers/<spawn id>/`: what it is told to be, that it began, and what became of it.
//!
//! The supervisor makes the directory (an existing one means: was started), writes `order.json` and starts
//! `holdfast hold DIR`. From these files alone anyone can say how the worker is: [`WorkerState::read`].

mod order;

use crate::spool::{self, Flushed, SpoolError, SpoolLock, SpoolTail, SpoolWriter};
use crate::version::Contracts;
use crate::{durable_file, process};
pub use order::{
    CWD_FD_VARIABLE, KILL_GRACE_MS, Limits, OUTPUT_QUOTA_BYTES, Order, OutputMode, Protocol, TERM_GRACE_MS,
    User,
};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Begins the name of a worker's directory that was moved aside to be removed; no worker has such a name.
pub const REMOVED: &str = ".removed-";

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
            // Under the spool's lock, so that nobody was told yet whether the worker has started.
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
