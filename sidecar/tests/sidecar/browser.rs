//! A browser: a WebSocket client of the Centrifuge protocol that checks what it gets.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// How long anything may take that is to happen at all.
pub const SOON: Duration = Duration::from_secs(20);

/// A client. `S` is its connection.
pub struct Browser<S = TcpStream> {
    socket: WebSocketStream<S>,
    lines: VecDeque<Value>,
    next_id: u32,
    /// Last offset seen per channel; every publication must be the next.
    pub last: BTreeMap<String, u64>,
    /// Data of all publications, per channel.
    pub seen: BTreeMap<String, Vec<Value>>,
    /// Channels ended from the other side, with the code.
    pub unsubscribed: Vec<(String, u64)>,
    /// Whether pings are answered.
    pub pongs: bool,
    /// Messages received, each of one or more lines.
    pub messages: usize,
}

/// Opens a WebSocket with more headers.
pub async fn open<S>(
    stream: S,
    headers: &[(&'static str, &str)],
) -> Result<Browser<S>, Box<tokio_tungstenite::tungstenite::Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = "ws://127.0.0.1/ws".into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(Box::new)?;
    Ok(Browser {
        socket,
        lines: VecDeque::new(),
        next_id: 0,
        last: BTreeMap::new(),
        seen: BTreeMap::new(),
        unsubscribed: Vec::new(),
        pongs: true,
        messages: 0,
    })
}

impl Browser<TcpStream> {
    /// Opens a WebSocket; nothing is said yet.
    pub async fn open(address: SocketAddr) -> Self {
        open(TcpStream::connect(address).await.unwrap(), &[]).await.unwrap()
    }

    /// A connected session.
    pub async fn connect(address: SocketAddr, token: &str) -> Self {
        let mut browser = Self::open(address).await;
        let reply = browser.command(json!({"connect": {"token": token}})).await;
        assert!(reply["connect"]["client"].is_string(), "{reply}");
        assert_eq!(reply["connect"]["pong"], json!(true));
        browser
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Browser<S> {
    /// Sends text as it is.
    pub async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends text as it is, if the server still takes it.
    pub async fn try_send_raw(
        &mut self,
        message: Message,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.socket.send(message).await
    }

    /// Sends a command; gives its number.
    pub async fn send(&mut self, mut command: Value) -> u32 {
        self.next_id += 1;
        command["id"] = json!(self.next_id);
        self.send_raw(Message::text(command.to_string())).await;
        self.next_id
    }

    /// Sends a command and waits for its reply.
    pub async fn command(&mut self, command: Value) -> Value {
        let id = self.send(command).await;
        self.reply(id).await
    }

    /// Calls a method.
    pub async fn rpc(&mut self, method: &str, data: Value) -> Value {
        self.command(json!({"rpc": {"method": method, "data": data}})).await
    }

    /// Subscribes from now on, or from a position; what the reply carries is taken.
    pub async fn subscribe(&mut self, channel: &str, recover: Option<(&str, u64)>) -> Value {
        let mut fields = json!({"channel": channel, "flag": 1});
        if let Some((epoch, offset)) = recover {
            fields["recover"] = json!(true);
            fields["epoch"] = json!(epoch);
            fields["offset"] = json!(offset);
        }
        let reply = self.command(json!({"subscribe": fields})).await;
        if let Some(offset) = reply["subscribe"]["offset"].as_u64() {
            self.last.insert(channel.to_owned(), offset);
            for publication in reply["subscribe"]["publications"].as_array().into_iter().flatten() {
                self.take(channel, publication);
            }
        }
        reply
    }

    fn take(&mut self, channel: &str, publication: &Value) {
        let offset = publication["offset"].as_u64().unwrap();
        let last = self.last.get_mut(channel).unwrap_or_else(|| panic!("{channel} is not subscribed"));
        assert_eq!(offset, *last + 1, "the next of {channel}");
        *last = offset;
        self.seen.entry(channel.to_owned()).or_default().push(publication["data"].clone());
    }

    /// The next line that is not a ping or publication; those are answered and taken.
    pub async fn line(&mut self) -> Value {
        loop {
            while let Some(line) = self.lines.pop_front() {
                if line == json!({}) {
                    if self.pongs {
                        self.send_raw(Message::text("{}")).await;
                    }
                    continue;
                }
                let push = &line["push"];
                if push["pub"].is_object() {
                    self.take(push["channel"].as_str().unwrap(), &push["pub"]);
                    return json!(null);
                }
                if push["unsubscribe"].is_object() {
                    let channel = push["channel"].as_str().unwrap().to_owned();
                    self.unsubscribed.push((channel, push["unsubscribe"]["code"].as_u64().unwrap()));
                    return json!(null);
                }
                return line;
            }
            match tokio::time::timeout(SOON, self.socket.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => {
                    self.messages += 1;
                    self.lines.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
                }
                Some(Ok(Message::Close(frame))) => panic!("closed: {frame:?}"),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for the reply to a command.
    pub async fn reply(&mut self, id: u32) -> Value {
        loop {
            let line = self.line().await;
            if line["id"] == json!(id) {
                return line;
            }
            assert!(line.is_null(), "not the reply to {id}: {line}");
        }
    }

    /// Waits until the last offset of a channel is this one.
    pub async fn reach(&mut self, channel: &str, offset: u64) {
        while self.last.get(channel).copied().unwrap_or_default() < offset {
            let line = self.line().await;
            assert!(line.is_null(), "{line}");
        }
    }

    /// Waits until the server ends a subscription.
    pub async fn ended(&mut self, channel: &str) -> u64 {
        loop {
            if let Some(index) = self.unsubscribed.iter().position(|(name, _)| name == channel) {
                self.last.remove(channel);
                return self.unsubscribed.remove(index).1;
            }
            let line = self.line().await;
            assert!(line.is_null(), "{line}");
        }
    }

    /// Waits until the server closes, and gives its code; whatever else comes is skipped.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match tokio::time::timeout(SOON, self.socket.next()).await.expect("not closed") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("no close code: {other:?}"),
            }
        }
    }
}
