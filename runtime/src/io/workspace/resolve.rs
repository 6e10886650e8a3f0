//! From a path to a descriptor, beneath a directory: no link, no `..`, no mount point.

use super::{failure, kind, of_descriptor};
use crate::workspace::{Beneath, Reason, WorkspaceError, shown};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// How often a look is taken again that the kernel could not finish, because something was renamed at the same time.
const AGAIN_MAX: usize = 16;

/// Opened without effect: what is found may be anything, a FIFO or a device among it.
const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Who checks the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// The kernel, all in one call (Linux 5.6).
    Kernel,
    /// We do, one after the other: where `openat2` is missing or kept from us.
    Walk,
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Refused(Reason),
    System(nix::Error),
}

impl Trouble {
    /// As an error on this path.
    pub(super) fn at(self, path: &str) -> WorkspaceError {
        match self {
            Trouble::Refused(reason) => WorkspaceError::refused(path, reason),
            Trouble::System(errno) => failure("open", &shown(path), errno),
        }
    }
}

impl From<nix::Error> for Trouble {
    fn from(errno: nix::Error) -> Self {
        match errno {
            nix::Error::ELOOP => Trouble::Refused(Reason::Symlink),
            nix::Error::EXDEV => Trouble::Refused(Reason::Mounted),
            nix::Error::ENOTDIR => Trouble::Refused(Reason::NotDirectory),
            errno => Trouble::System(errno),
        }
    }
}

impl Resolver {
    /// What this system has.
    pub(super) fn of_system(root: &OwnedFd) -> Self {
        match by_kernel(root, ".") {
            Ok(_) => Resolver::Kernel,
            Err(_) => Resolver::Walk,
        }
    }

    /// What lies at this path, opened without effect. The last component may be anything, a link too; those before it
    /// are directories on the file system of `root`.
    pub(super) fn find(self, root: &OwnedFd, beneath: &Beneath) -> Result<OwnedFd, Trouble> {
        if beneath.is_root() {
            return Ok(openat(root, ".", LOOK | OFlag::O_DIRECTORY, Mode::empty())?);
        }
        match self {
            Resolver::Kernel => Ok(by_kernel(root, beneath.as_str())?),
            Resolver::Walk => by_walk(root, beneath),
        }
    }

    /// The directory at this path, opened to be read and synced.
    pub(super) fn find_directory(self, root: &OwnedFd, beneath: &Beneath) -> Result<OwnedFd, Trouble> {
        let found = self.find(root, beneath)?;
        match kind(&fstat(&found)?) {
            SFlag::S_IFDIR => {}
            SFlag::S_IFLNK => return Err(Trouble::Refused(Reason::Symlink)),
            _ => return Err(Trouble::Refused(Reason::NotDirectory)),
        }
        // `.` in a directory is that directory, whatever became of its name.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&found, ".", flags, Mode::empty())?)
    }

    /// What `name` is in a directory, opened without effect.
    pub(super) fn find_in(self, directory: &OwnedFd, name: &str) -> Result<OwnedFd, Trouble> {
        match self {
            Resolver::Kernel => Ok(by_kernel(directory, name)?),
            Resolver::Walk => step(directory, name, false, mount_of(directory)),
        }
    }
}

fn by_kernel(root: &OwnedFd, path: &str) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(LOOK).resolve(resolve);
    let mut last = nix::Error::EAGAIN;
    for _ in 0..AGAIN_MAX {
        match openat2(root, path, how) {
            Err(again @ (nix::Error::EAGAIN | nix::Error::EINTR)) => last = again,
            other => return other,
        }
    }
    Err(last)
}

fn by_walk(root: &OwnedFd, beneath: &Beneath) -> Result<OwnedFd, Trouble> {
    let mount = mount_of(root);
    let mut components = beneath.components().peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(component) = components.next() {
        let directory = at.as_ref().unwrap_or(root);
        at = Some(step(directory, component, components.peek().is_some(), mount)?);
    }
    at.ok_or(Trouble::System(nix::Error::ENOENT))
}

/// One component. One on the way must be a directory.
fn step(directory: &OwnedFd, name: &str, on_the_way: bool, mount: Option<u64>) -> Result<OwnedFd, Trouble> {
    let found = openat(directory, name, LOOK, Mode::empty())?;
    let kind = kind(&fstat(&found)?);
    if on_the_way && kind == SFlag::S_IFLNK {
        return Err(Trouble::Refused(Reason::Symlink));
    }
    if on_the_way && kind != SFlag::S_IFDIR {
        return Err(Trouble::Refused(Reason::NotDirectory));
    }
    if mount_of(&found) != mount {
        return Err(Trouble::Refused(Reason::Mounted));
    }
    Ok(found)
}

/// The mount that something lies on. A device number would not do: a directory may be mounted a second time on its own
/// file system, and on overlays files and directories have different ones.
fn mount_of(descriptor: &impl AsFd) -> Option<u64> {
    let path = of_descriptor(descriptor).to_string_lossy().replace("/fd/", "/fdinfo/");
    debug_assert!(path.ends_with(&descriptor.as_fd().as_raw_fd().to_string()));
    let text = std::fs::read_to_string(path).ok()?;
    let field = text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    field.trim().parse().ok()
}
