//! What placing asks of systemd.

use crate::io::reap::Awaited;
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The node's own unit: its restart replaces keeper and supervisor and leaves everything else.
const NODE: &str = "holdfast.service";
/// A reload reads all units of the machine.
const RELOADS: Duration = Duration::from_secs(15);
/// A question is answered at once where neither systemd hangs nor the machine is busy.
const ANSWERS: Duration = Duration::from_secs(10);
/// A few properties; less than a pipe holds.
const TOLD_BYTES: u64 = 4096;
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
    /// Whether it has read this unit and found nothing in it that it refuses.
    ///
    /// # Errors
    /// How it stands instead, or what it says.
    fn loaded(&self, unit: &str) -> io::Result<()>;
    /// Whether the node is to run: it does, or is about to, or has failed and nobody has stopped it.
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
        run(&["is-active", "--quiet", NODE], ANSWERS)
    }

    fn loaded(&self, unit: &str) -> io::Result<()> {
        let properties = told(&["show", "--property=LoadState", unit])?;
        match properties.trim().strip_prefix("LoadState=") {
            Some("loaded") => Ok(()),
            state => Err(io::Error::other(format!("{unit} is {}", state.unwrap_or("not told of")))),
        }
    }

    fn is_wanted(&self) -> bool {
        // What cannot be told is not restarted by us; systemd has its own rules for it.
        told(&["show", "--property=ActiveState", "--property=Job", NODE])
            .is_ok_and(|properties| runs_or_will(&properties))
    }
}

/// Whether the unit is active, about to be, or failed, or has a job to start while it is not: at a boot it waits for others.
/// Not while it is being stopped: a restart that is meant goes on by itself.
fn runs_or_will(properties: &str) -> bool {
    let of = |name: &str| properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    match of("ActiveState") {
        Some("active" | "activating" | "reloading" | "failed") => true,
        Some("inactive") => !matches!(of("Job"), None | Some("" | "0")),
        _ => false,
    }
}

/// What `systemctl` says, which is little.
fn told(arguments: &[&str]) -> io::Result<String> {
    let (out, its) = io::pipe()?;
    // The command, and with it its end of the pipe, goes with this line.
    let mut child =
        Awaited::spawn(Command::new("systemctl").args(arguments).stdin(Stdio::null()).stdout(its))?;
    ends(&mut child, arguments, ANSWERS)?;
    let mut text = String::new();
    out.take(TOLD_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn run(arguments: &[&str], within: Duration) -> io::Result<()> {
    let mut command = Command::new("systemctl");
    // What it has to say goes to this unit's own log.
    let mut child = Awaited::spawn(command.args(arguments).stdin(Stdio::null()))?;
    ends(&mut child, arguments, within)
}

fn ends(child: &mut Awaited, arguments: &[&str], within: Duration) -> io::Result<()> {
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
        for wanted in [
            "ActiveState=active\n",
            "Job=7\nActiveState=activating\n",
            "Job=7\nActiveState=inactive\n",
            "Job=0\nActiveState=failed\n",
        ] {
            assert!(runs_or_will(wanted), "{wanted}");
        }
        for stopped in [
            "ActiveState=inactive\nJob=0\n",
            "ActiveState=inactive\n",
            "Job=7\nActiveState=deactivating\n",
            "",
        ] {
            assert!(!runs_or_will(stopped), "{stopped}");
        }
    }
}
