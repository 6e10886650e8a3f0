//! The real binary, started as the supervisor starts it, and the supervisor's part of the talk.

use holdfast_shared::control::{CallError, Client};
use holdfast_shared::decision::Decision;
use holdfast_shared::error::Code;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::{self, TokenEntry, TokenRole};
use holdfast_shared::wished::WishedReport;
use hyper::Method;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

/// A running sidecar with its home.
pub struct Sidecar {
    pub home: Home,
    pub address: SocketAddr,
    pub client: Client,
    child: Child,
    decision: Decision,
    tokens: Vec<TokenEntry>,
    node: Vec<Value>,
    _directory: TempDir,
}

impl Sidecar {
    /// Starts the binary with settings and waits until its control socket answers.
    pub async fn start(settings: Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        std::fs::create_dir_all(home.run()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The shell moves the listener to descriptor 3, where LISTEN_FDS has it.
        let child = Command::new("/bin/sh")
            .args([
                "-c",
                "exec \"$0\" \"$@\" 3<&0 </dev/null",
                env!("CARGO_BIN_EXE_holdfast-sidecar"),
                "--home",
            ])
            .arg(directory.path())
            .args(["--settings", &settings.to_string()])
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
            .env("LISTEN_FDS", "1")
            .env_remove("LISTEN_PID")
            .env_remove("NOTIFY_SOCKET")
            .spawn()
            .unwrap();
        let client = Client::new(home.control(Role::Sidecar));
        let tokens = vec![entry("operator", TokenRole::Operator)];
        let decision = Decision { generation: 1, sequence: 0 };
        let sidecar =
            Self { home, address, client, child, decision, tokens, node: vec![], _directory: directory };
        wait_for(|| async { sidecar.client.get::<Value>("/v1/status", SOON).await.ok() }).await;
        sidecar
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Adds a token whose text is its name.
    pub fn token(&mut self, name: &str, change: impl FnOnce(&mut TokenEntry)) {
        let mut token = entry(name, TokenRole::Operator);
        change(&mut token);
        self.tokens.push(token);
    }

    pub fn revoke(&mut self, name: &str) {
        self.tokens.retain(|token| token.id != name);
    }

    /// Adds an event to the `node` channel.
    pub fn node_event(&mut self, data: Value) {
        let offset = self.node.len() + 1;
        self.node.push(json!({"offset": offset, "data": data}));
    }

    /// Puts a wish under a new decision.
    pub async fn wish(&mut self, wish: Value) -> Result<WishedReport, CallError> {
        self.decision.sequence += 1;
        self.put(self.decision, wish).await
    }

    /// Puts a wish under this decision.
    pub async fn put(&self, decision: Decision, wish: Value) -> Result<WishedReport, CallError> {
        let mut body = json!({
            "decision": decision,
            "tokens": self.tokens,
            "node": {"epoch": "journal-1", "events": self.node},
            "public_status": {"update": {"state": "idle"}},
        });
        body.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
        self.client.call(Method::PUT, "/v1/wished", Some(&body), SOON).await
    }

    pub async fn hold(&mut self) -> WishedReport {
        self.wish(json!({"wish": "hold"})).await.unwrap()
    }

    pub async fn route(&mut self, slot: Slot, epoch: u64) -> WishedReport {
        self.wish(json!({"wish": "route", "slot": slot, "epoch": epoch})).await.unwrap()
    }

    pub fn signal(&self, signal: i32) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::try_from(signal).unwrap()).unwrap();
    }

    pub fn wait_exit(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn entry(name: &str, role: TokenRole) -> TokenEntry {
    TokenEntry {
        id: name.into(),
        hash: token::hash(name),
        role,
        scope: Default::default(),
        principal: name.into(),
        probe_slot: None,
        expires_at: None,
    }
}

/// Waits for a level.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("waited too long")
}

/// The code of a refusal.
pub fn refused<T: std::fmt::Debug>(result: Result<T, CallError>) -> Code {
    match result {
        Err(CallError::Refused(error)) => error.code,
        other => panic!("not refused: {other:?}"),
    }
}
