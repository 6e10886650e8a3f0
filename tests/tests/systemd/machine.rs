//! A machine of its own for each test: Debian 12 booted by systemd in a container, from a copy of one image.

use crate::group::Groups;
use holdfast_shared::home::{Home, Role};
use holdfast_tests::node::{run_to_end, told};
use holdfast_tests::{processes, wait};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Where an installed node keeps its state.
pub const HOME: &str = "/var/lib/holdfast";
/// From the container's start to a booted system: 0.4 s on an idle machine.
const BOOTS: Duration = Duration::from_secs(60);
/// A command inside; `systemctl stop` of a whole node with its work takes some seconds.
const COMMAND: Duration = Duration::from_secs(120);
/// From a start or a kill to a node that answers.
pub const SOON: Duration = Duration::from_secs(40);

/// Enters the groups that it is given, and becomes the container.
const BOOT: &str = r#"for group; do echo $$ >"$group"; done
exec systemd-nspawn --quiet -D "$MACHINE" --private-network --register=no --keep-unit -b"#;

/// A booted container; ended and removed on drop, its logs shown when the test panics.
pub struct Machine {
    root: PathBuf,
    _directory: tempfile::TempDir,
    nspawn: Child,
    init: i32,
    groups: Groups,
}

/// What `tests/run systemd` has prepared, by the variable's name.
///
/// # Panics
/// When it has not.
pub fn prepared(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    PathBuf::from(path.unwrap_or_else(|| panic!("{variable} is not set: run tests/run systemd")))
}

impl Machine {
    /// Boots a copy of the image; this thread then has the machine's network.
    pub fn boot() -> Machine {
        let directory = tempfile::Builder::new().prefix("machine.").tempdir().expect("room below TMPDIR");
        let root = directory.path().join("root");
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(prepared("HOLDFAST_SYSTEMD_IMAGE")).arg(&root);
        let copied = run_to_end(copy, COMMAND);
        assert!(copied.status.success(), "{}", told(&copied));
        let groups = Groups::make(&directory.path().file_name().expect("its name").to_string_lossy());
        let (nspawn, init) = boot(&root, &groups);
        let machine = Machine { root, _directory: directory, nspawn, init, groups };
        machine.is_up();
        machine
    }

    /// Where a path of the machine is on ours.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    fn is_up(&self) {
        wait::until_blocking("systemd is up", BOOTS, || {
            let state = self.run("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            ["running", "degraded"].contains(&state.as_str()).then_some(())
        });
        let network = File::open(format!("/proc/{}/ns/net", self.init)).expect("its init lives");
        setns(network, CloneFlags::CLONE_NEWNET).expect("root may enter it");
    }

    /// Runs a shell line as the machine's root.
    pub fn run(&self, line: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-p", "-u", "-i", "-n", "-C", "--"]);
        command.args(["/usr/bin/env", "-i", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["/bin/sh", "-c", line]).current_dir("/").stdin(Stdio::null());
        run_to_end(command, COMMAND)
    }

    /// Runs a shell line that must succeed; its stdout.
    ///
    /// # Panics
    /// When it fails.
    pub fn must(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", told(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Copies a file of ours to the same name in a directory of the machine.
    pub fn bring(&self, file: &Path, into: &str) {
        let directory = self.path(into);
        std::fs::create_dir_all(&directory).expect("its root is ours");
        std::fs::copy(file, directory.join(file.file_name().expect("a file"))).expect("room for it");
    }

    /// `systemctl is-active`, in its own word.
    pub fn state_of(&self, unit: &str) -> String {
        String::from_utf8_lossy(&self.run(&format!("systemctl is-active {unit}")).stdout).trim().to_owned()
    }

    /// `status --json` of the installed node, found without `--home`; `None` when nothing answers.
    pub fn status(&self) -> Option<Value> {
        serde_json::from_slice(&self.run("holdfast status --json").stdout).ok()
    }

    /// Waits until a runtime serves.
    pub fn serves(&self) {
        wait::until_blocking("the node serves", SOON, || {
            self.status().filter(|status| status["node"]["ready"] == true)
        });
    }

    /// The process number inside of a living role.
    pub fn pid_of(&self, role: Role) -> Option<i32> {
        let text = std::fs::read_to_string(self.path_of_lock(role)).ok()?;
        let pid = i32::try_from(serde_json::from_str::<Value>(&text).ok()?["pid"].as_i64()?).ok()?;
        self.users_processes().contains(&pid).then_some(pid)
    }

    fn path_of_lock(&self, role: Role) -> PathBuf {
        self.path(Home::new(HOME).lock(role).to_str().expect("ASCII"))
    }

    /// SIGKILL; waits until another process has the role.
    pub fn kill(&self, role: Role) {
        // One that an earlier keeper left behind may be ended by its successor at this moment.
        let kill = |pid: &i32| self.run(&format!("kill -KILL {pid}")).status.success();
        let what = format!("a living {}", role.name());
        let killed = wait::until_blocking(&what, SOON, || self.pid_of(role).filter(kill));
        self.succeeded(role, killed);
    }

    /// Waits until another process than this has the role.
    pub fn succeeded(&self, role: Role, old: i32) -> i32 {
        let what = format!("another {} than {old}", role.name());
        wait::until_blocking(&what, SOON, || self.pid_of(role).filter(|pid| *pid != old))
    }

    /// Every living process of the node's user, by its number inside.
    pub fn users_processes(&self) -> Vec<i32> {
        let listed = self.run("ls -ld --time-style=+ /proc/[0-9]* 2>/dev/null");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let own = text.lines().filter(|line| line.split_whitespace().nth(2) == Some("holdfast"));
        own.filter_map(|line| line.rsplit('/').next()?.parse().ok()).collect()
    }

    /// `reboot`, as an administrator says it.
    pub fn reboot(&mut self) {
        self.run("systemctl reboot");
        self.boot_again();
    }

    /// Everything is gone at once, as when the power fails.
    pub fn cut_power(&mut self) {
        processes::signal(self.init, Signal::SIGKILL);
        self.boot_again();
    }

    fn boot_again(&mut self) {
        wait::until_blocking("the machine is down", COMMAND, || self.nspawn.try_wait().ok().flatten());
        (self.nspawn, self.init) = boot(&self.root, &self.groups);
        self.is_up();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.run(&format!(
                "systemctl status --no-pager 'holdfast*'; journalctl --no-pager -n 60; tail -n 15 {HOME}/logs/*.log"
            ));
            eprintln!("{}", told(&log));
        }
        processes::signal(self.init, Signal::SIGKILL);
        if wait::try_until_blocking(SOON, || self.nspawn.try_wait().ok().flatten()).is_none() {
            let _ = self.nspawn.kill();
            let _ = self.nspawn.wait();
        }
    }
}

fn boot(root: &Path, groups: &Groups) -> (Child, i32) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", BOOT, "sh"]).args(groups.entrances()).env("MACHINE", root);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let nspawn = command.spawn().expect("systemd-nspawn is installed");
    let outside = nspawn.id().cast_signed();
    let init = wait::until_blocking("the machine's init", BOOTS, || init_below(outside));
    (nspawn, init)
}

/// The process that is number 1 in a namespace below this one's.
fn init_below(nspawn: i32) -> Option<i32> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.into_iter().find(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let numbers: Vec<&str> = field("NSpid:").split_whitespace().collect();
        numbers.len() > 1 && numbers.last() == Some(&"1") && field("PPid:").trim() == nspawn.to_string()
    })
}
