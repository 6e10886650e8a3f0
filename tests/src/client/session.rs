//! The client's connection: one task that connects, subscribes, passes commands, and begins again when it ends.

use super::{Observed, Order, Refusal, RpcError, Since, Wanted};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Between two tries to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// With the library's default a thousand idle clients would hold 134 MB.
const READ_BUFFER_BYTES: usize = 4096;

type Socket = WebSocketStream<TcpStream>;

/// Opens a WebSocket to `/ws`.
///
/// # Errors
/// What the connection or the handshake said.
pub async fn open(address: &str) -> Result<Socket, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let opened =
        tokio_tungstenite::client_async_with_config(format!("ws://{address}/ws"), stream, Some(config)).await;
    opened.map(|(socket, _)| socket).map_err(|error| error.to_string())
}

/// What a reply answers.
enum Asked {
    Connect,
    Subscribe(String),
    Rpc(oneshot::Sender<Result<Value, RpcError>>),
}

struct Session {
    wanted: Wanted,
    observed: Rc<RefCell<Observed>>,
    changed: watch::Sender<u64>,
    asked: HashMap<u64, Asked>,
    next_id: u64,
}

/// Runs until the handle is dropped.
pub(super) async fn run(
    wanted: Wanted,
    observed: Rc<RefCell<Observed>>,
    mut queue: mpsc::Receiver<Order>,
    changed: watch::Sender<u64>,
) {
    let mut session = Session { wanted, observed, changed, asked: HashMap::new(), next_id: 1 };
    loop {
        if let Ok(mut socket) = open(&session.wanted.address).await {
            let reason = session.serve(&mut socket, &mut queue).await;
            if reason == END {
                return;
            }
            session.ended(reason);
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// The handle was dropped.
const END: &str = "client ended";
/// The test cut the connection; listed among the disconnects like any other.
pub const CUT: &str = "cut by the test";

impl Session {
    async fn serve(&mut self, socket: &mut Socket, queue: &mut mpsc::Receiver<Order>) -> String {
        let connect = json!({"connect": {"token": self.wanted.token, "name": "holdfast-tests"}});
        if let Err(reason) = self.send(socket, connect, Asked::Connect).await {
            return reason;
        }
        loop {
            let connected = self.observed.borrow().connected;
            let outcome = tokio::select! {
                message = socket.next() => self.message(socket, message).await,
                order = queue.recv(), if connected => self.order(socket, order).await,
            };
            if let Err(reason) = outcome {
                return reason;
            }
        }
    }

    async fn order(&mut self, socket: &mut Socket, order: Option<Order>) -> Result<(), String> {
        match order {
            Some(Order::Rpc(command)) => {
                let rpc = json!({"rpc": {"method": command.method, "data": command.data}});
                self.send(socket, rpc, Asked::Rpc(command.answer)).await
            }
            Some(Order::Cut) => Err(CUT.to_owned()),
            Some(Order::Pause(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            None => Err(END.to_owned()),
        }
    }

    fn ended(&mut self, reason: String) {
        self.asked.drain().for_each(|(_, asked)| {
            if let Asked::Rpc(answer) = asked {
                let _ = answer.send(Err(RpcError::Disconnected));
            }
        });
        self.observed.borrow_mut().disconnected(reason);
        self.changed.send_modify(|count| *count += 1);
    }

    async fn send(&mut self, socket: &mut Socket, mut command: Value, asked: Asked) -> Result<(), String> {
        let id = self.next_id;
        self.next_id += 1;
        command["id"] = json!(id);
        self.asked.insert(id, asked);
        socket.send(Message::text(command.to_string())).await.map_err(|error| error.to_string())
    }

    async fn message(
        &mut self,
        socket: &mut Socket,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), String> {
        let text = match message {
            None => return Err("closed without a frame".to_owned()),
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(Message::Close(frame))) => return Err(format!("closed: {frame:?}")),
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(_)) => return Ok(()),
        };
        let now = Instant::now();
        for line in text.as_str().lines().filter(|line| !line.is_empty()) {
            let Ok(frame) = serde_json::from_str::<Value>(line) else {
                self.observed.borrow_mut().violations.push(format!("not JSON: {line}"));
                continue;
            };
            self.frame(socket, &frame, now).await?;
        }
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn frame(&mut self, socket: &mut Socket, frame: &Value, now: Instant) -> Result<(), String> {
        if frame.as_object().is_some_and(serde_json::Map::is_empty) {
            return socket.send(Message::text("{}")).await.map_err(|error| error.to_string());
        }
        match frame["id"].as_u64() {
            Some(id) => self.reply(socket, id, frame, now).await,
            None => self.push(&frame["push"], now),
        }
    }

    async fn reply(
        &mut self,
        socket: &mut Socket,
        id: u64,
        frame: &Value,
        now: Instant,
    ) -> Result<(), String> {
        match self.asked.remove(&id) {
            None => self.observed.borrow_mut().violations.push(format!("a reply to nothing: {frame}")),
            Some(Asked::Connect) if frame.get("error").is_some() => {
                return Err(format!("connect refused: {frame}"));
            }
            Some(Asked::Connect) => {
                let names: Vec<String> = {
                    let mut observed = self.observed.borrow_mut();
                    observed.connected = true;
                    observed.connects += 1;
                    observed.channels.keys().cloned().collect()
                };
                for name in names {
                    self.subscribe(socket, name).await?;
                }
            }
            Some(Asked::Subscribe(name)) => return self.subscribe_reply(socket, name, frame, now).await,
            Some(Asked::Rpc(answer)) => {
                let _ = answer.send(rpc_answer(frame));
            }
        }
        Ok(())
    }

    async fn subscribe(&mut self, socket: &mut Socket, name: String) -> Result<(), String> {
        let request = {
            let observed = self.observed.borrow();
            let channel = observed.channel(&name);
            if channel.known() || channel.since == Since::Start {
                json!({"subscribe": {"channel": name, "recover": true, "epoch": channel.epoch, "offset": channel.offset}})
            } else {
                json!({"subscribe": {"channel": name}})
            }
        };
        self.send(socket, request, Asked::Subscribe(name)).await
    }

    async fn subscribe_reply(
        &mut self,
        socket: &mut Socket,
        name: String,
        frame: &Value,
        now: Instant,
    ) -> Result<(), String> {
        if let Some(error) = frame.get("error") {
            if error["temporary"].as_bool() == Some(true) {
                return self.subscribe(socket, name).await;
            }
            self.observed.borrow_mut().violations.push(format!("{name}: subscribe refused: {error}"));
            return Ok(());
        }
        if let Some(channel) = self.observed.borrow_mut().channels.get_mut(&name) {
            channel.subscribed(&frame["subscribe"], now);
        }
        Ok(())
    }

    fn push(&mut self, push: &Value, now: Instant) -> Result<(), String> {
        if let Some(disconnect) = push.get("disconnect") {
            return Err(format!("disconnect: {disconnect}"));
        }
        let name = push["channel"].as_str().unwrap_or_default().to_owned();
        let mut observed = self.observed.borrow_mut();
        match observed.channels.get_mut(&name) {
            None => observed.violations.push(format!("a push for nothing: {push}")),
            Some(channel) => {
                if let Some(publication) = push.get("pub") {
                    channel.publication(publication, now);
                } else if let Some(unsubscribe) = push.get("unsubscribe") {
                    channel.subscribed = false;
                    channel.unsubscribes.push(unsubscribe.to_string());
                }
            }
        }
        Ok(())
    }
}

fn rpc_answer(frame: &Value) -> Result<Value, RpcError> {
    match frame.get("error") {
        None => Ok(frame["rpc"]["data"].clone()),
        Some(error) => Err(RpcError::Refused(Refusal {
            code: error["code"].as_u64().unwrap_or(0),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            temporary: error["temporary"].as_bool().unwrap_or(false),
        })),
    }
}
