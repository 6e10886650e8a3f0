//! Reaping children: the loop reaps whoever has ended, save those whose exit status somebody else waits for.

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn awaited() -> MutexGuard<'static, BTreeSet<i32>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child whose exit status is waited for. Dropping it kills it.
#[derive(Debug)]
pub struct Awaited(Child);

impl Awaited {
    /// Starts it.
    ///
    /// # Errors
    /// What the system says.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        // Held until the child is known: else it could end, and be reaped, before that.
        let mut awaited = awaited();
        let child = command.spawn()?;
        awaited.insert(child.id().cast_signed());
        Ok(Self(child))
    }

    /// How it ended; `None`: it runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        // One that has ended and was waited for is neither killed nor waited for again.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
        awaited().remove(&self.0.id().cast_signed());
    }
}

/// Reaps children that have ended, and says how. Behind one that is waited for elsewhere and not yet reaped there,
/// others wait for the next call.
pub fn reap_others(mut each: impl FnMut(WaitStatus)) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    // One is being started: whoever has ended is reaped with the next call.
    let Ok(awaited) = AWAITED.try_lock() else { return };
    while let Ok(status) = waitid(Id::All, flags) {
        let Some(pid) = status.pid().filter(|pid| !awaited.contains(&pid.as_raw())) else { return };
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => each(status),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn until(what: impl Fn() -> bool) {
        let ends = Instant::now() + Duration::from_secs(30);
        while !what() {
            assert!(Instant::now() < ends, "not in time");
            std::thread::yield_now();
        }
    }

    #[test]
    fn whoever_is_waited_for_keeps_its_status() {
        let mut child = Awaited::spawn(Command::new("/bin/sh").args(["-c", "exit 7"])).unwrap();
        let pid = child.0.id();
        until(|| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z "));
        reap_others(|status| assert_ne!(status.pid().unwrap().as_raw(), pid.cast_signed()));
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
    }
}
