//! `up`, from its start to its ready line.

use super::holdfast;
use crate::wait;
use holdfast_shared::home::Home;
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// From `up` to the ready line, with nothing to build and an idle disk this is far below a second.
const READY_DEADLINE: Duration = Duration::from_secs(30);

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
