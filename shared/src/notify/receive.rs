//! The parent's side.

use super::datagram::{KERNEL_DESCRIPTORS_AT_MOST, receive};
use super::{DESCRIPTORS_AT_MOST, MESSAGE_BYTES, Notification, TURN_AT_MOST, parse};
use crate::process::with_short_path;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket};
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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

    /// Takes on a socket that a former program image of this process has bound and kept.
    pub fn adopt(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Notifications that are there, so many as one turn of a loop is to take; fewer than [`TURN_AT_MOST`] means
    /// that no more are there. One without credentials is skipped, and descriptors past a few are closed, as are all
    /// of a message some of whose descriptors were lost.
    ///
    /// # Errors
    /// What the system says.
    pub fn receive_turn(&self) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        while messages.len() < TURN_AT_MOST {
            match self.try_receive()? {
                Some(message) => messages.push(message),
                None => break,
            }
        }
        Ok(messages)
    }

    /// The next notification, or `None` when there is none now.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_receive(&self) -> io::Result<Option<Message>> {
        let mut bytes = [0u8; MESSAGE_BYTES];
        loop {
            let datagram = match receive(self.as_fd(), &mut bytes, KERNEL_DESCRIPTORS_AT_MOST) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let Some(pid) = datagram.pid else { continue };
            let mut descriptors = datagram.descriptors;
            descriptors.truncate(DESCRIPTORS_AT_MOST);
            let said = parse(&String::from_utf8_lossy(&bytes[..datagram.length]));
            return Ok(Some(Message { pid, said, descriptors }));
        }
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
