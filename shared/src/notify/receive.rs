//! The parent's side.

use super::{DESCRIPTORS_AT_MOST, MESSAGE_BYTES, Notification, parse};
use crate::process::with_short_path;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind,
    recvmsg, setsockopt, socket,
};
use std::fs::Permissions;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Descriptors that the kernel passes in one message at most (SCM_MAX_FD). Room for fewer would truncate what
/// anybody may send.
const KERNEL_DESCRIPTORS_AT_MOST: usize = 253;

/// The datagram socket that children are given as NOTIFY_SOCKET. It does not block; watch it with
/// `tokio::io::unix::AsyncFd` or poll.
#[derive(Debug)]
pub struct NotifySocket(OwnedFd);

/// One notification.
#[derive(Debug)]
pub struct Message {
    /// Who sent it, as the kernel says.
    pub pid: i32,
    /// What it said.
    pub said: Vec<Notification>,
    /// Descriptors that came with it, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

impl NotifySocket {
    /// Binds the socket, mode 0600, in place of one that was there. Call it only under the role's lock.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        // Before bind: no message may come without its sender.
        setsockopt(&socket, PassCred, &true)?;
        with_short_path(path, |short| {
            bind(socket.as_raw_fd(), &UnixAddr::new(short)?)?;
            std::fs::set_permissions(short, Permissions::from_mode(0o600))
        })?;
        Ok(Self(socket))
    }

    /// The next notification, or `None` when there is none now. One without credentials is skipped, and
    /// descriptors past a few are closed.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_receive(&self) -> io::Result<Option<Message>> {
        loop {
            match self.receive_one() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(nix::errno::Errno::EAGAIN) => return Ok(None),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn receive_one(&self) -> nix::Result<Option<Message>> {
        let mut bytes = [0u8; MESSAGE_BYTES];
        let mut space = nix::cmsg_space!(UnixCredentials, [RawFd; KERNEL_DESCRIPTORS_AT_MOST]);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(self.0.as_raw_fd(), &mut buffers, Some(&mut space), flags)?;
        let length = received.bytes;
        let mut pid = None;
        let mut descriptors = Vec::new();
        // Truncated even so (no descriptor is free, say): a notification is a hint, and one may be lost.
        let Ok(controls) = received.cmsgs() else { return Ok(None) };
        for control in controls {
            match control {
                ControlMessageOwned::ScmCredentials(sender) => pid = Some(sender.pid()),
                // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
                ControlMessageOwned::ScmRights(list) => {
                    descriptors.extend(list.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }))
                }
                _ => {}
            }
        }
        descriptors.truncate(DESCRIPTORS_AT_MOST);
        let said = parse(&String::from_utf8_lossy(&bytes[..length]));
        Ok(pid.map(|pid| Message { pid, said, descriptors }))
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for NotifySocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
