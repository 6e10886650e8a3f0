//! What a keeper is given at its start: listeners by who starts it, everything else by the keeper before it in its process.

use super::supervised::Supervisor;
use crate::io::programs::own_program;
use crate::io::replace::kept_descriptors;
use holdfast_shared::process::{PassedFd, PidFd, listen_fds};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Names of what is handed over, in `HOLDFAST_KEPT` and for `keep --check`.
pub(super) const LOCK: &str = "keeper";
pub(super) const NOTIFY: &str = "notify";
pub(super) const CHILD: &str = "child";
pub(super) const LISTENER: &str = "listener";
/// All of them.
pub(super) const KNOWN: [&str; 4] = [LOCK, NOTIFY, CHILD, LISTENER];

/// What an earlier image of this process has kept, or, for the first one, what it was started with.
#[derive(Default)]
pub(super) struct Passed {
    pub lock: Option<OwnedFd>,
    pub notify: Option<OwnedFd>,
    pub supervisor: Option<OwnedFd>,
    pub listeners: Vec<PassedFd>,
    follows: bool,
}

impl Passed {
    /// Call it once, first thing.
    pub fn take() -> Passed {
        let mut passed = Passed { listeners: listen_fds(), ..Passed::default() };
        for (name, fd) in kept_descriptors() {
            passed.follows = true;
            match name.as_str() {
                LOCK => passed.lock = Some(fd),
                NOTIFY => passed.notify = Some(fd),
                CHILD => passed.supervisor = Some(fd),
                LISTENER => passed.listeners.push(PassedFd { name, fd }),
                _ => drop(fd),
            }
        }
        passed
    }

    /// Whether there was a keeper before us in this process.
    pub fn follows(&self) -> bool {
        self.follows
    }
}

/// The supervisor of the keeper before us: it was ready then. One that has died since is reaped with the next turn.
pub(super) fn adopted(kept: Option<OwnedFd>) -> Option<Supervisor> {
    let pidfd =
        PidFd::adopt(kept?).inspect_err(|error| tracing::error!(%error, "adopt the supervisor")).ok()?;
    let program = std::fs::read_link(format!("/proc/{}/exe", pidfd.pid())).unwrap_or_else(|_| own_program());
    tracing::info!(pid = pidfd.pid(), "a promoted keeper has taken over");
    Some(Supervisor::Runs { pidfd, program, ready_at: Some(Instant::now()) })
}
