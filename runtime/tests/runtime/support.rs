//! A supervisor and a sidecar in the test, and holders whose workers do what the test says.

#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use holdfast_shared::control::{self, Client, Limits, Reply, Request, unknown_method};
use holdfast_shared::decision::Decision;
use holdfast_shared::error::ApiError;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::inbox::{InboxReader, highest_epoch};
use holdfast_shared::link::frame::{Decoder, Message, encode_json};
use holdfast_shared::link::window::ReceiveWindow;
use holdfast_shared::link::{Caller, Piece, Publication, Purpose, ToRuntime, ToSidecar};
use holdfast_shared::process::bind_unix;
use holdfast_shared::runtime_control::{Activate, Activated, Ask, Fence, Fenced, RuntimeReport};
use holdfast_shared::slot::Slot;
use holdfast_shared::spool::{Control, Flushed, SpoolWriter, Stream};
use holdfast_shared::supervisor_control::{SpawnWorker, Spawned};
use holdfast_shared::token::TokenRole;
use holdfast_shared::version::LINK;
use holdfast_shared::worker::{EndedBy, Exit, ExitStatus, Started};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

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

/// A worker that the test plays: its holder's files.
pub struct Played {
    pub writer: SpoolWriter,
    pub directory: std::path::PathBuf,
    pub order: SpawnWorker,
}

impl Played {
    fn start(home: &Home, order: SpawnWorker) -> Self {
        let directory = home.worker(&order.spawn_id);
        let writer = SpoolWriter::create(&directory, &order.turn).unwrap();
        // No process has this number, so none can be taken for what a lost worker left behind.
        let boot_id = holdfast_shared::process::boot_id().unwrap();
        let started = Started {
            pid: i32::MAX,
            start_time: u64::MAX,
            boot_id,
            holder_pid: i32::MAX,
            contracts: Default::default(),
        };
        started.write(&directory, &writer).unwrap();
        Self { writer, directory, order }
    }

    pub fn say(&mut self, text: &str) {
        self.writer.output(Stream::Stdout, false, text.as_bytes());
        assert_eq!(self.writer.flush().unwrap(), Flushed::Done);
    }

    pub fn say_error(&mut self, text: &str) {
        self.writer.output(Stream::Stderr, false, text.as_bytes());
        assert_eq!(self.writer.flush().unwrap(), Flushed::Done);
    }

    /// Whether it is told to end, in the inbox of which epoch.
    pub fn told_to_end(&self) -> Option<u64> {
        let epoch = highest_epoch(&self.directory).unwrap()?;
        InboxReader::open(&self.directory, epoch).unwrap().peek().unwrap().map(|_| epoch)
    }

