//! The demonstration: a node in a temporary home of its own, the turn that is watched, and what is done to the node.

mod clients;

pub use clients::Clients;

use crate::demo::plan::Fault;
use crate::io::centrifuge_client::ClientError;
use clients::connect;
use holdfast_shared::control::Client;
use holdfast_shared::home::{Home, Role};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Anything waited for longer than this has failed; the whole is to be done within 90 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// The running turn, and the file that ends it.
const TASK: &str = "demo";
const STOP_FILE: &str = "stop";
const TURN: &str = "i=0; while [ ! -e stop ]; do i=$((i+1)); echo $i; sleep 0.02; done";

/// Why a demonstration could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// An operation of the system failed.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
    /// The node or a client did not do what it should in time.
    #[error("{0}")]
    Late(String),
    /// The node refused.
    #[error("{0}: {1}")]
    Refused(&'static str, String),
}

/// A node of the demonstration's own; ended and removed when dropped, unless kept.
pub struct DemoNode {
    home: Home,
    up: Child,
    url: String,
    token: String,
    keep: bool,
}

impl DemoNode {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn start() -> Result<Self, DemoError> {
        let directory = temporary_directory().map_err(|error| DemoError::System("temporary home", error))?;
        let log = std::fs::File::create(directory.join("up.log"));
        let log = log.map_err(|error| DemoError::System("up.log", error))?;
        let program = std::env::current_exe().map_err(|error| DemoError::System("own program", error))?;
        let mut up = Command::new(program)
            .arg("up")
            .arg("--home")
            .arg(&directory)
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group_of_its_own()
            .spawn()
            .map_err(|error| DemoError::System("holdfast up", error))?;
        let stdout = up.stdout.take();
        let home = Home::new(directory);
        let mut node = DemoNode { home, up, url: String::new(), token: String::new(), keep: false };
        let ready = match stdout {
            Some(stdout) => ready_line(stdout).await,
            None => Err(DemoError::Late("the node has no output".into())),
        };
        let ready = ready.inspect_err(|_| node.keep = true)?;
        node.url = ready["url"].as_str().unwrap_or_default().to_owned();
        node.token = ready["token"].as_str().unwrap_or_default().to_owned();
        Ok(node)
    }

    /// Where its state and logs are.
    pub fn directory(&self) -> &std::path::Path {
        self.home.path()
    }

    /// Keeps state and logs for whoever wants to see what went wrong.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Opens the task and starts the turn that everyone watches.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn start_turn(&self) -> Result<(), DemoError> {
        let refused = |error: ClientError| DemoError::Refused("starting the turn", error.to_string());
        let mut session = connect(self.address(), &self.token).await.map_err(refused)?;
        let open = json!({"task": TASK, "skill": "command"});
        session.rpc("task.open", &open).await.map_err(refused)?;
        session.rpc("task.prompt", &json!({"task": TASK, "text": TURN})).await.map_err(refused)?;
        session.close().await;
        Ok(())
    }

    fn address(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches('/')
    }

    /// Lets the turn end by itself.
    ///
    /// # Errors
    /// When the workspace cannot be written.
    pub fn end_turn(&self) -> Result<(), DemoError> {
        let stop = self.home.workspaces().join(TASK).join(STOP_FILE);
        std::fs::write(stop, "").map_err(|error| DemoError::System("ending the turn", error))
    }

    async fn status(&self) -> Result<Value, DemoError> {
        let client = Client::new(self.home.control(Role::Supervisor));
        let begun = Instant::now();
        loop {
            match client.get("/v1/status", Duration::from_secs(5)).await {
                Ok(status) => return Ok(status),
                Err(error) if begun.elapsed() > PATIENCE => {
                    return Err(DemoError::Late(format!("the supervisor does not answer: {error}")));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Waits until a runtime serves and nothing is under way.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn settled(&self) -> Result<Value, DemoError> {
        let begun = Instant::now();
        loop {
            let status = self.status().await?;
            let ended = ["idle", "failed", "rolled_back", "expired"];
            let idle = status["update"]["state"].as_str().is_some_and(|state| ended.contains(&state));
            if idle && status["node"]["state"] == "running" && status["active"]["pid"].is_i64() {
                return Ok(status);
            }
            if begun.elapsed() > PATIENCE {
                return Err(DemoError::Late(format!("the node has not settled: {status}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Does this to the node.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn inflict(&self, fault: Fault) -> Result<(), DemoError> {
        let status = self.settled().await?;
        match fault {
            Fault::Switch => {
                let client = Client::new(self.home.control(Role::Supervisor));
                let switched: Result<Value, _> = client.post("/v1/switch", &json!({}), PATIENCE).await;
                switched.map(|_| ()).map_err(|error| DemoError::Refused("switch", error.to_string()))
            }
            Fault::KillRuntime => kill_now(&status["active"]["pid"]),
            Fault::KillSupervisor => kill_now(&status["supervisor"]["pid"]),
        }
    }
}

fn kill_now(pid: &Value) -> Result<(), DemoError> {
    let pid = pid.as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
    let pid = pid.ok_or_else(|| DemoError::Late("the node's status names no process".into()))?;
    kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|error| DemoError::System("kill", error.into()))
}

impl Drop for DemoNode {
    fn drop(&mut self) {
        // `up` stops the whole tree on SIGTERM; whatever is left is ended by `stop`.
        let _ = kill(Pid::from_raw(self.up.id() as i32), Signal::SIGTERM);
        let _ = self.up.wait();
        if let Ok(program) = std::env::current_exe() {
            let mut stop = Command::new(program);
            stop.arg("--home").arg(self.home.path()).arg("stop");
            stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = stop.status();
        }
        if !self.keep {
            let _ = std::fs::remove_dir_all(self.home.path());
        }
    }
}

trait OwnGroup {
    /// Ctrl-C of the demonstration is the demonstration's: it stops the node in order.
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        use std::os::unix::process::CommandExt;
        self.process_group(0)
    }
}

fn temporary_directory() -> io::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("holdfast-demo-{}", uuid::Uuid::new_v4().simple()));
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&directory)?;
    Ok(directory)
}

async fn ready_line(stdout: std::process::ChildStdout) -> Result<Value, DemoError> {
    let owned = std::os::fd::OwnedFd::from(stdout);
    let pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(owned);
    let pipe = pipe.map_err(|error| DemoError::System("holdfast up", error))?;
    let mut line = String::new();
    let read = tokio::time::timeout(PATIENCE, BufReader::new(pipe).read_line(&mut line)).await;
    match read {
        Ok(Ok(_)) => serde_json::from_str(&line)
            .map_err(|_| DemoError::Late("the node did not start; see up.log".into())),
        Ok(Err(error)) => Err(DemoError::System("holdfast up", error)),
        Err(_) => Err(DemoError::Late(format!("the node is not ready after {} s", PATIENCE.as_secs()))),
    }
}
