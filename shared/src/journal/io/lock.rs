//! The lock that makes one writer.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the lock file in a journal's directory.
pub const LOCK_FILE: &str = "lock";

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("the journal is locked by {}", holder.map_or("another process".to_owned(), |h| format!("pid {}", h.pid)))]
    Locked {
        /// Who, as far as the file says. A hint: compare the start time before acting on it.
        holder: Option<LockHolder>,
    },
    /// The file could not be opened, written or locked.
    #[error("lock {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Who wrote the lock file last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockHolder {
    /// Its pid.
    pub pid: i32,
    /// Its start time in clock ticks since boot, as in `/proc/<pid>/stat`: pids are used again, this pair is not.
    pub start_ticks: u64,
}

/// The held lock of one journal; close-on-exec. Dropping it gives it back.
#[derive(Debug)]
pub struct JournalLock {
    dir: PathBuf,
    /// `None` only once it was handed on.
    file: Option<File>,
}

impl JournalLock {
    /// Takes the lock of the journal in `dir` without waiting; the directory must be there.
    ///
    /// # Errors
    /// [`LockError::Locked`] while another has it, [`LockError::Io`] if the file cannot be used.
    pub fn try_acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|source| LockError::Io { path, source })?;
        Self::lock(dir, file)
    }

    /// Takes on the lock that a former program image of this process handed over by [`Self::hand_over_exec`].
    ///
    /// # Errors
    /// As [`Self::try_acquire`]; also if `descriptor` is not the lock file of the journal in `dir`.
    pub fn adopt(dir: &Path, descriptor: OwnedFd) -> Result<Self, LockError> {
        let path = dir.join(LOCK_FILE);
        let failed = |source| LockError::Io { path: path.clone(), source };
        let file = File::from(descriptor);
        let (ours, there) = (file.metadata().map_err(failed)?, std::fs::metadata(&path).map_err(failed)?);
        if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
            return Err(failed(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the descriptor is another file's",
            )));
        }
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|errno| failed(errno.into()))?;
        Self::lock(dir, file)
    }

    fn lock(dir: &Path, mut file: File) -> Result<Self, LockError> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Locked { holder: holder(dir) }),
            Err(TryLockError::Error(source)) => {
                return Err(LockError::Io { path: dir.join(LOCK_FILE), source });
            }
        }
        // The content is a hint for people and for who must end us; a full disk must not keep us from the lock.
        let _hint = write_holder(&mut file);
        Ok(Self { dir: dir.to_path_buf(), file: Some(file) })
    }

    /// The directory it guards.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives the descriptor to the program that replaces this one by execve: the lock is held all the time, and the
    /// new image takes it on by [`Self::adopt`]. Dropping the descriptor, if there was no execve, gives it back.
    ///
    /// # Errors
    /// If close-on-exec could not be cleared; the lock is given back then.
    pub fn hand_over_exec(mut self) -> io::Result<OwnedFd> {
        let file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(file.into())
    }
}

impl Drop for JournalLock {
    fn drop(&mut self) {
        // Said aloud, because a child that was forked but has not come to its exec still has the descriptor.
        if let Some(file) = &self.file {
            let _given_back = file.unlock();
        }
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    let start_ticks = start_ticks(&std::fs::read_to_string("/proc/self/stat")?).unwrap_or(0);
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{} {start_ticks}\n", std::process::id()).as_bytes())
}

/// Field 22 of a stat line; the command name before it may hold anything, up to the last parenthesis.
fn start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Who holds, or last held, the lock of the journal in `dir`.
pub fn holder(dir: &Path) -> Option<LockHolder> {
    let text = std::fs::read_to_string(dir.join(LOCK_FILE)).ok()?;
    let (pid, start_ticks) = text.trim().split_once(' ')?;
    Some(LockHolder { pid: pid.parse().ok()?, start_ticks: start_ticks.parse().ok()? })
}
