//! The child's side.

use crate::process::with_short_path;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket,
};
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Speaks to the parent; does nothing where there is none. Never blocks and never fails: what the parent
/// does not hear now, the next WATCHDOG says again.
#[derive(Debug, Default)]
pub struct Notifier {
    target: Option<(OwnedFd, String)>,
    ready: bool,
}

impl Notifier {
    /// To the parent named by NOTIFY_SOCKET; to nobody when it is not set.
    pub fn from_env() -> Self {
        Self::from_address(std::env::var("NOTIFY_SOCKET").ok())
    }

    /// To the socket at a path.
    pub fn to(path: &Path) -> Self {
        Self::from_address(path.to_str().map(str::to_owned))
    }

    /// To an address as in NOTIFY_SOCKET: a path, or `@name` for an abstract one.
    pub fn from_address(address: Option<String>) -> Self {
        let target = address.filter(|address| !address.is_empty()).and_then(|address| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None).ok()?;
            Some((socket, address))
        });
        Self { target, ready: false }
    }

    /// READY=1, now and with every WATCHDOG after it.
    pub fn ready(&mut self) {
        self.ready = true;
        self.send("READY=1", None);
    }

    /// STATUS: one line for people.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")), None);
    }

    /// STOPPING=1.
    pub fn stopping(&self) {
        self.send("STOPPING=1", None);
    }

    /// WATCHDOG=1: call it from the main loop every [`super::WATCHDOG_MILLISECONDS`].
    pub fn watchdog(&self) {
        self.send(if self.ready { "READY=1\nWATCHDOG=1" } else { "WATCHDOG=1" }, None);
    }

    /// Hands the parent a descriptor to keep under a name.
    pub fn store_fd(&self, name: &str, fd: BorrowedFd<'_>) {
        self.send(&format!("FDSTORE=1\nFDNAME={name}"), Some(fd));
    }

    fn send(&self, text: &str, fd: Option<BorrowedFd<'_>>) {
        let Some((socket, address)) = &self.target else { return };
        // A parent that is away, restarting or not reading is no reason for the child to stop or fail.
        let _ = match address.strip_prefix('@') {
            Some(name) => UnixAddr::new_abstract(name.as_bytes())
                .map_err(io::Error::from)
                .and_then(|target| send_to(socket, &target, text, fd)),
            None => {
                with_short_path(Path::new(address), |short| send_to(socket, &UnixAddr::new(short)?, text, fd))
            }
        };
    }
}

fn send_to(socket: &OwnedFd, target: &UnixAddr, text: &str, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let descriptors = fd.map(|fd| [fd.as_raw_fd()]);
    let rights = descriptors.as_ref().map(|list| ControlMessage::ScmRights(list));
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(text.as_bytes())],
        rights.as_slice(),
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        Some(target),
    )?;
    Ok(())
}
