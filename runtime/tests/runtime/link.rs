//! The sidecar's end of a link. Publications are checked to be gap-free.

#![allow(clippy::unwrap_used)]

use crate::support::{DEADLINE, Node};
use bytes::BytesMut;
use holdfast_shared::error::ApiError;
use holdfast_shared::home::Home;
use holdfast_shared::link::frame::{Decoder, Message, encode_json};
use holdfast_shared::link::window::ReceiveWindow;
use holdfast_shared::link::{Caller, Piece, Publication, Purpose, ToRuntime, ToSidecar};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::TokenRole;
use holdfast_shared::version::LINK;
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

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
    pub async fn dial(home: &Home, slot: Slot, purpose: Purpose, epoch: u64) -> Self {
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
