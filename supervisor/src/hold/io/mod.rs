//! What a holder does to the world.

pub mod birth;
pub mod cgroup;
pub mod child;
pub mod confine;
pub mod log;
pub mod tree;
pub mod wake;

use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Reads once; `None`: nothing there now; 0: the end.
pub fn read_nonblocking(pipe: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match nix::unistd::read(pipe, buffer) {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Writes once; `None`: no room now.
pub fn write_nonblocking(pipe: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match nix::unistd::write(&pipe, bytes) {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}
