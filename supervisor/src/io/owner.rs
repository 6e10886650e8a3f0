//! Root's work below a directory of somebody else, done with that one's rights: whatever links are there lead no further
//! than the owner could go without us.

use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setegid, seteuid, setgroups};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Runs `work` with the effective user and group of the directory's owner where we are root, else as it is; afterwards the
/// rights are ours again. Process-wide: nothing else may run meanwhile that needs them.
///
/// # Errors
/// There is no such directory, it is a link to one of root's, or the rights could not be taken or had back.
pub fn as_owner<T>(directory: &Path, work: impl FnOnce() -> T) -> io::Result<T> {
    if !geteuid().is_root() {
        return Ok(work());
    }
    let owner = std::fs::metadata(directory)?;
    if owner.uid() == 0 {
        // Who could put a link there would choose where root writes.
        let named: PathBuf = directory.components().collect();
        return match std::fs::symlink_metadata(named)?.is_symlink() {
            true => Err(io::Error::other("it is a link to a directory of root's")),
            false => Ok(work()),
        };
    }
    let rights = Rights { group: getegid(), groups: getgroups()? };
    let done = rights.lend(Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid())).map(|()| work());
    rights.take_back()?;
    done
}

/// Root's own rights, to come back to.
struct Rights {
    group: Gid,
    groups: Vec<Gid>,
}

impl Rights {
    fn lend(&self, user: Uid, group: Gid) -> io::Result<()> {
        setgroups(&[group])?;
        setegid(group)?;
        Ok(seteuid(user)?)
    }

    /// The user first: only root may change the others.
    fn take_back(&self) -> io::Result<()> {
        seteuid(Uid::from_raw(0))?;
        setegid(self.group)?;
        Ok(setgroups(&self.groups)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    #[test]
    fn what_is_below_a_directory_of_somebody_is_done_with_their_rights() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let me = geteuid();
        if !me.is_root() {
            assert_eq!(as_owner(&home, geteuid).unwrap(), me);
            return;
        }
        chown(&home, Some(4321), Some(4322)).unwrap();
        symlink(directory.path(), home.join("link")).unwrap();
        let done = as_owner(&home, || {
            let groups = getgroups().unwrap();
            (
                geteuid().as_raw(),
                getegid().as_raw(),
                groups,
                std::fs::write(home.join("link/file"), "").is_err(),
            )
        });
        assert_eq!(done.unwrap(), (4321, 4322, vec![Gid::from_raw(4322)], true));
        assert_eq!(geteuid(), me);
        let link = directory.path().join("home-link");
        symlink(directory.path(), &link).unwrap();
        assert!(as_owner(&link, || ()).is_err());
    }
}
