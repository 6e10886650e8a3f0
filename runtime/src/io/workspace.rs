//! A task's workspace, as the runtime reaches it for an agent: by descriptor, each component checked, no link followed.
//!
//! The agent works in the same directory at the same time, and may change anything between two looks. So nothing is
//! looked at by its path and then opened by it: a thing is opened without effect (`O_PATH`), looked at, and read
//! through that very descriptor. What is written is a new file beside the old one, renamed in the same directory.
//!
//! Calls wait for the disk; they are for a thread that may.

mod identity;
mod resolve;
#[cfg(test)]
mod tests;
mod write;

use crate::workspace::{self, Beneath, Reason, TEXT_BYTES_MAX, WorkspaceError, shown};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use resolve::Resolver;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Bytes that the JSON text of a file may take: an answer must fit into one inbox message.
const ESCAPED_BYTES_MAX: u64 = 12 * 1024 * 1024;

/// An open workspace. Its root was fixed when it was opened: it stays the same directory if its name is given away.
#[derive(Debug)]
pub struct Workspace {
    root: OwnedFd,
    /// The name it was opened by, and the one it has once links are resolved.
    names: [PathBuf; 2],
    resolver: Resolver,
}

impl Workspace {
    /// Opens the workspace `name` in the directory of all workspaces.
    ///
    /// # Errors
    /// [`WorkspaceError::Missing`] where there is none; refused where it is no directory or a link.
    pub fn open(workspaces: &Path, name: &str) -> Result<Self, WorkspaceError> {
        Self::open_by(workspaces, name, false)
    }

    /// As [`open`](Self::open), but makes it where it is missing (mode 0700).
    ///
    /// # Errors
    /// As [`open`](Self::open); when it cannot be made.
    pub fn make(workspaces: &Path, name: &str) -> Result<Self, WorkspaceError> {
        Self::open_by(workspaces, name, true)
    }

