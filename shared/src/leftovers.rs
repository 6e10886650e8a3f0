//! What a worker leaves behind when its holder was killed: processes that nobody holds any more.
//!
//! The worker itself dies with its holder. What it had started is given to the next subreaper and would go on
//! in a workspace that a later turn believes its own.

use crate::peer::ProcessStat;
use crate::process::{self, PidFd};
use crate::worker::Started;
use nix::sys::signal::Signal;
use std::io;
use std::path::Path;

/// In the environment of every worker and, unless it removes it, of all it starts: which worker this is.
pub const WORKER_VARIABLE: &str = "HOLDFAST_WORKER";

/// The value of [`WORKER_VARIABLE`]: pid and start time of the worker's own process, which no other worker of any
/// node on this machine has in this boot.
pub fn worker_mark(pid: i32, start_time: u64) -> String {
    format!("{pid}-{start_time}")
}

/// How often the processes are looked for: those that one round finds may have forked meanwhile.
const ROUNDS: usize = 8;

/// Sends KILL to every living process of a worker that has no holder any more, and answers how many it last
/// found: 0 where none is left but what is dying. A process is the worker's if it is in the worker's session or carries its
/// mark in its environment; one of another boot, or started before the worker, is not.
///
/// Only for a worker that is [`Lost`](crate::worker::WorkerState::Lost): a living one's holder does this itself.
pub fn end_leftovers(directory: &Path) -> io::Result<usize> {
    let Some(started) = Started::read(directory)? else { return Ok(0) };
    if started.boot_id != process::boot_id()? {
        return Ok(0);
    }
    let mark = format!("{WORKER_VARIABLE}={}", worker_mark(started.pid, started.start_time));
    let mut ended = 0;
    for _ in 0..ROUNDS {
        ended = end_round(&started, mark.as_bytes())?;
        if ended == 0 {
            break;
        }
    }
    Ok(ended)
}

fn end_round(started: &Started, mark: &[u8]) -> io::Result<usize> {
    let mut ended = 0;
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process that cannot be read is gone, or another user's.
        if let Ok(true) = end_if_left_over(pid, started, mark) {
            ended += 1;
        }
    }
    Ok(ended)
}

fn end_if_left_over(pid: i32, started: &Started, mark: &[u8]) -> io::Result<bool> {
    // Opened first: what is read below is this very process's, or the signal goes nowhere.
    let process = PidFd::open(pid)?;
    let stat = ProcessStat::read(pid)?;
    let could_be = stat.state != b'Z' && stat.start_time >= started.start_time;
    if !could_be || !(is_in_session(&stat, started) || carries(pid, mark)?) {
        return Ok(false);
    }
    if process.is_dead() {
        return Ok(false);
    }
    process.send_signal(Signal::SIGKILL)?;
    Ok(true)
}

/// A session's number is not given again while it has members; where its leader lives, it must be the worker.
fn is_in_session(stat: &ProcessStat, started: &Started) -> bool {
    let leader = ProcessStat::read(started.pid);
    stat.session == started.pid && leader.is_ok_and(|leader| leader.start_time == started.start_time)
}

fn carries(pid: i32, mark: &[u8]) -> io::Result<bool> {
    let environment = std::fs::read(format!("/proc/{pid}/environ"))?;
    Ok(environment.split(|byte| *byte == 0).any(|variable| variable == mark))
}
