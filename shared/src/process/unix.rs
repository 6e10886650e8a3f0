//! Unix sockets at paths of any length.

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Bytes that fit into `sockaddr_un` beside its final zero.
const SOCKET_PATH_BYTES: usize = 107;

/// Mode of a socket that is its user's alone.
const OWN: u32 = 0o600;
/// Mode of a socket that its group may use too.
const GROUPS: u32 = 0o660;
/// In a directory's mode: its group may enter.
const GROUP_ENTERS: u32 = 0o010;

/// Connections the kernel queues before one is accepted.
const BACKLOG: i32 = 128;

/// Runs `action` with a path to the same place that fits into a socket address: the path itself, or one
/// through `/proc/self/fd` where it is too long.
///
/// # Errors
/// When the directory cannot be opened, or what `action` answers.
pub fn with_short_path<T>(path: &Path, action: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= SOCKET_PATH_BYTES {
        return action(path);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{}: no socket path", path.display()),
        ));
    };
    let directory: File =
        OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(parent)?;
    action(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

/// Listens at a path in place of whatever socket was there, mode 0600, or 0660 in a directory that its group may enter
/// (an installed node's). Call it only under the role's lock. The listener does not block.
///
/// # Errors
/// What the system says.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = new_socket(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
    let mode = path.parent().map_or(OWN, mode_in);
    with_short_path(path, |short| {
        bind(socket.as_raw_fd(), &UnixAddr::new(short)?)?;
        // Nobody can connect before `listen`, so the mode is right from the first moment.
        std::fs::set_permissions(short, Permissions::from_mode(mode))
    })?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(UnixListener::from(socket))
}

fn mode_in(directory: &Path) -> u32 {
    let enters = |metadata: std::fs::Metadata| metadata.permissions().mode() & GROUP_ENTERS != 0;
    if std::fs::metadata(directory).is_ok_and(enters) { GROUPS } else { OWN }
}

/// Connects without waiting; for use inside a tokio runtime.
///
/// # Errors
/// What the system says; `WouldBlock` when the listener's queue is full.
pub fn connect_unix(path: &Path) -> io::Result<tokio::net::UnixStream> {
    let socket = new_socket(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
    connect_to(&socket, path)?;
    tokio::net::UnixStream::from_std(UnixStream::from(socket))
}

/// Connects a blocking stream.
///
/// # Errors
/// What the system says.
pub fn connect_unix_blocking(path: &Path) -> io::Result<UnixStream> {
    let socket = new_socket(SockFlag::SOCK_CLOEXEC)?;
    connect_to(&socket, path)?;
    Ok(UnixStream::from(socket))
}

fn new_socket(flags: SockFlag) -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}

fn connect_to(socket: &OwnedFd, path: &Path) -> io::Result<()> {
    with_short_path(path, |short| Ok(connect(socket.as_raw_fd(), &UnixAddr::new(short)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_bound_connected_and_taken_over() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("d".repeat(120));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("x.sock");
        let first = bind_unix(&path).unwrap();
        connect_unix_blocking(&path).unwrap();
        drop(first);
        assert_eq!(connect_unix_blocking(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let _second = bind_unix(&path).unwrap();
        connect_unix_blocking(&path).unwrap();
    }

    #[test]
    fn only_where_the_directory_lets_the_group_in_does_the_socket() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x.sock");
        for (directory, socket) in [(0o700, 0o600), (0o750, 0o660), (0o705, 0o600)] {
            std::fs::set_permissions(root.path(), Permissions::from_mode(directory)).unwrap();
            let _listener = bind_unix(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, socket);
        }
    }
}
