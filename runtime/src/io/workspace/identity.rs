//! Which workspace it is: a UUID in a file of its own, written once (CONTRACTS.md 3 "Workspace identity").

use super::{Workspace, failure, read_at_most, regular, reopened};
use crate::workspace::{IDENTITY_NAME, Reason, WorkspaceError, shown};
use nix::fcntl::{OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use uuid::Uuid;

/// The format that this release writes and the highest it reads.
const FORMAT: u32 = 1;
/// The mode of the file: whoever changes it means to.
const MODE: Mode = Mode::from_bits_truncate(0o444);

/// `.holdfast-workspace`
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
    /// Refused ([`Reason::IdentityChanged`]) where it is no small regular file of one name that says it.
    pub fn identity(&self) -> Result<Option<Uuid>, WorkspaceError> {
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
        let identity: Identity = serde_json::from_slice(&bytes).map_err(|_| changed())?;
        if identity.format > FORMAT { Err(changed()) } else { Ok(Some(identity.id)) }
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
        let temporary = format!("{IDENTITY_NAME}.{}.tmp", Uuid::new_v4().simple());
        let written = self.place(&temporary, id);
        if written.is_err() {
            // Best effort; it never had the name that counts.
            let _ = unlinkat(&self.root, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        match written {
            Ok(()) => Ok(id),
            // Another was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                self.identity()?.ok_or_else(|| WorkspaceError::refused(&path, Reason::IdentityMissing))
            }
            Err(source) => Err(WorkspaceError::Io { operation: "write", path: shown(&path), source }),
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

    fn place(&self, temporary: &str, id: Uuid) -> std::io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.root, temporary, flags, MODE)?);
        let text = serde_json::to_vec(&Identity { format: FORMAT, id })?;
        file.write_all(&text)?;
        file.sync_all()?;
        renameat2(&self.root, temporary, &self.root, IDENTITY_NAME, RenameFlags::RENAME_NOREPLACE)?;
        Ok(nix::unistd::fsync(&self.root)?)
    }

    fn identity_path(&self) -> String {
        self.path().join(IDENTITY_NAME).to_string_lossy().into_owned()
    }
}
