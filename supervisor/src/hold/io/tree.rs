//! The worker's process tree: everything that descends from the holder.
//!
//! The holder is subreaper, so what double-forks or calls setsid becomes its own child and stays in this tree.

use holdfast_shared::peer::ProcessStat;
use holdfast_shared::process::PidFd;
use holdfast_shared::worker::ExitStatus;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::io;

/// Becomes the one to whom orphans among the descendants are given.
pub fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// What was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// A process ended.
    Process(Pid, ExitStatus),
    /// Nothing has ended now; some live.
    Nothing,
    /// No descendant is left at all.
    NoneLeft,
}

/// Reaps one child that has ended.
pub fn reap() -> io::Result<Reaped> {
    loop {
        return match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => Ok(Reaped::Process(pid, ExitStatus::Code(code))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                Ok(Reaped::Process(pid, ExitStatus::Signal(signal as i32)))
            }
            Ok(WaitStatus::StillAlive) => Ok(Reaped::Nothing),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => Ok(Reaped::NoneLeft),
            Err(errno) => Err(errno.into()),
        };
    }
}

/// Sends each signal to every living descendant. Without a child there is none, which spares reading all of /proc: most
/// workers end alone.
pub fn signal_descendants(signals: &[Signal]) -> io::Result<()> {
    if has_no_child() {
        return Ok(());
    }
    for (pid, stat) in descendants()? {
        // A process that is gone meanwhile needs no signal.
        if let Ok(process) = open_process(pid, stat.start_time) {
            for signal in signals {
                let _ = process.send_signal(*signal);
            }
        }
    }
    Ok(())
}

fn has_no_child() -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, look) == Err(Errno::ECHILD)
}

fn descendants() -> io::Result<Vec<(i32, ProcessStat)>> {
    let mut children: HashMap<i32, Vec<(i32, ProcessStat)>> = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if let Ok(stat) = ProcessStat::read(pid) {
            children.entry(stat.parent).or_default().push((pid, stat));
        }
    }
    let mut found = children.remove(&Pid::this().as_raw()).unwrap_or_default();
    let mut at = 0;
    while let Some((pid, _)) = found.get(at).copied() {
        found.extend(children.remove(&pid).unwrap_or_default());
        at += 1;
    }
    Ok(found)
}

/// Exactly this process: the number cannot have been given to another one.
fn open_process(pid: i32, start_time: u64) -> io::Result<PidFd> {
    let process = PidFd::open(pid)?;
    if ProcessStat::read(pid)?.start_time == start_time {
        Ok(process)
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}
