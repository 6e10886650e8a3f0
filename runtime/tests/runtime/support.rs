//! A supervisor in the test, and holders whose workers do what the test says.

#![allow(clippy::unwrap_used)]

use crate::played::Played;
use holdfast_runtime::record::{Body, KINDS, NodeBooted, Record};
use holdfast_shared::control::{self, Client, Limits, Reply, Request, unknown_method};
use holdfast_shared::decision::Decision;
use holdfast_shared::error::ApiError;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::journal::{Limits as JournalLimits, RealDisk, Request as TakeOverRequest, TakeOver};
use holdfast_shared::link::Purpose;
use holdfast_shared::process::bind_unix;
use holdfast_shared::runtime_control::{Activate, Activated, Ask, Fence, Fenced, RuntimeReport};
use holdfast_shared::slot::Slot;
use holdfast_shared::supervisor_control::{SpawnWorker, Spawned};
use holdfast_shared::worker::EndedBy;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::UnixListener;

pub use crate::link::{Link, new_id, operator};

/// Everything is there long before; only a failure waits for it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Checkpoints come often.
const SETTINGS: &str = r#"{"checkpoint_records": 40}"#;

/// Runs a test on one thread.
pub fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Waits for a level.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Default)]
pub struct Supervised {
    pub workers: BTreeMap<String, Played>,
    /// Every request, in order.
    pub requests: Vec<SpawnWorker>,
    /// Answer with this instead of starting.
    pub refuse: Option<ApiError>,
    /// Make the directory but start no holder.
    pub only_directory: bool,
}

/// A home with a supervisor that starts played workers.
pub struct Node {
    _directory: tempfile::TempDir,
    pub home: Home,
    pub supervised: Rc<RefCell<Supervised>>,
    sequence: RefCell<u64>,
    settings: RefCell<&'static str>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for slot in Slot::BOTH {
                let log = std::fs::read_to_string(self.home.logs().join(format!("runtime-{slot}.log")));
                eprintln!("--- runtime {slot}\n{}", log.unwrap_or_default());
            }
        }
    }
}

