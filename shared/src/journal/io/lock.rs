//! The lock that makes one writer.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
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
    _file: Flock<File>,
}

impl JournalLock {
    /// Takes the lock of the journal in `dir` without waiting; the directory must be there.
    pub fn try_acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(LOCK_FILE);
        let failed = |source| LockError::Io { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut locked = match Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => locked,
            Err((_, Errno::EWOULDBLOCK)) => return Err(LockError::Locked { holder: holder(dir) }),
            Err((_, errno)) => return Err(failed(errno.into())),
        };
        // The content is a hint for people and for who must end us; a full disk must not keep us from the lock.
        let _hint = write_holder(&mut locked);
        Ok(Self { dir: dir.to_path_buf(), _file: locked })
    }

    /// The directory it guards.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    let start_ticks = start_ticks(&std::fs::read_to_string("/proc/self/stat")?).unwrap_or(0);
    file.set_len(0)?;
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
