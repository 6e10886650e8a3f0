//! A runtime as far as the sidecar can tell: it speaks the link, keeps logs of channels and answers to
//! commands, and two of them share what a journal would give them.

use bytes::{Bytes, BytesMut};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::link::frame::{self, Decoder, Message};
use holdfast_shared::link::window::{ReceiveWindow, SendWindow};
use holdfast_shared::link::{Piece, Publication, Publications, ToRuntime, ToSidecar};
use holdfast_shared::process::bind_unix;
use holdfast_shared::runtime_control::TransitionRole;
use holdfast_shared::slot::Slot;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// One channel's log.
#[derive(Default)]
pub struct Log {
    pub epoch: String,
    pub events: Vec<Bytes>,
}

/// What both runtimes know: the journal's part.
#[derive(Default)]
pub struct Store {
    pub logs: RefCell<BTreeMap<String, Log>>,
    pub answers: RefCell<HashMap<String, Value>>,
    /// Ids of executed commands, in order.
    pub executed: RefCell<Vec<String>>,
    /// Methods of all calls that came in, also repeated ones.
    pub calls: RefCell<Vec<String>>,
    pub reads: Cell<usize>,
    changed: RefCell<Vec<Rc<Notify>>>,
}

impl Store {
    pub fn new(channels: &[&str]) -> Rc<Self> {
        let store = Self::default();
        for channel in channels {
            store.logs.borrow_mut().insert((*channel).into(), Log { epoch: "e1".into(), events: vec![] });
        }
        Rc::new(store)
    }

    pub fn publish(&self, channel: &str, data: &Value) {
        let mut logs = self.logs.borrow_mut();
        logs.get_mut(channel).unwrap().events.push(Bytes::from(data.to_string()));
        drop(logs);
        self.changed.borrow().iter().for_each(|notify| notify.notify_one());
    }

    /// The channel's log is lost: another epoch begins.
    pub fn lose(&self, channel: &str, epoch: &str) {
        self.logs.borrow_mut().insert(channel.into(), Log { epoch: epoch.into(), events: vec![] });
        self.changed.borrow().iter().for_each(|notify| notify.notify_one());
    }

    fn answer(
        &self,
        method: &str,
        params: &RawValue,
        id: &str,
        epoch: Option<u64>,
    ) -> Result<Value, ApiError> {
        self.calls.borrow_mut().push(method.to_owned());
        if let Some(known) = self.answers.borrow().get(id) {
            return Ok(known.clone());
        }
        let params: Value = serde_json::from_str(params.get()).unwrap();
        let answer = match method {
            "count" => {
                self.executed.borrow_mut().push(id.to_owned());
                json!({"count": self.executed.borrow().len(), "params": params})
            }
            "publish" => {
                self.executed.borrow_mut().push(id.to_owned());
                self.publish(params["channel"].as_str().unwrap(), &params["data"]);
                json!({})
            }
            "echo" => return Ok(json!({"params": params, "epoch": epoch})),
            "node.probe" => return Ok(json!({"epoch": epoch})),
            "task.switch" => return Ok(json!({})),
            _ => return Err(ApiError::new(Code::UnknownMethod, format!("no such method: {method}"))),
        };
        self.answers.borrow_mut().insert(id.to_owned(), answer.clone());
        Ok(answer)
    }
}

/// A running fake runtime.
pub struct FakeRuntime {
    pub slot: Slot,
    shared: Rc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    slot: Slot,
    store: Rc<Store>,
    active: Cell<Option<u64>>,
    /// Calls and reads are not answered while set.
    mute: Cell<bool>,
    /// Links end in the middle of the message that crosses this count of bytes.
    cut_after: Cell<Option<usize>>,
    links: RefCell<Vec<JoinHandle<()>>>,
    focus: RefCell<Vec<Option<String>>>,
}