impl Node {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        for path in [home.run(), home.workers(), home.logs()] {
            std::fs::create_dir_all(path).unwrap();
        }
        let (supervised, sequence) = (Rc::default(), RefCell::new(0));
        let node =
            Self { _directory: directory, home, supervised, sequence, settings: RefCell::new(SETTINGS) };
        node.supervise();
        node
    }

    fn supervise(&self) {
        let listener = bind_unix(&self.home.control(Role::Supervisor)).unwrap();
        let listener = UnixListener::from_std(listener).unwrap();
        let (home, supervised) = (self.home.clone(), self.supervised.clone());
        let handler = move |request: Request| {
            let (home, supervised) = (home.clone(), supervised.clone());
            async move {
                if request.path != "/v1/workers" {
                    return Err(unknown_method(&request));
                }
                spawn(&home, &mut supervised.borrow_mut(), request.json()?)
            }
        };
        tokio::task::spawn_local(control::serve(listener, Limits::default(), handler));
    }

    /// What the runtimes started from here on are given.
    pub fn set(&self, settings: &'static str) {
        self.settings.replace(settings);
    }

    pub fn decision(&self) -> Decision {
        *self.sequence.borrow_mut() += 1;
        Decision { generation: 1, sequence: *self.sequence.borrow() }
    }

    /// Starts a runtime, which is caught up when this answers.
    pub async fn runtime(&self, slot: Slot) -> Runtime {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.home.logs().join(format!("runtime-{slot}.log")))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_holdfast-runtime"))
            .args([
                "--home",
                self.home.path().to_str().unwrap(),
                "--slot",
                slot.name(),
                "--settings",
                *self.settings.borrow(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let control = Client::new(self.home.control(Role::Runtime(slot)));
        let runtime = Runtime { child, slot, control, home: self.home.clone() };
        let pid = runtime.child.id().cast_signed();
        until("caught up", async || {
            let report: Option<RuntimeReport> = runtime.control.get("/v1/status", DEADLINE).await.ok();
            report.filter(|report| report.pid == pid && report.caught_up)
        })
        .await;
        runtime
    }

    pub async fn active(&self, slot: Slot, epoch: u64) -> Runtime {
        let runtime = self.runtime(slot).await;
        self.activate(&runtime, epoch).await.unwrap();
        runtime
    }

    pub async fn activate(&self, runtime: &Runtime, epoch: u64) -> Result<Activated, control::CallError> {
        let first = std::fs::read_dir(self.home.journal()).map_or(true, |mut files| files.next().is_none());
        let activate = Activate { decision: self.decision(), epoch, first };
        runtime.control.post("/v1/activate", &activate, DEADLINE).await
    }

    pub async fn fence(&self, runtime: &Runtime, epoch: u64) -> Result<Fenced, control::CallError> {
        let fence = Fence { decision: self.decision(), epoch };
        runtime.control.post("/v1/fence", &fence, DEADLINE).await
    }

    pub async fn ask(&self, runtime: &Runtime) -> RuntimeReport {
        let ask = Ask { decision: self.decision(), settled: false };
        runtime.control.post("/v1/ask", &ask, DEADLINE).await.unwrap()
    }

    /// The played worker of a task's turn, once it was asked for.
    pub async fn worker(&self, task: &str, turn: &str) -> String {
        until("a worker", async || {
            let supervised = self.supervised.borrow();
            let mut workers = supervised.workers.values();
            workers
                .find(|worker| worker.order.task == task && worker.order.turn == turn)
                .map(|worker| worker.order.spawn_id.clone())
        })
        .await
    }

    pub fn say(&self, worker: &str, text: &str) {
        self.supervised.borrow_mut().workers.get_mut(worker).unwrap().say(text);
    }

    pub fn exit(&self, worker: &str, code: i32, ended_by: EndedBy) {
        self.supervised.borrow_mut().workers.remove(worker).unwrap().exit(code, ended_by);
    }
}

fn spawn(home: &Home, supervised: &mut Supervised, order: SpawnWorker) -> Result<Reply, ApiError> {
    supervised.requests.push(order.clone());
    if let Some(error) = &supervised.refuse {
        return Err(error.clone());
    }
    let spawn_id = order.spawn_id.clone();
    let started = std::fs::create_dir(home.worker(&spawn_id)).is_ok();
    if started && !supervised.only_directory {
        supervised.workers.insert(spawn_id.clone(), Played::start(home, order));
    }
    Reply::json(&Spawned { spawn_id, started })
}

/// A runtime process.
pub struct Runtime {
    pub child: Child,
    pub slot: Slot,
    pub control: Client,
    home: Home,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Runtime {
    /// SIGKILL, and its death.
    pub fn kill(&mut self) {
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }

    /// A link as the sidecar dials it.
    pub async fn link(&self, purpose: Purpose, epoch: u64) -> Link {
        Link::dial(&self.home, self.slot, purpose, epoch).await
    }

    pub async fn route(&self, epoch: u64) -> Link {
        self.link(Purpose::Route, epoch).await
    }
}

pub async fn over_to(node: &Node, from: &Runtime, slot: Slot, epoch: u64) -> Runtime {
    let runtime = node.runtime(slot).await;
    node.fence(from, epoch - 1).await.unwrap();
    node.activate(&runtime, epoch).await.unwrap();
    runtime
}

/// Slot B serves after a power cut: the conversation of task `x`, followed under `epoch` before, is another one.
pub async fn after_power_cut(node: &Node, epoch: &str) -> (Runtime, Link) {
    write_other_boot(node, 2);
    let runtime = node.active(Slot::B, 3).await;
    let mut link = runtime.route(3).await;
    link.subscribe(1, "conversation:x", epoch, Some(2)).await;
    let (new_epoch, _, _, recovered) = link.channels[&1].subscribed.clone().unwrap();
    assert!(new_epoch != epoch && !recovered, "{new_epoch}");
    (runtime, link)
}

/// Says in the journal that the last active ran in another boot.
fn write_other_boot(node: &Node, epoch: u64) {
    let request = TakeOverRequest {
        epoch,
        owner: "test".into(),
        instance: "test".into(),
        release: "test".into(),
        at_ms: 1,
        first: false,
        journal_id: uuid::Uuid::nil(),
        known_kinds: KINDS,
        limits: JournalLimits::SMALL,
    };
    let (mut writer, _) =
        TakeOver::begin(&node.home.journal(), std::sync::Arc::new(RealDisk), request).unwrap();
    let booted = NodeBooted { boot_id: "another".into(), channel_epoch: String::new(), cut: Vec::new() };
    writer.append(&[Record::new(1, Body::NodeBooted(booted)).encode()]).unwrap();
    writer.fence().unwrap();
}
