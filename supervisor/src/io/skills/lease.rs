//! Between looking for a skill's workers and changing its files no worker of one is started.
//!
//! Whoever starts a worker shares the lease from reading the manifest on, and passes it on to the holder, which gives it
//! back once the worker can be seen (its spool is locked). Whoever changes a skill excludes them for the moment of the
//! exchange; a copy that takes minutes delays nobody.

use crate::io::home::on_file;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// The file that is locked.
const LEASE: &str = ".lease";
/// A start is over in milliseconds; whoever waits for longer is told to come again.
const STARTS_DEADLINE: Duration = Duration::from_secs(5);
/// Until those that start are looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Held by whoever starts a worker of an installed skill, or changes one. It ends with the last copy of its descriptor.
#[derive(Debug)]
pub struct Lease(File);

impl AsFd for Lease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// For a start, beside others. `None` where no skill was ever installed.
///
/// # Errors
/// `BUSY` while a skill is being exchanged.
pub fn share(home: &Home) -> Result<Option<Lease>, ApiError> {
    let Some(file) = open(home)? else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(Lease(file))),
        Err(TryLockError::WouldBlock) => Err(ApiError::new(Code::Busy, "a skill is being changed")),
        Err(TryLockError::Error(error)) => Err(on_file("lock", &home.skills().join(LEASE), &error)),
    }
}

/// For a change: waits until nobody starts a worker.
///
/// # Errors
/// `BUSY` where that takes too long.
pub fn exclude(home: &Home) -> Result<Lease, ApiError> {
    exclude_within(home, STARTS_DEADLINE)
}

pub(super) fn exclude_within(home: &Home, deadline: Duration) -> Result<Lease, ApiError> {
    let path = home.skills().join(LEASE);
    let file = open(home)?.ok_or_else(|| on_file("open", &path, &io::ErrorKind::NotFound.into()))?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lease(file)),
            Err(TryLockError::WouldBlock) if began.elapsed() < deadline => std::thread::sleep(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => {
                return Err(ApiError::new(Code::Busy, "workers are being started"));
            }
            Err(TryLockError::Error(error)) => return Err(on_file("lock", &path, &error)),
        }
    }
}

fn open(home: &Home) -> Result<Option<File>, ApiError> {
    let path = home.skills().join(LEASE);
    let mut options = OpenOptions::new();
    match options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(on_file("open", &path, &error)),
    }
}
