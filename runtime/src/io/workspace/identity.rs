//! Which workspace it is: a UUID in the workspace itself, written once (CONTRACTS.md 3 "Workspace identity"): in an
//! extended attribute of its directory, so that the directory of a new task is empty; where the file system has none of
//! those, in a file.

use super::{Workspace, failure, read_at_most, regular, reopened};
use crate::workspace::{IDENTITY_NAME, Reason, WorkspaceError, shown};
use nix::fcntl::{OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use uuid::Uuid;

/// The format that this release writes and the highest it reads.
const FORMAT: u32 = 1;
/// The attribute of the directory. What is in `user.` is kept by tmpfs (since Linux 6.6), ext4, xfs and btrfs.
pub(super) const ATTRIBUTE: &str = "user.holdfast.workspace";
/// Bytes of an attribute that is an identity; what is longer is none.
const ATTRIBUTE_BYTES_MAX: usize = 256;
/// The mode of the file: whoever changes it means to.
const MODE: Mode = Mode::from_bits_truncate(0o444);

/// What the attribute or the file says, in JSON.
#[derive(Serialize, Deserialize)]
struct Identity {
    format: u32,
    id: Uuid,
}

impl Workspace {
    /// Opens the workspace that is known to have this identity.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`check_identity`](Self::check_identity); a workspace that is gone is one whose identity
    /// is missing.
    pub fn open_known(workspaces: &Path, name: &str, expected: Uuid) -> Result<Self, WorkspaceError> {
        let workspace = Self::open(workspaces, name).map_err(|error| match error {
            WorkspaceError::Missing { path } => {
                WorkspaceError::Refused { path, reason: Reason::IdentityMissing }
            }
            error => error,
        })?;
        workspace.check_identity(expected)?;
        Ok(workspace)
    }

    /// The workspace's identity; `None` where it has none.
    ///
    /// # Errors
    /// Refused ([`Reason::IdentityChanged`]) where the attribute says none, or, without one, where the file is no small
    /// regular file of one name that says it.
    pub fn identity(&self) -> Result<Option<Uuid>, WorkspaceError> {
        match self.attribute()? {
            Some(bytes) => self.said_by(&bytes).map(Some),
            None => self.identity_of_file(),
        }
    }

    /// Gives the workspace this identity, durably, unless it has one; the one that it has then.
    ///
    /// # Errors
    /// As [`identity`](Self::identity); when it cannot be written.
    pub fn identify(&self, id: Uuid) -> Result<Uuid, WorkspaceError> {
        if let Some(id) = self.identity()? {
            return Ok(id);
        }
        let path = self.identity_path();
        let written =
            |source: std::io::Error| WorkspaceError::Io { operation: "write", path: shown(&path), source };
        let text =
            serde_json::to_vec(&Identity { format: FORMAT, id }).map_err(|error| written(error.into()))?;
        match fsetxattr(&self.root, ATTRIBUTE, &text, XattrFlags::CREATE) {
            Ok(()) => nix::unistd::fsync(&self.root).map(|()| id).map_err(|errno| written(errno.into())),
            Err(Errno::EXIST) => self.given_by_another(),
            Err(Errno::OPNOTSUPP) => self.identify_by_file(&text, id),
            Err(errno) => Err(written(errno.into())),
        }
    }

    /// As [`identify`](Self::identify), on a file system without attributes.
    pub(super) fn identify_by_file(&self, text: &[u8], id: Uuid) -> Result<Uuid, WorkspaceError> {
        let temporary = format!("{IDENTITY_NAME}.{}.tmp", Uuid::new_v4().simple());
        let written = self.place(&temporary, text);
        if written.is_err() {
            // Best effort; it never had the name that counts.
            let _ = unlinkat(&self.root, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        match written {
            Ok(()) => Ok(id),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => self.given_by_another(),
            Err(source) => {
                Err(WorkspaceError::Io { operation: "write", path: shown(&self.identity_path()), source })
            }
        }
    }

    /// Another was faster.
    fn given_by_another(&self) -> Result<Uuid, WorkspaceError> {
        self.identity()?
            .ok_or_else(|| WorkspaceError::refused(&self.identity_path(), Reason::IdentityMissing))
    }

    fn attribute(&self) -> Result<Option<Vec<u8>>, WorkspaceError> {
        let mut bytes = [0; ATTRIBUTE_BYTES_MAX];
        let path = self.identity_path();
        match fgetxattr(&self.root, ATTRIBUTE, &mut bytes) {
            Ok(length) => Ok(Some(bytes[..length].to_vec())),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(Errno::RANGE) => Err(WorkspaceError::refused(&path, Reason::IdentityChanged)),
            Err(errno) => {
                Err(WorkspaceError::Io { operation: "read", path: shown(&path), source: errno.into() })
            }
        }
    }

    fn identity_of_file(&self) -> Result<Option<Uuid>, WorkspaceError> {
        let path = self.identity_path();
        let changed = || WorkspaceError::refused(&path, Reason::IdentityChanged);
        let found =
            match self.resolver.find_in(&self.root, IDENTITY_NAME).map_err(|trouble| trouble.at(&path)) {
                Ok(found) => found,
                Err(WorkspaceError::Missing { .. }) => return Ok(None),
                Err(WorkspaceError::Refused { .. }) => return Err(changed()),
                Err(error) => return Err(error),
            };
        let of_policy = |error: WorkspaceError| if error.reason().is_some() { changed() } else { error };
        regular(&found, &path).map_err(of_policy)?;
        let file = reopened(&found).map_err(|errno| failure("open", &shown(&path), errno))?;
        let bytes = read_at_most(file, &path).map_err(of_policy)?;
        self.said_by(&bytes).map(Some)
    }

    fn said_by(&self, bytes: &[u8]) -> Result<Uuid, WorkspaceError> {
        match serde_json::from_slice(bytes) {
            Ok(Identity { format, id }) if format <= FORMAT => Ok(id),
            _ => Err(WorkspaceError::refused(&self.identity_path(), Reason::IdentityChanged)),
        }
    }

    /// Checks that it is the workspace of this identity.
    ///
    /// # Errors
    /// Refused where it is another one or has none.
    pub fn check_identity(&self, expected: Uuid) -> Result<(), WorkspaceError> {
        let reason = match self.identity()? {
            Some(id) if id == expected => return Ok(()),
            Some(_) => Reason::IdentityChanged,
            None => Reason::IdentityMissing,
        };
        Err(WorkspaceError::refused(&self.identity_path(), reason))
    }

    fn place(&self, temporary: &str, text: &[u8]) -> std::io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.root, temporary, flags, MODE)?);
        file.write_all(text)?;
        file.sync_all()?;
        renameat2(&self.root, temporary, &self.root, IDENTITY_NAME, RenameFlags::RENAME_NOREPLACE)?;
        Ok(nix::unistd::fsync(&self.root)?)
    }

    fn identity_path(&self) -> String {
        self.path().join(IDENTITY_NAME).to_string_lossy().into_owned()
    }
}
