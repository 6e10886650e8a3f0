//! SIGTERM and SIGHUP: a keeper is told to go. Neither is lost when it becomes another image meanwhile.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What tells a keeper to go.
const GO: [Signal; 2] = [Signal::SIGTERM, Signal::SIGHUP];

/// Signals as bytes in a pipe.
pub(super) struct Signals(UnixStream);

impl Signals {
    /// Catches them from now on, also one that came while an earlier image of this process held them back.
    pub fn catch() -> io::Result<Signals> {
        let (ours, handlers) = UnixStream::pair()?;
        for signal in GO {
            signal_hook::low_level::pipe::register(signal as i32, handlers.try_clone()?)?;
        }
        // A terminal's Ctrl-C is for `up`, which decides what it means.
        signal_hook::flag::register(libc::SIGINT, std::sync::Arc::default())?;
        ours.set_nonblocking(true)?;
        SigSet::from_iter(GO).thread_unblock()?;
        Ok(Signals(ours))
    }

    /// Takes what has come: whether we were told to go.
    pub fn take(&mut self) -> bool {
        let mut bytes = [0u8; 16];
        matches!(self.0.read(&mut bytes), Ok(count) if count > 0)
    }

    /// Holds them back until the result is dropped, or until the next image catches them; `None` where one has come
    /// already, which [`Signals::take`] takes.
    pub fn hold(&self) -> io::Result<Option<Held>> {
        let held = Held::new()?;
        let mut watched = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let has_come = poll(&mut watched, PollTimeout::ZERO)? > 0;
        Ok((!has_come).then_some(held))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// They wait with the kernel, which keeps them in an `execve`.
pub(super) struct Held;

impl Held {
    fn new() -> io::Result<Held> {
        SigSet::from_iter(GO).thread_block()?;
        Ok(Held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It fails only for what is no set of signals.
        let _ = SigSet::from_iter(GO).thread_unblock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell() {
        // To this thread alone.
        nix::sys::signal::raise(Signal::SIGHUP).unwrap();
    }

    #[test]
    fn what_comes_while_held_is_there_afterwards_and_what_came_before_is_not_held() {
        let mut signals = Signals::catch().unwrap();
        let held = signals.hold().unwrap().expect("nothing has come");
        tell();
        assert!(!signals.take());
        // As the next image does.
        let mut next = Signals::catch().unwrap();
        assert!(next.take());
        drop(held);

        tell();
        assert!(next.hold().unwrap().is_none());
        assert!(next.take());
        assert!(!next.take());
    }
}