impl FakeRuntime {
    pub fn start(home: &Home, slot: Slot, store: &Rc<Store>, active: Option<u64>) -> Self {
        let listener = UnixListener::from_std(bind_unix(&home.link(slot)).unwrap()).unwrap();
        let shared = Rc::new(Shared {
            slot,
            store: store.clone(),
            active: Cell::new(active),
            mute: Cell::new(false),
            cut_after: Cell::new(None),
            links: RefCell::default(),
            focus: RefCell::default(),
        });
        let accepting = tokio::task::spawn_local({
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let link = tokio::task::spawn_local(serve(shared.clone(), stream));
                    shared.links.borrow_mut().push(link);
                }
            }
        });
        Self { slot, shared, accepting }
    }

    /// Becomes active with this epoch, or passive.
    pub fn set_active(&self, epoch: Option<u64>) {
        self.shared.active.set(epoch);
    }

    pub fn mute(&self, mute: bool) {
        self.shared.mute.set(mute);
    }

    /// The next link ends in the middle of a message, after so many bytes.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.cut_after.set(Some(bytes));
    }

    /// All links end now.
    pub fn cut(&self) {
        self.shared.links.borrow_mut().drain(..).for_each(|link| link.abort());
    }

    pub fn last_focus(&self) -> Option<String> {
        self.shared.focus.borrow().last().cloned().flatten()
    }
}

impl Drop for FakeRuntime {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

struct Link {
    shared: Rc<Shared>,
    epoch: u64,
    active: Option<u64>,
    out: BytesMut,
    window: SendWindow,
    consumed: ReceiveWindow,
    /// Channels in use: number, name, epoch, next offset.
    channels: Vec<(u32, String, String, u64)>,
}

async fn serve(shared: Rc<Shared>, mut stream: UnixStream) {
    let changed = Rc::new(Notify::new());
    shared.store.changed.borrow_mut().push(changed.clone());
    let mut decoder = Decoder::default();
    let mut link = Link {
        shared: shared.clone(),
        epoch: 0,
        active: None,
        out: BytesMut::new(),
        window: SendWindow::default(),
        consumed: ReceiveWindow::default(),
        channels: Vec::new(),
    };
    loop {
        tokio::select! {
            read = stream.read_buf(decoder.input()) => match read {
                Ok(bytes) if bytes > 0 => {}
                _ => return,
            },
            () = changed.notified() => {}
        }
        while let Some(received) = decoder.next_message().unwrap() {
            if let Some(bytes) = link.consumed.consumed(received.frame_bytes) {
                frame::encode_json(link.epoch, &ToSidecar::Window { bytes }, &mut link.out);
            }
            let Message::Json(text) = received.message else { panic!("the sidecar sends JSON only") };
            link.take(serde_json::from_slice(&text).unwrap());
        }
        link.publish();
        if let Some(left) = shared.cut_after.get() {
            if link.out.len() >= left {
                shared.cut_after.set(None);
                let _ = stream.write_all(&link.out[..left]).await;
                return;
            }
            shared.cut_after.set(Some(left - link.out.len()));
        }
        if stream.write_all(&link.out).await.is_err() {
            return;
        }
        link.out.clear();
    }
}

impl Link {
    fn take(&mut self, message: ToRuntime) {
        match message {
            ToRuntime::Hello { epoch, slot, .. } => {
                assert_eq!(slot, self.shared.slot);
                self.epoch = epoch;
                self.active = self.shared.active.get();
                let role =
                    if self.active.is_some() { TransitionRole::Active } else { TransitionRole::Candidate };
                self.say(&ToSidecar::Hello {
                    version: Some(1),
                    slot,
                    epoch: self.active,
                    role,
                    runtime_instance_id: format!("rt-{slot}-test"),
                    release: "test".into(),
                });
            }
            ToRuntime::Subscribe { no, channel, epoch, offset, .. } => {
                self.subscribe(no, channel, &epoch, offset)
            }
            ToRuntime::Unsubscribe { no } => self.channels.retain(|(number, ..)| *number != no),
            ToRuntime::Call { id, method, params, command_id, caller } => {
                self.shared.focus.borrow_mut().push(caller.focus);
                if self.shared.mute.get() || method == "silent" {
                    return;
                }
                let answer = match self.active.is_some() || method == "node.probe" {
                    true => self.shared.store.answer(&method, &params, &command_id, self.active),
                    false => Err(ApiError::new(Code::NotActive, "passive")),
                };
                let (result, error) = match answer {
                    Ok(value) => (Some(to_raw_value(&value).unwrap()), None),
                    Err(error) => (None, Some(error)),
                };
                self.say(&ToSidecar::Reply { id, result, error });
            }
            ToRuntime::Read { id, channel, epoch, offset, limit, max_bytes, .. } => {
                self.shared.store.reads.set(self.shared.store.reads.get() + 1);
                if !self.shared.mute.get() {
                    self.read(id, &channel, &epoch, offset, limit, max_bytes);
                }
            }
            ToRuntime::Window { bytes } => self.window.granted(bytes),
        }
    }

