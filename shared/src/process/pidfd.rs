//! A process held by descriptor: signals and waits that cannot reach a later process of the same number.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// A descriptor of one process.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
    pid: i32,
}

impl PidFd {
    /// Opens the process that has this number now.
    ///
    /// # Errors
    /// `ESRCH` when there is none.
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: plain system call; a non-negative result is a new descriptor that nobody else owns.
        let fd = unsafe {
            let result = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(i32::try_from(result).map_err(io::Error::other)?)
        };
        Ok(Self { fd, pid })
    }

    /// Takes on a descriptor that a former program image of this process has kept.
    ///
    /// # Errors
    /// It is no descriptor of a process, or that process was reaped.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
        let pid = told.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok());
        match pid {
            Some(pid) if pid > 0 => Ok(Self { fd, pid }),
            _ => Err(io::Error::other("the descriptor is of no living process")),
        }
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Another descriptor of the same process.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, pid: self.pid })
    }

    /// Sends a signal; to a dead process it does nothing and succeeds.
    ///
    /// # Errors
    /// `EPERM` when the process is another user's.
    pub fn send_signal(&self, signal: Signal) -> io::Result<()> {
        // SAFETY: plain system call on a descriptor we own; no pointer but null.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal as libc::c_int,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match result {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Whether the process has ended (a zombie has).
    pub fn is_dead(&self) -> bool {
        self.wait_dead(Duration::ZERO)
    }

    /// Waits for its end at most so long, blocking the thread; says whether it has ended.
    pub fn wait_dead(&self, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Waits for its end on the current tokio runtime.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub async fn died(&self) -> io::Result<()> {
        let own = self.fd.try_clone()?;
        // SAFETY: `OwnedFd` always answers with the same descriptor and keeps it open as long as it lives.
        let watched = unsafe { AsyncFd::register_with_interest(own, tokio::io::Interest::READABLE) }
            .map_err(io::Error::from)?;
        let _ready = watched.readable().await?;
        Ok(())
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_death_is_seen_and_a_signal_to_the_dead_is_no_error() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = PidFd::open(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(!pidfd.is_dead());
        pidfd.send_signal(Signal::SIGKILL).unwrap();
        assert!(pidfd.wait_dead(Duration::from_secs(10)));
        child.wait().unwrap();
        assert!(pidfd.is_dead());
        pidfd.send_signal(Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_descriptor_that_was_kept_is_the_same_process_until_it_is_reaped() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let pidfd = PidFd::adopt(PidFd::open(pid).unwrap().fd).unwrap();
        assert_eq!(pidfd.pid(), pid);
        child.kill().unwrap();
        assert!(pidfd.wait_dead(Duration::from_secs(10)));
        let pidfd = PidFd::adopt(pidfd.fd).unwrap();
        child.wait().unwrap();
        assert!(PidFd::adopt(pidfd.fd).is_err());
        assert!(PidFd::adopt(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }

    #[tokio::test]
    async fn a_death_wakes_the_loop() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = PidFd::open(i32::try_from(child.id()).unwrap()).unwrap();
        child.kill().unwrap();
        tokio::time::timeout(Duration::from_secs(10), pidfd.died()).await.unwrap().unwrap();
        child.wait().unwrap();
    }
}