    fn open_by(workspaces: &Path, name: &str, make: bool) -> Result<Self, WorkspaceError> {
        let path = workspaces.join(name);
        let named = shown(&path.to_string_lossy());
        if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
            return Err(WorkspaceError::Refused { path: named, reason: Reason::Outside });
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let failed = |errno| failure("open", &named, errno);
        let all = open(workspaces, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
        if make {
            match mkdirat(&all, name, Mode::S_IRWXU) {
                Ok(()) | Err(nix::Error::EEXIST) => {}
                Err(errno) => return Err(failure("create", &named, errno)),
            }
        }
        let root = openat(&all, name, flags, Mode::empty()).map_err(|errno| match errno {
            // A link that may not be followed is no directory either.
            nix::Error::ELOOP | nix::Error::ENOTDIR => {
                WorkspaceError::Refused { path: named.clone(), reason: Reason::NotDirectory }
            }
            errno => failed(errno),
        })?;
        let real = std::fs::read_link(of_descriptor(&root)).unwrap_or_else(|_| path.clone());
        Ok(Self { resolver: Resolver::of_system(&root), root, names: [path, real] })
    }

    /// Its path without links: what an agent gets as its working directory.
    pub fn path(&self) -> &Path {
        &self.names[1]
    }

    /// The lines of a text file from `line` (from 1) on, at most `limit`.
    ///
    /// # Errors
    /// Refused for all that the policy does not allow, files over [`TEXT_BYTES_MAX`] and what is no text among it.
    /// Waits for nothing but the disk.
    pub fn read_text(
        &self,
        path: &str,
        line: Option<u64>,
        limit: Option<u64>,
    ) -> Result<String, WorkspaceError> {
        let beneath = self.file(path)?;
        let found = self.resolver.find(&self.root, &beneath).map_err(|trouble| trouble.at(path))?;
        let refused = |reason| WorkspaceError::refused(path, reason);
        regular(&found, path)?;
        let file = reopened(&found).map_err(|errno| failure("open", &shown(path), errno))?;
        let text = read_at_most(file, path)?;
        let text = String::from_utf8(text).map_err(|_| refused(Reason::NotText))?;
        let lines = workspace::lines(&text, line, limit);
        if lines.contains('\0') {
            return Err(refused(Reason::NotText));
        }
        if escaped_bytes(lines) > ESCAPED_BYTES_MAX {
            return Err(refused(Reason::TooLarge));
        }
        Ok(lines.to_owned())
    }

    /// A directory that a command is to start in, relative to the workspace; empty: the workspace itself.
    ///
    /// # Errors
    /// Refused for all that the policy does not allow, and for what is no directory.
    pub fn directory(&self, path: &str) -> Result<Beneath, WorkspaceError> {
        let refused = |reason| WorkspaceError::refused(path, reason);
        let beneath = workspace::directory(&self.names(), path.as_bytes()).map_err(refused)?;
        let found = self.resolver.find(&self.root, &beneath).map_err(|trouble| trouble.at(path))?;
        match kind(&status(&found, path)?) {
            SFlag::S_IFDIR => Ok(beneath),
            SFlag::S_IFLNK => Err(refused(Reason::Symlink)),
            _ => Err(refused(Reason::NotDirectory)),
        }
    }

    fn file(&self, path: &str) -> Result<Beneath, WorkspaceError> {
        workspace::file(&self.names(), path.as_bytes())
            .map_err(|reason| WorkspaceError::refused(path, reason))
    }

    fn names(&self) -> [&Path; 2] {
        [&self.names[0], &self.names[1]]
    }
}

/// What the system said, as an error on `path` (already [`shown`]).
fn failure(operation: &'static str, path: &str, errno: nix::Error) -> WorkspaceError {
    match errno {
        nix::Error::ENOENT => WorkspaceError::Missing { path: path.to_owned() },
        nix::Error::ENAMETOOLONG => {
            WorkspaceError::Refused { path: path.to_owned(), reason: Reason::TooLong }
        }
        errno => WorkspaceError::Io { operation, path: path.to_owned(), source: errno.into() },
    }
}

fn status(found: &OwnedFd, path: &str) -> Result<FileStat, WorkspaceError> {
    fstat(found).map_err(|errno| failure("look at", &shown(path), errno))
}

fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

/// Checks that it is a regular file of one name.
fn regular(found: &OwnedFd, path: &str) -> Result<FileStat, WorkspaceError> {
    let status = status(found, path)?;
    let reason = match kind(&status) {
        SFlag::S_IFREG if status.st_nlink == 1 => return Ok(status),
        // It was removed between two looks.
        SFlag::S_IFREG if status.st_nlink == 0 => {
            return Err(failure("open", &shown(path), nix::Error::ENOENT));
        }
        SFlag::S_IFREG => Reason::HardLinks,
        SFlag::S_IFLNK => Reason::Symlink,
        SFlag::S_IFDIR => Reason::Directory,
        SFlag::S_IFIFO => Reason::Fifo,
        SFlag::S_IFSOCK => Reason::Socket,
        _ => Reason::Device,
    };
    Err(WorkspaceError::refused(path, reason))
}

/// The same file, to be read.
fn reopened(found: &OwnedFd) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open(&of_descriptor(found), flags, Mode::empty()).map(File::from)
}

fn of_descriptor(descriptor: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()))
}

/// All of a file; one that grows while it is read is read up to the bound.
fn read_at_most(file: File, path: &str) -> Result<Vec<u8>, WorkspaceError> {
    let io = |source| WorkspaceError::Io { operation: "read", path: shown(path), source };
    let too_large = || WorkspaceError::refused(path, Reason::TooLarge);
    let length = file.metadata().map_err(io)?.len();
    if length > TEXT_BYTES_MAX {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(length as usize + 1);
    file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > TEXT_BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
}

/// An upper bound of what a text takes as JSON.
fn escaped_bytes(text: &str) -> u64 {
    let escape = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escape).sum()
}
