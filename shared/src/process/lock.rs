//! Role locks: at most one living process per role and home, and who it is.

use super::{PidFd, boot_id, start_time};
use crate::home::{Home, Role};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

/// How long a holder may take between its lock and its lines in the file (two system calls).
const WRITING_MILLISECONDS: u64 = 500;

/// What a holder writes into its lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: i32,
    start_time: u64,
    boot_id: String,
    instance: String,
}

/// A role lock, held until dropped or until the process ends. Not inherited over exec, unless handed over.
#[derive(Debug)]
pub struct RoleLock {
    file: File,
}

/// A living process, found by its lock.
#[derive(Debug)]
pub struct Living {
    /// Its number.
    pub pid: i32,
    /// Its start time, clock ticks since boot.
    pub start_time: u64,
    /// What it calls itself.
    pub instance: String,
    /// Its descriptor.
    pub pidfd: PidFd,
}

/// Why a role lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another living process has it.
    #[error("the {role} of this home is already running (pid {pid})")]
    Taken {
        /// The role's name.
        role: &'static str,
        /// The holder's number; 0 where it has not written it.
        pid: i32,
        /// The holder's start time; 0 where it has not written it.
        start_time: u64,
    },
    /// The file system refused.
    #[error("lock {path}: {source}")]
    File {
        /// The lock file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl RoleLock {
    /// Takes the lock of a role and writes who we are. Open it before anything else of the role.
    ///
    /// # Errors
    /// [`LockError::Taken`] when another process lives in this role.
    pub fn take(home: &Home, role: Role, instance: &str) -> Result<Self, LockError> {
        let path = home.lock(role);
        let on_file = |source| LockError::File { path: path.display().to_string(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(on_file)?;
        Self::lock(file, role, instance, on_file)
    }

    /// Takes on the lock that a former program image of this process handed over by [`Self::hand_over_exec`]; it was
    /// held all the time.
    ///
    /// # Errors
    /// As [`Self::take`]; also when the descriptor is not this role's lock file.
    pub fn adopt(home: &Home, role: Role, instance: &str, descriptor: OwnedFd) -> Result<Self, LockError> {
        let path = home.lock(role);
        let on_file = |source| LockError::File { path: path.display().to_string(), source };
        let file = File::from(descriptor);
        let (ours, there) = (file.metadata().map_err(on_file)?, std::fs::metadata(&path).map_err(on_file)?);
        if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
            return Err(on_file(io::Error::other("the descriptor is another file's")));
        }
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|error| on_file(error.into()))?;
        Self::lock(file, role, instance, on_file)
    }

    /// Gives the descriptor to the program that replaces this one by execve, which takes it on by [`Self::adopt`].
    /// Dropping the descriptor gives the lock back.
    ///
    /// # Errors
    /// When close-on-exec cannot be cleared; the lock is given back then.
    pub fn hand_over_exec(self) -> io::Result<OwnedFd> {
        fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(self.file.into())
    }

    fn lock(
        mut file: File,
        role: Role,
        instance: &str,
        on_file: impl Fn(io::Error) -> LockError,
    ) -> Result<Self, LockError> {
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
            Ok(_) => {}
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => {
                let holder = read_file(&mut file).ok().flatten();
                let (pid, start_time) = holder.map_or((0, 0), |holder| (holder.pid, holder.start_time));
                return Err(LockError::Taken { role: role.name(), pid, start_time });
            }
            Err(error) => return Err(on_file(error.into())),
        }
        write_holder(&mut file, instance).map_err(on_file)?;
        Ok(Self { file })
    }
}

impl AsFd for RoleLock {
    /// What holds the lock; an image that follows this one by execve takes it on by [`RoleLock::adopt`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The living process of a role; `None` when nobody has the lock.
///
/// # Errors
/// When the lock file cannot be read, or its holder does not say who it is within half a second.
pub fn read_holder(home: &Home, role: Role) -> io::Result<Option<Living>> {
    let path = home.lock(role);
    let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let deadline = Instant::now() + Duration::from_millis(WRITING_MILLISECONDS);
    loop {
        if !is_locked(&file)? {
            return Ok(None);
        }
        if let Some(living) = read_file(&mut file)?.and_then(open_living) {
            // Still locked after its descriptor was opened: it is the holder that we opened.
            return Ok(is_locked(&file)?.then_some(living));
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{}: locked, but its holder is not known", path.display())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn open_living(holder: Holder) -> Option<Living> {
    let pidfd = PidFd::open(holder.pid).ok()?;
    let same = boot_id().ok()? == holder.boot_id && start_time(holder.pid).ok()? == holder.start_time;
    same.then_some(Living {
        pid: holder.pid,
        start_time: holder.start_time,
        instance: holder.instance,
        pidfd,
    })
}

fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn read_file(file: &mut File) -> io::Result<Option<Holder>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

fn write_holder(file: &mut File, instance: &str) -> io::Result<()> {
    let pid = std::process::id().cast_signed();
    let holder =
        Holder { pid, start_time: start_time(pid)?, boot_id: boot_id()?, instance: instance.to_owned() };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(&holder)?)
}

/// An open-file-description lock: belongs to the descriptor, can be tested without being taken.
fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0, // SEEK_SET
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        std::fs::create_dir(home.run()).unwrap();
        (directory, home)
    }

    #[test]
    fn one_holder_at_a_time_and_it_is_found() {
        let (_directory, home) = home();
        assert!(read_holder(&home, Role::Sidecar).unwrap().is_none());
        let lock = RoleLock::take(&home, Role::Sidecar, "one").unwrap();
        let own = std::process::id().cast_signed();
        assert!(
            matches!(RoleLock::take(&home, Role::Sidecar, "two"), Err(LockError::Taken { pid, .. }) if pid == own)
        );
        let living = read_holder(&home, Role::Sidecar).unwrap().unwrap();
        assert_eq!((living.pid, living.instance.as_str()), (own, "one"));
        assert!(read_holder(&home, Role::Keeper).unwrap().is_none());
        drop(lock);
        assert!(read_holder(&home, Role::Sidecar).unwrap().is_none());
        RoleLock::take(&home, Role::Sidecar, "two").unwrap();
    }

    #[test]
    fn a_lock_that_is_handed_over_is_held_all_the_time_and_is_no_other_roles() {
        let (_directory, home) = home();
        let lock = RoleLock::take(&home, Role::Supervisor, "one").unwrap();
        let descriptor = lock.hand_over_exec().unwrap();
        assert!(matches!(RoleLock::take(&home, Role::Supervisor, "other"), Err(LockError::Taken { .. })));
        let sidecar = RoleLock::take(&home, Role::Sidecar, "sidecar").unwrap();
        let other = sidecar.hand_over_exec().unwrap();
        assert!(RoleLock::adopt(&home, Role::Supervisor, "two", other).is_err());
        let _lock = RoleLock::adopt(&home, Role::Supervisor, "two", descriptor).unwrap();
        assert_eq!(read_holder(&home, Role::Supervisor).unwrap().unwrap().instance, "two");
    }
}
