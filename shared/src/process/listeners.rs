//! Listeners passed by a parent: the LISTEN_FDS protocol (sd_listen_fds).

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Number of the first passed descriptor.
pub const FIRST_PASSED: i32 = 3;

/// Descriptors taken at most; a broken environment must not make us own what is not ours.
const PASSED_AT_MOST: i32 = 16;

/// A passed descriptor.
#[derive(Debug)]
pub struct PassedFd {
    /// Its name from LISTEN_FDNAMES; `unknown` where there is none.
    pub name: String,
    /// The descriptor.
    pub fd: OwnedFd,
}

/// Takes the descriptors that were passed to this process by LISTEN_FDS; empty when none were, or when
/// LISTEN_PID names another process. They are set close-on-exec. Call it once, first thing in `main`.
pub fn listen_fds() -> Vec<PassedFd> {
    let variable = |name: &str| std::env::var(name).ok();
    let own = std::process::id().to_string();
    if variable("LISTEN_PID").is_some_and(|pid| pid != own) {
        return Vec::new();
    }
    let count = variable("LISTEN_FDS").and_then(|count| count.parse::<i32>().ok()).unwrap_or(0);
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    (0..count.clamp(0, PASSED_AT_MOST))
        .filter_map(|index| take(FIRST_PASSED + index, names.next().unwrap_or("unknown")))
        .collect()
}

fn take(number: i32, name: &str) -> Option<PassedFd> {
    // SAFETY: only asks whether the number is an open descriptor.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and by the protocol it was passed for us to own; this runs once, first in main.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    debug_assert_eq!(fd.as_raw_fd(), number);
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(PassedFd { name: name.to_owned(), fd })
}
