//! Writing a text file for an agent: a new file beside the old one, renamed in the directory that was opened.

use super::resolve::Trouble;
use super::{Workspace, failure, regular};
use crate::workspace::{Beneath, Reason, TEXT_BYTES_MAX, WorkspaceError, shown};
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use uuid::Uuid;

/// What is kept of a file's mode: it never becomes set-uid, set-gid or sticky by us.
const MODE_KEPT: u32 = 0o777;
/// The mode of a new file, less the process's umask.
const MODE_NEW: Mode = Mode::from_bits_truncate(0o666);
/// The mode of a new directory, less the process's umask.
const MODE_DIRECTORY: Mode = Mode::from_bits_truncate(0o777);
/// Times that a directory is looked for after it was made: the agent may remove it again.
const DIRECTORY_TRIES: usize = 3;

impl Workspace {
    /// Puts a text file of this content in its place, directories on the way included: wholly there or not at all, and
    /// durable when this returns. It keeps the mode and owner of the one it replaces.
    ///
    /// # Errors
    /// Refused for all that the policy does not allow, a read-only file and more than [`TEXT_BYTES_MAX`] among it.
    pub fn write_text(&self, path: &str, content: &str) -> Result<(), WorkspaceError> {
        let beneath = self.file(path)?;
        let refused = |reason| WorkspaceError::refused(path, reason);
        if content.len() as u64 > TEXT_BYTES_MAX {
            return Err(refused(Reason::TooLarge));
        }
        let (parent, name) = beneath.split_last().ok_or(refused(Reason::Directory))?;
        let directory = self.directory_for(&parent).map_err(|trouble| trouble.at(path))?;
        let old = self.replaced(&directory, name, path)?;
        let failed = |errno| failure("write", &shown(path), errno);
        let mut new = Beside::create(directory, old.as_ref()).map_err(failed)?;
        new.file.write_all(content.as_bytes()).map_err(|source| WorkspaceError::Io {
            operation: "write",
            path: shown(path),
            source,
        })?;
        new.finish(name).map_err(|errno| match errno {
            // What was made there since it was looked at.
            nix::Error::EISDIR | nix::Error::ENOTEMPTY | nix::Error::EEXIST => refused(Reason::Directory),
            nix::Error::EBUSY | nix::Error::EXDEV => refused(Reason::Mounted),
            errno => failed(errno),
        })
    }

    /// The directory at this path, made where it is missing.
    fn directory_for(&self, beneath: &Beneath) -> Result<OwnedFd, Trouble> {
        match self.resolver.find_directory(&self.root, beneath) {
            Err(Trouble::System(nix::Error::ENOENT)) => {}
            other => return other,
        }
        let Some((parent, name)) = beneath.split_last() else {
            return Err(Trouble::System(nix::Error::ENOENT));
        };
        // As deep as a path has components, which is bounded.
        let parent = self.directory_for(&parent)?;
        let mut last = nix::Error::ENOENT;
        for _ in 0..DIRECTORY_TRIES {
            self.make_directory(&parent, name)?;
            let found = self.resolver.find_in(&parent, name).and_then(|found| {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                Ok(openat(&found, ".", flags, Mode::empty())?)
            });
            match found {
                Err(Trouble::System(missing @ nix::Error::ENOENT)) => last = missing,
                other => return other,
            }
        }
        Err(Trouble::System(last))
    }

    fn make_directory(&self, parent: &OwnedFd, name: &str) -> Result<(), Trouble> {
        match mkdirat(parent, name, MODE_DIRECTORY) {
            Ok(()) => {}
            Err(nix::Error::EEXIST) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // Another may have taken its name already: then it is not ours to be given away.
        match openat(parent, name, flags, Mode::empty()) {
            Ok(made) => Ok(give_to_owner_of(&fstat(parent)?, &made)?),
            Err(_) => Ok(()),
        }
    }

    /// The file that is to be replaced, if there is one.
    fn replaced(
        &self,
        directory: &OwnedFd,
        name: &str,
        path: &str,
    ) -> Result<Option<FileStat>, WorkspaceError> {
        let found = match self.resolver.find_in(directory, name) {
            Ok(found) => found,
            Err(Trouble::System(nix::Error::ENOENT)) => return Ok(None),
            Err(trouble) => return Err(trouble.at(path)),
        };
        let old = regular(&found, path)?;
        if old.st_mode & Mode::S_IWUSR.bits() == 0 {
            return Err(WorkspaceError::refused(path, Reason::ReadOnly));
        }
        Ok(Some(old))
    }
}

/// A file under a name that nobody knows; dropped before it has its own, it goes.
struct Beside {
    directory: OwnedFd,
    temporary: String,
    file: File,
    placed: bool,
}

impl Beside {
    fn create(directory: OwnedFd, old: Option<&FileStat>) -> nix::Result<Self> {
        let temporary = format!(".holdfast-{}.tmp", Uuid::new_v4().simple());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(openat(&directory, temporary.as_str(), flags, MODE_NEW)?);
        let new = Self { directory, temporary, file, placed: false };
        give_to_owner_of(&old.map_or_else(|| fstat(&new.directory), |old| Ok(*old))?, &new.file)?;
        if let Some(old) = old {
            fchmod(&new.file, Mode::from_bits_truncate(old.st_mode & MODE_KEPT))?;
        }
        Ok(new)
    }

    /// What is at `name`, a link that was put there meanwhile too, is replaced, never followed.
    fn finish(mut self, name: &str) -> nix::Result<()> {
        nix::unistd::fsync(&self.file)?;
        renameat(&self.directory, self.temporary.as_str(), &self.directory, name)?;
        self.placed = true;
        nix::unistd::fsync(&self.directory)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.placed {
            // Best effort: what is left is a file of the agent's that the agent sees.
            let _ = unlinkat(&self.directory, self.temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Makes what is new belong to whom the old one, or the directory, belongs: a task may have a user of its own.
fn give_to_owner_of(owner: &FileStat, new: &impl std::os::fd::AsFd) -> nix::Result<()> {
    let now = fstat(new)?;
    if now.st_uid == owner.st_uid {
        return Ok(());
    }
    fchown(new, Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The second half of a write, for tests that act between the two.
    pub(in super::super) fn finish_in(directory: OwnedFd, name: &str, content: &str) {
        let mut new = Beside::create(directory, None).unwrap();
        new.file.write_all(content.as_bytes()).unwrap();
        new.finish(name).unwrap();
    }
}
