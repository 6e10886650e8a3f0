//! Stopping whole trees: every process of the home that its locks name, and every worker with all of its own.
//!
//! Works from the files alone, so it serves the supervisor and, when that is dead, the command line.

use crate::io::cgroups;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::leftovers::end_leftovers;
use holdfast_shared::process::{Living, PidFd, read_holder};
use holdfast_shared::slot::Slot;
use holdfast_shared::worker::{Started, WorkerState};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a daemon of ours is given between TERM, its clean stop, and KILL (CONTRACTS.md 2).
const DAEMON_STOPS: Duration = Duration::from_secs(5);
/// What a holder is given: its own ladder is TERM, KILL after 5 s, the leftovers of the worker, and a margin.
const HOLDER_STOPS: Duration = Duration::from_secs(15);
/// What a killed process is given to be gone.
const KILLED_DIES: Duration = Duration::from_secs(10);
/// What a holder may take to say who it is.
const HOLDER_PREPARES: Duration = Duration::from_secs(2);
/// Looks for living workers, the last of which is to find none.
const WORKER_ROUNDS: usize = 5;

/// What was stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Workers ended.
    pub workers: usize,
    /// Of those, killed with their holder.
    pub killed_workers: usize,
    /// Daemons ended.
    pub daemons: usize,
    /// Processes that did not die.
    pub left: usize,
}

/// Stops workers (unless they are kept), then runtimes, then the sidecar. Blocks until they are dead.
pub fn stop_children(home: &Home, keep_workers: bool) -> Stopped {
    let mut stopped = Stopped::default();
    if !keep_workers {
        stop_workers(home, &mut stopped);
    }
    stop_daemons(home, &[Role::Runtime(Slot::A), Role::Runtime(Slot::B)], &mut stopped);
    stop_daemons(home, &[Role::Sidecar], &mut stopped);
    if !keep_workers {
        cgroups::remove(home);
    }
    stopped
}

/// Ends keeper and supervisor first, so that nothing is started again, then everything else.
pub fn stop_everything(home: &Home, keep_workers: bool) -> Stopped {
    let mut stopped = Stopped::default();
    for role in [Role::Keeper, Role::Supervisor] {
        if let Ok(Some(living)) = read_holder(home, role) {
            kill(&living.pidfd, &mut stopped);
            stopped.daemons += 1;
        }
    }
    let children = stop_children(home, keep_workers);
    Stopped {
        workers: children.workers,
        killed_workers: children.killed_workers,
        daemons: stopped.daemons + children.daemons,
        left: stopped.left + children.left,
    }
}

fn stop_daemons(home: &Home, roles: &[Role], stopped: &mut Stopped) {
    let living: Vec<Living> =
        roles.iter().filter_map(|role| read_holder(home, *role).ok().flatten()).collect();
    for living in &living {
        let _ = living.pidfd.send_signal(Signal::SIGTERM);
        // One that is stopped takes its TERM only when it goes on.
        let _ = living.pidfd.send_signal(Signal::SIGCONT);
    }
    let deadline = Instant::now() + DAEMON_STOPS;
    for living in living {
        if !living.pidfd.wait_dead(deadline.saturating_duration_since(Instant::now())) {
            tracing::warn!(pid = living.pid, "did not stop in time; it is killed");
            kill(&living.pidfd, stopped);
        }
        stopped.daemons += 1;
    }
}

fn kill(pidfd: &PidFd, stopped: &mut Stopped) {
    let _ = pidfd.send_signal(Signal::SIGKILL);
    if !pidfd.wait_dead(KILLED_DIES) {
        stopped.left += 1;
    }
}

/// Ends workers until none is found: one whose start was under way is not there at the first look.
fn stop_workers(home: &Home, stopped: &mut Stopped) {
    for _ in 0..WORKER_ROUNDS {
        // One that does not even die when killed would be found for ever.
        if stop_living_workers(home, stopped) == 0 || stopped.left > 0 {
            return;
        }
    }
}

/// Ends the workers that live now; how many there were.
fn stop_living_workers(home: &Home, stopped: &mut Stopped) -> usize {
    let holders = living_holders(home);
    let found = holders.len();
    for (pidfd, ..) in &holders {
        let _ = pidfd.send_signal(Signal::SIGTERM);
        let _ = pidfd.send_signal(Signal::SIGCONT);
    }
    let deadline = Instant::now() + HOLDER_STOPS;
    for (pidfd, started, directory) in holders {
        if !pidfd.wait_dead(deadline.saturating_duration_since(Instant::now())) {
            tracing::warn!(
                pid = pidfd.pid(),
                worker = started.pid,
                "holder did not stop in time; it is killed"
            );
            kill(&pidfd, stopped);
            // The holder can end them no more, escaped ones neither.
            if !matches!(end_leftovers(&directory), Ok(0)) {
                tracing::warn!(worker = started.pid, "processes that it left were killed");
            }
            stopped.killed_workers += 1;
        }
        stopped.workers += 1;
    }
    found
}

fn living_holders(home: &Home) -> Vec<(PidFd, Started, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(home.workers()) else { return Vec::new() };
    let directories = entries.flatten().map(|entry| entry.path());
    directories
        .filter_map(|directory| living_holder(&directory).map(|(pidfd, started)| (pidfd, started, directory)))
        .collect()
}

fn living_holder(directory: &Path) -> Option<(PidFd, Started)> {
    let deadline = Instant::now() + HOLDER_PREPARES;
    loop {
        match WorkerState::read(directory).ok()? {
            WorkerState::Alive(Some(started)) => {
                let pidfd = PidFd::open(started.holder_pid).ok()?;
                // Still locked by the holder after its descriptor was opened: it is that process.
                let alive = matches!(WorkerState::read(directory), Ok(WorkerState::Alive(_)));
                return alive.then_some((pidfd, started));
            }
            WorkerState::Alive(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => return None,
        }
    }
}

/// How many workers live.
pub fn living_workers(home: &Home) -> usize {
    living_holders(home).len()
}
