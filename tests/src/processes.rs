//! Looking at and signalling processes from outside, as an unkind world does.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::time::Duration;

/// Sends a signal; a process that is already gone is no error.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether the process exists and is no zombie.
pub fn alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The one-letter state in `/proc/<pid>/stat`.
pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

/// Stops a process and returns when the kernel has stopped it.
pub fn stop(pid: i32) {
    signal(pid, Signal::SIGSTOP);
    let _ = crate::wait::try_until_blocking(Duration::from_secs(2), || {
        state(pid).is_none_or(|state| state == 'T' || state == 'Z').then_some(())
    });
}

/// Every living process that belongs to this directory: named in its command line, or working below it.
pub fn below(directory: &Path) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id().cast_signed();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own && alive(*pid) && belongs(*pid, directory))
        .collect()
}

fn belongs(pid: i32, directory: &Path) -> bool {
    let named = std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(directory.to_string_lossy().as_ref()));
    named || std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
}

/// Ends everything that belongs to this directory, whatever it restarts meanwhile.
pub fn end_below(directory: &Path) {
    let _ = crate::wait::try_until_blocking(Duration::from_secs(10), || {
        let left = below(directory);
        left.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
        left.is_empty().then_some(())
    });
}

/// Processor time of everything that belongs to this directory, in the kernel's ticks (hundredths of a second).
pub fn processor_ticks_below(directory: &Path) -> u64 {
    below(directory).into_iter().filter_map(processor_ticks).sum()
}

fn processor_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name: state is field 3, user and system time are fields 14 and 15.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}
