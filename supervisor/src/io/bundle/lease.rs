//! Who prepares a slot: one attempt at a time, which anybody may tell to stop.
//!
//! `slots/.lease` names the attempt and the process. Taking, revoking and the step that replaces the slot exclude each
//! other by a lock, so a revoked attempt replaces nothing afterwards.

use crate::release::BundleError;
use holdfast_shared::durable_file;
use holdfast_shared::home::Home;
use holdfast_shared::process::{boot_id, start_time};
use holdfast_shared::slot::Slot;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// A lease as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The attempt's id.
    pub attempt: String,
    /// The slot it prepares.
    pub slot: Slot,
    /// The process that does it.
    pub pid: i32,
    start_time: u64,
    boot_id: String,
    /// New for each taking, so that an attempt that is carried out again ends its first carrying out.
    id: uuid::Uuid,
}

/// The lease of a living process, if there is one.
///
/// # Errors
/// What the file system says.
pub fn current(home: &Home) -> io::Result<Option<Lease>> {
    Ok(read(home)?.filter(Lease::lives))
}

/// Ends the lease, whoever has it: an attempt that is staging stops at its next piece and replaces nothing. Says
/// whose it was.
///
/// # Errors
/// What the file system says; the lease stands then.
pub fn revoke(home: &Home) -> io::Result<Option<Lease>> {
    if !home.slots().is_dir() {
        return Ok(None);
    }
    let _lock = lock(home)?;
    let lease = read(home)?;
    if lease.is_some() {
        remove(home)?;
    }
    Ok(lease)
}

/// A lease that is ours until dropped or revoked.
#[derive(Debug)]
pub(super) struct Held {
    home: Home,
    lease: Lease,
}

impl Held {
    /// Takes the lease: it is free, its holder is dead, or it is this attempt's own.
    pub fn take(home: &Home, slot: Slot, attempt: &str) -> Result<Self, BundleError> {
        let path = path(home);
        let slots = home.slots();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&slots);
        made.map_err(BundleError::writing("create", &slots))?;
        let _lock = lock(home).map_err(BundleError::writing("lock", &path))?;
        let before = current(home).map_err(BundleError::writing("read", &path))?;
        if let Some(other) = before.filter(|other| other.attempt != attempt) {
            return Err(BundleError::SlotLeased { attempt: other.attempt, pid: other.pid });
        }
        let lease = Lease::ours(slot, attempt).map_err(BundleError::writing("describe", &path))?;
        let text = serde_json::to_vec(&lease).unwrap_or_default();
        durable_file::write(&path, &text).map_err(BundleError::writing("write", &path))?;
        Ok(Self { home: home.clone(), lease })
    }

    /// The attempt that has it.
    pub fn attempt(&self) -> &str {
        &self.lease.attempt
    }

    /// A name that no other lease has had.
    pub fn unique(&self) -> String {
        self.lease.id.simple().to_string()
    }

    /// Whether it still is ours.
    pub fn check(&self) -> Result<(), BundleError> {
        let found = read(&self.home).map_err(BundleError::writing("read", &path(&self.home)))?;
        if found.is_some_and(|found| found.id == self.lease.id) {
            return Ok(());
        }
        Err(BundleError::LeaseRevoked { attempt: self.lease.attempt.clone() })
    }

    /// Does the step that must not happen once the lease is revoked.
    pub fn place(&self, step: impl FnOnce() -> Result<(), BundleError>) -> Result<(), BundleError> {
        let _lock = lock(&self.home).map_err(BundleError::writing("lock", &path(&self.home)))?;
        self.check()?;
        step()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Best effort: a lease that stays is its holder's, and free once that one is dead.
        let Ok(_lock) = lock(&self.home) else { return };
        if self.check().is_ok() {
            let _ = remove(&self.home);
        }
    }
}

impl Lease {
    fn ours(slot: Slot, attempt: &str) -> io::Result<Self> {
        let pid = nix::unistd::getpid().as_raw();
        let id = uuid::Uuid::new_v4();
        let (start_time, boot_id) = (start_time(pid)?, boot_id()?);
        Ok(Self { attempt: attempt.to_owned(), slot, pid, start_time, boot_id, id })
    }

    fn lives(&self) -> bool {
        let now = (boot_id().ok(), start_time(self.pid).ok());
        now == (Some(self.boot_id.clone()), Some(self.start_time))
    }
}

fn path(home: &Home) -> PathBuf {
    home.slots().join(".lease")
}

fn read(home: &Home) -> io::Result<Option<Lease>> {
    match std::fs::read(path(home)) {
        // Written whole or not at all; what is no lease is nobody's.
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(home: &Home) -> io::Result<()> {
    std::fs::remove_file(path(home))?;
    durable_file::sync_directory(&home.slots())
}

/// Held for a file's write or two renames, so waiting is short.
fn lock(home: &Home) -> io::Result<Flock<File>> {
    let path = home.slots().join(".lease.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}
