//! The lock that means "alive".
//!
//! An open-file-description lock: it lives as long as the holder's open file, cannot be lost by closing some
//! other descriptor of the same file, and, unlike `flock`, can be asked after without taking it, so that a
//! reader never stands in a starting holder's way.

use super::SpoolError;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::path::Path;

/// Takes the lock for as long as `file` (and copies of its descriptor) stays open.
pub fn lock(file: &File, path: &Path) -> Result<(), SpoolError> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(SpoolError::Locked { path: path.to_owned() }),
        Err(errno) => Err(SpoolError::io("lock", path)(errno.into())),
    }
}

/// Gives the lock back at once, also where a process that is being forked this moment has a copy of `file`.
pub fn unlock(file: &File, path: &Path) -> Result<(), SpoolError> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)))
        .map(drop)
        .map_err(|errno| SpoolError::io("unlock", path)(errno.into()))
}

/// Whether some holder has this directory's `spool` locked. A missing file is not locked.
pub fn is_locked(directory: &Path) -> Result<bool, SpoolError> {
    let path = super::segment_path(directory, 0);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(SpoolError::io("open", path)(error)),
    };
    let mut asked = whole_file(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked))
        .map_err(|errno| SpoolError::io("ask lock of", path)(errno.into()))?;
    Ok(asked.l_type != libc::F_UNLCK as libc::c_short)
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        // Must be zero for this kind of lock.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_without_being_disturbed_and_ends_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = super::super::segment_path(directory.path(), 0);
        assert!(!is_locked(directory.path()).unwrap());
        let file = File::create(&path).unwrap();
        assert!(!is_locked(directory.path()).unwrap());
        lock(&file, &path).unwrap();
        assert!(is_locked(directory.path()).unwrap());
        let second = File::options().write(true).open(&path).unwrap();
        assert!(matches!(lock(&second, &path), Err(SpoolError::Locked { .. })));
        drop(File::open(&path).unwrap());
        assert!(is_locked(directory.path()).unwrap(), "closing another descriptor keeps the lock");
        drop(file);
        assert!(!is_locked(directory.path()).unwrap());
    }
}