    fn subscribe(&mut self, no: u32, channel: String, epoch: &str, offset: Option<u64>) {
        let logs = self.shared.store.logs.borrow();
        let Some(log) = logs.get(&channel) else {
            drop(logs);
            let error = ApiError::new(Code::UnknownChannel, format!("no such channel: {channel}"));
            return self.say(&ToSidecar::SubscribeFailed { no, error });
        };
        let top = log.events.len() as u64;
        let known = epoch.is_empty() || epoch == log.epoch;
        let recovered = known && offset.is_none_or(|offset| offset <= top);
        let from = offset.filter(|_| recovered).unwrap_or(top);
        let epoch = log.epoch.clone();
        drop(logs);
        self.say(&ToSidecar::Subscribed { no, epoch: epoch.clone(), top, from, recovered });
        self.channels.push((no, channel, epoch, from + 1));
    }

    fn read(&mut self, id: u64, channel: &str, epoch: &str, offset: u64, limit: u32, max_bytes: u32) {
        let logs = self.shared.store.logs.borrow();
        let Some(log) = logs.get(channel) else {
            drop(logs);
            let error = ApiError::new(Code::UnknownChannel, format!("no such channel: {channel}"));
            return self.say(&ToSidecar::Reply { id, result: None, error: Some(error) });
        };
        let top = log.events.len() as u64;
        let recovered = (epoch.is_empty() || epoch == log.epoch) && offset <= top;
        let mut bytes = 0;
        let from = usize::try_from(offset.min(top)).unwrap();
        let events = log.events[from..].iter().take(if recovered { limit as usize } else { 0 });
        let publications = (offset + 1..)
            .zip(events)
            .take_while(|(_, data)| {
                bytes += data.len();
                bytes <= max_bytes as usize || bytes == data.len()
            })
            .map(|(offset, data)| Publication { offset, data: data.clone() })
            .collect();
        let piece = Piece { id, epoch: log.epoch.clone(), top, recovered, publications };
        let sent = frame::encode_piece(self.epoch, &piece, &mut self.out);
        self.window.sent(sent);
    }

    /// Publishes within the window; batches of 50.
    fn publish(&mut self) {
        let store = self.shared.store.clone();
        let mut index = 0;
        while index < self.channels.len() {
            let (no, name, epoch, next) = self.channels[index].clone();
            let logs = store.logs.borrow();
            let log = &logs[&name];
            if log.epoch != epoch {
                drop(logs);
                self.channels.remove(index);
                self.say(&ToSidecar::Reset { no });
                continue;
            }
            let from = usize::try_from(next - 1).unwrap();
            let publications: Vec<Publication> = (next..)
                .zip(log.events[from..].iter().take(50))
                .map(|(offset, data)| Publication { offset, data: data.clone() })
                .collect();
            if publications.is_empty() || !self.window.open() {
                index += 1;
                continue;
            }
            self.channels[index].3 += publications.len() as u64;
            let sent =
                frame::encode_publications(self.epoch, &Publications { no, publications }, &mut self.out);
            self.window.sent(sent);
        }
    }

    fn say(&mut self, message: &ToSidecar) {
        let sent = frame::encode_json(self.epoch, message, &mut self.out);
        if !matches!(message, ToSidecar::Window { .. } | ToSidecar::Hello { .. }) {
            self.window.sent(sent);
        }
    }
}
