//! What the command line asks of systemd where it has started the node (systemd/ has the units).

use holdfast_shared::home::Home;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Everything of the node: their stop ends keeper, supervisor, sidecar, runtimes and work. The target first; the
/// others would follow it, and are named so that their end is waited for.
pub const ALL: &[&str] = &["holdfast.target", "holdfast-end.service", SERVICE, SOCKET];
/// The public listener; a connection to it starts the node.
pub const SOCKET: &str = "holdfast.socket";
/// The home of the node that the units run.
pub const INSTALLED_HOME: &str = "/var/lib/holdfast";
/// What the keeper and, as systemd does not move them, all other processes of the node run in.
const SERVICE: &str = "holdfast.service";

/// Whether this process was started by the node's unit.
pub fn started(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| is_in_service(&text))
}

/// Whether this process serves the installed home and was started by its unit: not what works there runs for a home of its
/// own.
pub fn keeps(home: &Home) -> bool {
    let same = |one: &Path| one.canonicalize().ok();
    let installed = same(Path::new(INSTALLED_HOME));
    installed.is_some() && same(home.path()) == installed && started(std::process::id().cast_signed())
}

/// Whether one of the control groups in `/proc/PID/cgroup` is the unit's, in any hierarchy.
fn is_in_service(cgroups: &str) -> bool {
    let mut paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.any(|path| path.split('/').any(|group| group == SERVICE))
}

/// Stops units and waits for their end.
///
/// # Errors
/// When there is no `systemctl`, or it fails: with what it said.
pub fn stop_units(units: &[&str]) -> io::Result<()> {
    let mut command = Command::new("systemctl");
    let output = command.arg("stop").args(units).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_known_in_both_hierarchies_and_by_its_whole_name() {
        for inside in [
            "0::/system.slice/holdfast.service\n",
            "12:pids:/system.slice/holdfast.service\n1:name=systemd:/\n",
            "0::/system.slice/holdfast.service/work\n",
        ] {
            assert!(is_in_service(inside), "{inside}");
        }
        for outside in
            ["0::/user.slice/session-1.scope\n", "0::/system.slice/holdfast-end.service\n", "", "x\n"]
        {
            assert!(!is_in_service(outside), "{outside}");
        }
    }
}
