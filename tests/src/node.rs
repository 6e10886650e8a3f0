//! A whole node in a directory of its own: started as people start it, seen through its command line.

use crate::processes;
use crate::wait;
use holdfast_shared::control::Client;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::runtime_control::RuntimeReport;
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::WishedReport;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// From `up` to the ready line, with nothing to build and an idle disk this is far below a second.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// An ordinary question to the command line.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// A look at a process that may be stopped; short, so that a stopped one does not hold up the test.
const LOOK_DEADLINE: Duration = Duration::from_millis(300);

/// Where cargo put the binaries: HOLDFAST_BIN_DIR, else beside the test that runs.
pub fn binaries() -> PathBuf {
    if let Some(directory) = std::env::var_os("HOLDFAST_BIN_DIR") {
        return PathBuf::from(directory);
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let directory = own.parent().expect("a file has a directory");
    if directory.ends_with("deps") {
        directory.parent().expect("deps lies in a profile").into()
    } else {
        directory.into()
    }
}

/// The `holdfast` binary.
///
/// # Panics
/// When it is not built.
pub fn holdfast() -> PathBuf {
    let path = binaries().join("holdfast");
    assert!(path.exists(), "{} is not built: cargo build --release --workspace", path.display());
    path
}

/// The ready line of `up`.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// Address of the console, ends in `/`.
    pub url: String,
    /// The operator's token.
    pub token: String,
    /// The home directory.
    pub home: PathBuf,
    /// For people: url and token.
    pub open: String,
}

impl Ready {
    /// `host:port`.
    pub fn address(&self) -> String {
        self.url.trim_start_matches("http://").trim_end_matches('/').to_owned()
    }
}

/// A node; everything of it is ended on drop, and its logs are shown when the test panics.
pub struct Node {
    directory: Option<tempfile::TempDir>,
    root: PathBuf,
    home: Home,
    up: Option<Child>,
    /// What `up` printed.
    pub ready: Ready,
}

/// What `up` did instead of getting ready.
#[derive(Debug)]
pub struct NotReady {
    /// Exit code, when it ended.
    pub code: Option<i32>,
    /// What it wrote on stdout.
    pub stdout: String,
    /// What it wrote on stderr.
    pub stderr: String,
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

/// Exit code, stdout and stderr of a command, for messages.
pub fn told(output: &Output) -> String {
    format!(
        "exit {:?}\nstdout: {}\nstderr: {}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a command with everything it prints kept, ended at the deadline.
///
/// # Panics
/// When it cannot be started or does not end in time.
pub fn run_to_end(mut command: Command, deadline: Duration) -> Output {
    let named = format!("{command:?}");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let stdout = drain(child.stdout.take().expect("piped"));
    let stderr = drain(child.stderr.take().expect("piped"));
    let ended = wait::try_until_blocking(deadline, || child.try_wait().ok().flatten());
    let Some(status) = ended else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{named} did not end within {deadline:?}");
    };
    Output { status, stdout: stdout.join().unwrap_or_default(), stderr: stderr.join().unwrap_or_default() }
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    })
}

/// Starts `up` on this home and waits for its line.
///
/// # Errors
/// What it did instead.
pub fn start(root: &Path, home: &Home) -> Result<(Child, Ready), NotReady> {
    let stderr_path = root.join("up.stderr");
    let stderr = std::fs::File::create(&stderr_path).expect("a new file");
    let mut command = Command::new(holdfast());
    command.arg("up").arg("--home").arg(home.path()).env_remove("HOLDFAST_HOME");
    if !home.listen().exists() {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .expect("the binary starts");
    let lines = lines_of(child.stdout.take().expect("piped"));
    let deadline = Instant::now() + READY_DEADLINE;
    let mut printed = String::new();
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        printed.push_str(&line);
        if let Ok(ready) = serde_json::from_str::<Ready>(&line) {
            return Ok((child, ready));
        }
    }
    let code = wait::try_until_blocking(Duration::from_secs(2), || child.try_wait().ok().flatten());
    if code.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let stderr = std::fs::read_to_string(stderr_path).unwrap_or_default();
    Err(NotReady { code: code.and_then(|status| status.code()), stdout: printed, stderr })
}

/// Lines in a bounded channel; what comes after the reader is gone is read and dropped.
fn lines_of(from: impl Read + Send + 'static) -> std::sync::mpsc::Receiver<String> {
    let (sender, receiver) = sync_channel(16);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.try_send(line);
        }
    });
    receiver
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
