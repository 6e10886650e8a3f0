//! A whole node in a directory of its own: started as people start it, seen through its command line.

mod binaries;
mod command;
mod ready;

use crate::processes;
use crate::wait;
use holdfast_shared::control::Client;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::runtime_control::RuntimeReport;
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::WishedReport;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub use binaries::{binaries, copy_without_symbols, holdfast};
pub use command::{run_to_end, told};
pub use ready::{NotReady, Ready, start};

/// An ordinary question to the command line.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// A look at a process that may be stopped; short, so that a stopped one does not hold up the test.
const LOOK_DEADLINE: Duration = Duration::from_millis(300);

/// A node; everything of it is ended on drop, and its logs are shown when the test panics.
pub struct Node {
    directory: Option<tempfile::TempDir>,
    root: PathBuf,
    home: Home,
    up: Option<Child>,
    /// What `up` printed.
    pub ready: Ready,
}

/// How a node is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Contents of `holdfast.toml`.
    pub config: String,
}

impl Node {
    /// Starts a node with default settings in a new directory.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn up() -> Node {
        Node::up_with(&Options::default())
    }

    /// Starts a node in a new directory.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn up_with(options: &Options) -> Node {
        Node::up_prepared(options, |_| ())
    }

    /// Starts a node in a new directory that `prepare` has filled before.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn up_prepared(options: &Options, prepare: impl FnOnce(&Home)) -> Node {
        let directory = tempfile::Builder::new().prefix("node.").tempdir().expect("room below TMPDIR");
        let root = directory.path().to_owned();
        let home = Home::new(root.join("home"));
        std::fs::create_dir(home.path()).expect("a new directory");
        if !options.config.is_empty() {
            std::fs::write(home.config(), &options.config).expect("a new file");
        }
        prepare(&home);
        let (child, ready) = start(&root, &home).unwrap_or_else(|failed| {
            show_logs(&root, &home);
            processes::end_below(&root);
            panic!("holdfast up did not get ready: {failed:?}")
        });
        Node { directory: Some(directory), root, home, up: Some(child), ready }
    }

    /// Starts `up` again on the same home, after everything was stopped or killed.
    ///
    /// # Errors
    /// What `up` did instead of getting ready.
    pub fn up_again(&mut self) -> Result<(), NotReady> {
        let (child, ready) = start(&self.root, &self.home)?;
        if let Some(mut old) = self.up.replace(child) {
            let _ = old.wait();
        }
        self.ready = ready;
        Ok(())
    }

    /// The home directory's paths.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// A directory for the test's own files, ended and removed with the node.
    pub fn scratch(&self) -> &Path {
        &self.root
    }

    /// Pid of the process that `up` started.
    pub fn up_pid(&self) -> i32 {
        self.up.as_ref().map_or(0, |child| child.id().cast_signed())
    }

    /// Waits for the end of `up`; its exit code.
    ///
    /// # Panics
    /// At the deadline.
    pub fn wait_up_ended(&mut self, deadline: Duration) -> Option<i32> {
        let child = self.up.as_mut().expect("up was started");
        wait::until_blocking("up ends", deadline, || child.try_wait().ok().flatten()).code()
    }

    /// A command of the operator's command line on this home, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(holdfast());
        command.arg("--home").arg(self.home.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("HOLDFAST_HOME");
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it takes longer than a minute.
    pub fn holdfast(&self, arguments: &[&str]) -> Output {
        run_to_end(self.command(arguments), COMMAND_DEADLINE)
    }

    /// Runs a command that must succeed; its stdout as JSON.
    ///
    /// # Panics
    /// When it fails or does not print JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.holdfast(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", told(&output)))
    }

    /// `status --json`, whatever its exit code; `None` when nothing answers.
    pub fn status(&self) -> Option<Value> {
        let output = self.holdfast(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// `status --json` through a thread, for use among running clients.
    pub async fn status_async(&self) -> Option<Value> {
        let output = self.holdfast_async(&["status", "--json"]).await;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Runs a command to its end without holding up the clients of this thread.
    ///
    /// # Panics
    /// When it takes longer than a minute.
    pub async fn holdfast_async(&self, arguments: &[&str]) -> Output {
        let command = self.command(arguments);
        tokio::task::spawn_blocking(move || run_to_end(command, COMMAND_DEADLINE))
            .await
            .expect("the thread does not panic")
    }

    /// The slot and pid of the active runtime, once there is one that serves.
    pub async fn active(&self) -> (Slot, i32) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            if let Some(found) = self.status_async().await.as_ref().and_then(active_of) {
                return found;
            }
            assert!(Instant::now() < deadline, "no active runtime: {:?}", self.status());
            wait::pass(Duration::from_millis(20)).await;
        }
    }

    /// A warm switch to the other slot.
    ///
    /// # Errors
    /// What the command printed when it was refused or aborted.
    pub async fn switch(&self) -> Result<(), String> {
        let output = self.holdfast_async(&["switch"]).await;
        if output.status.success() { Ok(()) } else { Err(told(&output)) }
    }

    /// What a runtime says of itself on its control socket; `None` while it does not answer.
    pub async fn runtime_report(&self, slot: Slot) -> Option<RuntimeReport> {
        Client::new(self.home.control(Role::Runtime(slot))).get("/v1/status", LOOK_DEADLINE).await.ok()
    }

    /// What the sidecar says of itself on its control socket; `None` while it does not answer.
    pub async fn sidecar_report(&self) -> Option<WishedReport> {
        Client::new(self.home.control(Role::Sidecar)).get("/v1/status", LOOK_DEADLINE).await.ok()
    }

    /// Pid in a role's lock file; `None` when there is none or that process is dead.
    pub fn pid_of(&self, role: Role) -> Option<i32> {
        let text = std::fs::read_to_string(self.home.lock(role)).ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        let pid = i32::try_from(value.get("pid")?.as_i64()?).ok()?;
        processes::alive(pid).then_some(pid)
    }

    /// Sends a signal to the living process of a role; its pid.
    ///
    /// # Panics
    /// When there is none.
    pub fn signal(&self, role: Role, signal: Signal) -> i32 {
        let pid = self.pid_of(role).unwrap_or_else(|| panic!("no living {}", role.name()));
        processes::signal(pid, signal);
        pid
    }

    /// Ends the whole tree without asking, as a power button does.
    pub fn kill_everything(&mut self) {
        processes::end_below(&self.root);
        if let Some(mut child) = self.up.take() {
            let _ = child.wait();
        }
        holdfast_supervisor::io::cgroups::remove(&self.home);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            show_logs(&self.root, &self.home);
        }
        self.kill_everything();
        if let Some(directory) = self.directory.take()
            && (failed || std::env::var_os("HOLDFAST_TEST_KEEP").is_some())
        {
            eprintln!("kept: {}", directory.keep().display());
        }
    }
}

/// Slot and pid of the active runtime in a status document.
pub fn active_of(status: &Value) -> Option<(Slot, i32)> {
    let active = status.get("active")?;
    let pid = i32::try_from(active.get("pid")?.as_i64()?).ok()?;
    active.get("epoch")?.as_u64()?;
    Some((Slot::from_name(active.get("slot")?.as_str()?)?, pid))
}

/// The ends of all logs, for a test that failed.
fn show_logs(root: &Path, home: &Home) {
    const LINES: usize = 60;
    let mut files = vec![root.join("up.stderr")];
    files.extend(std::fs::read_dir(home.logs()).into_iter().flatten().flatten().map(|entry| entry.path()));
    files.sort();
    for file in files {
        let text = std::fs::read(&file)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("--- {} (last {LINES} of {} lines)", file.display(), lines.len());
        lines.iter().skip(lines.len().saturating_sub(LINES)).for_each(|line| eprintln!("{line}"));
    }
}
