//! What placing asks of systemd.

use crate::io::reap::Awaited;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The node's own unit: its restart replaces keeper and supervisor and leaves everything else.
const NODE: &str = "holdfast.service";
/// Whether the node is to run at all.
const TARGET: &str = "holdfast.target";
/// A reload reads all units of the machine.
const RELOADS: Duration = Duration::from_secs(30);
/// Between two looks whether `systemctl` has ended.
const AGAIN: Duration = Duration::from_millis(50);

/// The service manager; tests have another one.
pub trait Manager {
    /// Reads all units again.
    ///
    /// # Errors
    /// What it says.
    fn reload(&self) -> io::Result<()>;
    /// Restarts the node's service and waits until it is ready, for so long at most.
    ///
    /// # Errors
    /// It was not, or what it says.
    fn restart(&self, within: Duration) -> io::Result<()>;
    /// Whether the node is to run.
    fn is_wanted(&self) -> bool;
}

/// systemd's own command.
#[derive(Debug)]
pub struct Systemctl;

impl Manager for Systemctl {
    fn reload(&self) -> io::Result<()> {
        run(&["daemon-reload"], RELOADS)
    }

    fn restart(&self, within: Duration) -> io::Result<()> {
        run(&["restart", NODE], within)?;
        // Of Type=notify, so active means that it said READY.
        run(&["is-active", "--quiet", NODE], RELOADS)
    }

    fn is_wanted(&self) -> bool {
        let mut command = Command::new("systemctl");
        command.args(["show", "--property=ActiveState", "--property=Job", TARGET, NODE]).stdin(Stdio::null());
        // What cannot be told is not restarted by us; systemd has its own rules for it.
        command.output().is_ok_and(|output| runs_or_will(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// Whether one of the units is active, about to be, or has a job: while a machine starts, the target waits for the node.
fn runs_or_will(properties: &str) -> bool {
    properties.lines().filter_map(|line| line.split_once('=')).any(|(name, value)| match name {
        "ActiveState" => ["active", "activating", "reloading"].contains(&value),
        "Job" => !["", "0"].contains(&value),
        _ => false,
    })
}

fn run(arguments: &[&str], within: Duration) -> io::Result<()> {
    let mut command = Command::new("systemctl");
    // What it has to say goes to this unit's own log.
    let mut child = Awaited::spawn(command.args(arguments).stdin(Stdio::null()))?;
    let begun = Instant::now();
    let what = || format!("systemctl {}", arguments.join(" "));
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(format!("{}: {status}", what()))),
            // The job goes on without who waited for it; the next one replaces it.
            None if begun.elapsed() >= within => {
                return Err(io::Error::other(format!("{}: not within {} s", what(), within.as_secs())));
            }
            None => std::thread::sleep(AGAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_starts_or_is_about_to_is_wanted_and_a_stopped_one_is_not() {
        assert!(runs_or_will("ActiveState=active\n\nActiveState=failed\n"));
        assert!(runs_or_will("ActiveState=inactive\nJob=7\n\nActiveState=activating\n"));
        assert!(runs_or_will("ActiveState=inactive\nJob=7\n\nActiveState=inactive\n"));
        assert!(!runs_or_will("ActiveState=inactive\nJob=0\n\nActiveState=failed\n"));
        assert!(!runs_or_will(""));
    }
}