    pub fn exit(mut self, code: i32, ended_by: EndedBy) {
        let exit = Exit { status: ExitStatus::Code(code), final_seq: self.writer.outputs(), ended_by };
        self.writer.control(&Control::Exit(exit));
        assert_eq!(self.writer.flush().unwrap(), Flushed::Done);
        assert_eq!(self.writer.sync().unwrap(), Flushed::Done);
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

/// The sidecar's end of a link. Publications are checked to be gap-free.
pub struct Link {
    stream: UnixStream,
    decoder: Decoder,
    epoch: u64,
    granted: ReceiveWindow,
    next: u64,
    pub hello: ToSidecar,
    replies: HashMap<u64, Result<Value, ApiError>>,
    pieces: HashMap<u64, Piece>,
    pub channels: HashMap<u32, Channel>,
}

#[derive(Default)]
pub struct Channel {
    pub subscribed: Option<(String, u64, u64, bool)>,
    pub failed: Option<ApiError>,
    pub reset: bool,
    pub publications: Vec<Publication>,
}

impl Channel {
    pub fn events(&self) -> Vec<Value> {
        self.publications.iter().map(|one| serde_json::from_slice(&one.data).unwrap()).collect()
    }

    pub fn types(&self) -> Vec<String> {
        self.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn operator() -> Caller {
    Caller { principal: "operator".into(), role: TokenRole::Operator, focus: None, scope: Default::default() }
}

pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

impl Link {
    async fn dial(home: &Home, slot: Slot, purpose: Purpose, epoch: u64) -> Self {
        let mut link = Self {
            stream: UnixStream::connect(home.link(slot)).await.unwrap(),
            decoder: Decoder::default(),
            epoch,
            granted: ReceiveWindow::default(),
            next: 1,
            hello: ToSidecar::Window { bytes: 0 },
            replies: HashMap::new(),
            pieces: HashMap::new(),
            channels: HashMap::new(),
        };
        let sidecar_instance_id = "test".to_owned();
        let hello = ToRuntime::Hello { versions: LINK, slot, epoch, purpose, sidecar_instance_id };
        link.send(&hello).await;
        link.receive().await;
        link
    }

    pub async fn send(&mut self, message: &ToRuntime) {
        let mut out = BytesMut::new();
        encode_json(self.epoch, message, &mut out);
        // A link that the runtime has closed is seen when reading.
        let _sent = self.stream.write_all(&out).await;
    }

    /// Takes one message; false at the end.
    pub async fn receive(&mut self) -> bool {
        let received = loop {
            if let Some(received) = self.decoder.next_message().unwrap() {
                break received;
            }
            let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(self.decoder.input())).await;
            match read.expect("a message of the runtime") {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        };
        assert_eq!(received.epoch, self.epoch);
        if let Some(bytes) = self.granted.consumed(received.frame_bytes) {
            self.send(&ToRuntime::Window { bytes }).await;
        }
        self.take(received.message);
        true
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Publications(many) => {
                let channel = self.channels.get_mut(&many.no).expect("a channel in use");
                let from = channel.subscribed.as_ref().expect("subscribed before published").2;
                for one in many.publications {
                    let last = channel.publications.last().map_or(from, |last| last.offset);
                    assert_eq!(one.offset, last + 1, "gap-free");
                    channel.publications.push(one);
                }
            }
            Message::Piece(piece) => drop(self.pieces.insert(piece.id, piece)),
            Message::Json(text) => match serde_json::from_slice(&text).unwrap() {
                hello @ ToSidecar::Hello { .. } => self.hello = hello,
                ToSidecar::Subscribed { no, epoch, top, from, recovered } => {
                    self.channels.entry(no).or_default().subscribed = Some((epoch, top, from, recovered));
                }
                ToSidecar::SubscribeFailed { no, error } => {
                    self.channels.entry(no).or_default().failed = Some(error);
                }
                ToSidecar::Reset { no } => self.channels.entry(no).or_default().reset = true,
                ToSidecar::Reply { id, result, error } => {
                    let result = result.map(|raw| serde_json::from_str(raw.get()).unwrap());
                    let answer = error.map_or_else(|| Ok(result.expect("a result")), Err);
                    assert!(self.replies.insert(id, answer).is_none(), "call {id} answered twice");
                }
                ToSidecar::Window { .. } => {}
            },
        }
    }

    /// Sends a call without waiting; answers its number.
    pub async fn start(&mut self, method: &str, params: Value, command_id: &str, caller: Caller) -> u64 {
        let id = self.next;
        self.next += 1;
        let params = serde_json::value::to_raw_value(&params).unwrap();
        let (method, command_id) = (method.to_owned(), command_id.to_owned());
        self.send(&ToRuntime::Call { id, method, params, command_id, caller }).await;
        id
    }

    pub async fn answer(&mut self, id: u64) -> Result<Value, ApiError> {
        loop {
            if let Some(answer) = self.replies.remove(&id) {
                return answer;
            }
            assert!(self.receive().await, "link closed before call {id} was answered");
        }
    }

    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, ApiError> {
        let id = self.start(method, params, &new_id(), operator()).await;
        self.answer(id).await
    }

    pub async fn subscribe(&mut self, no: u32, channel: &str, epoch: &str, offset: Option<u64>) {
        let (channel, epoch) = (channel.to_owned(), epoch.to_owned());
        self.send(&ToRuntime::Subscribe { no, channel, epoch, offset, caller: operator() }).await;
        while self.channels.get(&no).is_none_or(|one| one.subscribed.is_none() && one.failed.is_none()) {
            assert!(self.receive().await);
        }
    }

    pub async fn read(&mut self, channel: &str, offset: u64, limit: u32, max_bytes: u32) -> Piece {
        let id = self.next;
        self.next += 1;
        let (channel, epoch) = (channel.to_owned(), String::new());
        self.send(&ToRuntime::Read { id, channel, epoch, offset, limit, max_bytes, caller: operator() })
            .await;
        loop {
            if let Some(piece) = self.pieces.remove(&id) {
                return piece;
            }
            assert!(!self.replies.contains_key(&id), "read refused: {:?}", self.replies.get(&id));
            assert!(self.receive().await);
        }
    }

    /// Receives until a channel has an event of this type.
    pub async fn event(&mut self, no: u32, kind: &str) -> Value {
        loop {
            let events = self.channels.get(&no).map(Channel::events).unwrap_or_default();
            if let Some(event) = events.iter().find(|event| event["type"] == kind) {
                return event.clone();
            }
            assert!(self.receive().await, "link closed before {kind}");
        }
    }

    /// Receives until a channel has so many events.
    pub async fn events(&mut self, no: u32, count: usize) -> Vec<Value> {
        loop {
            let events = self.channels.get(&no).map(Channel::events).unwrap_or_default();
            if events.len() >= count {
                return events;
            }
            assert!(self.receive().await, "link closed at {} of {count} events", events.len());
        }
    }

    /// Sends bytes that need not be frames.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        let _sent = self.stream.write_all(bytes).await;
    }

    /// Frames of another epoch from here on.
    pub fn pretend_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Opens a task and begins a turn; answers the worker.
    pub async fn begin(&mut self, node: &Node, task: &str) -> String {
        let opened = self.call("task.open", json!({"task": task, "skill": "command"})).await.unwrap();
        assert_eq!(opened, json!({"task": task, "mode": "created", "state": "ready"}));
        let prompted = self.call("task.prompt", json!({"task": task, "text": "echo"})).await.unwrap();
        assert_eq!(prompted, json!({"turn": "t1"}));
        // The worker is asked for on the node's side of this thread.
        node.worker(task, "t1").await
    }
}
