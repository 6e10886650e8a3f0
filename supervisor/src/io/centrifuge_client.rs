//! A small client of the Centrifuge protocol (JSON over WebSocket): for the probe, `attach` and the demo.
//!
//! One session, driven by its caller: an answer is waited for by reading, and what is pushed meanwhile is kept.

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

/// Pushes kept while an answer is waited for; a session whose caller reads nothing else for so long is ended.
const KEPT_PUSHES: usize = 16_384;
/// Bytes read ahead. The library's default costs far more per session than a client of ours ever reads at once.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Why a session is over, or a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused this request; the session goes on.
    #[error("{message}")]
    Refused {
        /// The protocol's or our own number.
        code: u32,
        /// Its text, `CODE: ...` where it is ours.
        message: String,
        /// The same request may be sent again.
        temporary: bool,
    },
    /// The server closed the session, with the protocol's code.
    #[error("disconnected: {reason} ({code})")]
    Disconnected {
        /// The code; 3500 and above are final.
        code: u16,
        /// Its reason.
        reason: String,
    },
    /// The transport failed.
    #[error("connection: {0}")]
    Transport(#[from] tungstenite::Error),
    /// The server said what the protocol does not know.
    #[error("protocol: {0}")]
    Protocol(String),
}

impl ClientError {
    /// Whether a new session may succeed where this one ended.
    pub fn may_reconnect(&self) -> bool {
        match self {
            ClientError::Refused { temporary, .. } => *temporary,
            ClientError::Disconnected { code, .. } => !(3500..4000).contains(code) && *code < 4500,
            ClientError::Transport(_) => true,
            ClientError::Protocol(_) => false,
        }
    }
}

/// One publication of a channel.
#[derive(Clone, Debug, Deserialize)]
pub struct Publication {
    /// Its offset.
    #[serde(default)]
    pub offset: u64,
    /// The event.
    pub data: Value,
}

/// What the server pushed.
#[derive(Clone, Debug)]
pub enum Push {
    /// A publication of a channel.
    Publication(String, Publication),
    /// The subscription was ended by the server.
    Unsubscribed {
        /// The channel.
        channel: String,
        /// The protocol's code; 2500 and above: subscribe again.
        code: u32,
        /// Its reason.
        reason: String,
    },
}

/// The answer to a subscribe.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Subscribed {
    /// The channel's epoch.
    pub epoch: String,
    /// The position.
    pub offset: u64,
    /// Everything from the position asked for is in `publications` or follows.
    pub recovered: bool,
    /// A position was asked for.
    pub was_recovering: bool,
    /// The first piece.
    pub publications: Vec<Publication>,
}

/// A session.
pub struct Session<S> {
    socket: WebSocketStream<S>,
    last_id: u32,
    replies: VecDeque<Value>,
    pushes: VecDeque<Push>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Upgrades a connected stream at `url` (`ws://HOST/ws`) and connects, with a token where one is needed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn connect(stream: S, url: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
        let mut session = Self { socket, last_id: 0, replies: VecDeque::new(), pushes: VecDeque::new() };
        let connect = token.map_or_else(|| json!({}), |token| json!({"token": token}));
        session.request("connect", connect).await?;
        Ok(session)
    }

    /// Calls a method; its result.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rpc(&mut self, method: &str, data: &Value) -> Result<Value, ClientError> {
        let mut reply = self.request("rpc", json!({"method": method, "data": data})).await?;
        Ok(reply.get_mut("data").map(Value::take).unwrap_or_default())
    }

    /// Subscribes to a channel from behind a position; `None`: from now on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn subscribe(
        &mut self,
        channel: &str,
        since: Option<(&str, u64)>,
    ) -> Result<Subscribed, ClientError> {
        let mut request = json!({"channel": channel});
        if let Some((epoch, offset)) = since {
            request["recover"] = json!(true);
            request["epoch"] = json!(epoch);
            request["offset"] = json!(offset);
        }
        let reply = self.request("subscribe", request).await?;
        serde_json::from_value(reply).map_err(|error| ClientError::Protocol(error.to_string()))
    }

    /// The next push. Safe to drop and call again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Push, ClientError> {
        loop {
            if let Some(push) = self.pushes.pop_front() {
                return Ok(push);
            }
            self.read().await?;
        }
    }

    /// Closes the session; what is under way on the node goes on.
    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }

    async fn request(&mut self, kind: &str, body: Value) -> Result<Value, ClientError> {
        self.last_id += 1;
        let id = self.last_id;
        self.socket.send(Message::text(json!({"id": id, kind: body}).to_string())).await?;
        loop {
            while let Some(mut reply) = self.replies.pop_front() {
                if reply.get("id").and_then(Value::as_u64) != Some(u64::from(id)) {
                    continue;
                }
                if let Some(error) = reply.get("error") {
                    return Err(refusal(error));
                }
                return Ok(reply.get_mut(kind).map(Value::take).unwrap_or_default());
            }
            self.read().await?;
        }
    }

    /// Reads one message: replies and pushes are kept, pings answered.
    async fn read(&mut self) -> Result<(), ClientError> {
        let message = match self.socket.next().await {
            Some(message) => message?,
            None => return Err(tungstenite::Error::ConnectionClosed.into()),
        };
        match message {
            Message::Text(text) => {
                for line in text.lines().filter(|line| !line.trim().is_empty()) {
                    self.take(line).await?;
                }
                Ok(())
            }
            Message::Close(frame) => {
                Err(frame.map_or(ClientError::Transport(tungstenite::Error::ConnectionClosed), |frame| {
                    ClientError::Disconnected { code: frame.code.into(), reason: frame.reason.to_string() }
                }))
            }
            _ => Ok(()),
        }
    }

    async fn take(&mut self, line: &str) -> Result<(), ClientError> {
        let mut value: Value =
            serde_json::from_str(line).map_err(|error| ClientError::Protocol(error.to_string()))?;
        if value.get("id").is_some_and(|id| id.as_u64() != Some(0)) {
            self.replies.push_back(value);
            return Ok(());
        }
        match value.get_mut("push").map(Value::take) {
            Some(push) => self.take_push(push),
            // A ping is an empty reply; so is its answer.
            None => Ok(self.socket.send(Message::text("{}")).await?),
        }
    }

    fn take_push(&mut self, mut push: Value) -> Result<(), ClientError> {
        let channel = push.get("channel").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(publication) = push.get_mut("pub").map(Value::take) {
            let publication = serde_json::from_value(publication)
                .map_err(|error| ClientError::Protocol(error.to_string()))?;
            self.pushes.push_back(Push::Publication(channel, publication));
        } else if let Some(ended) = push.get("unsubscribe") {
            let code = ended.get("code").and_then(Value::as_u64).unwrap_or(0);
            let reason = ended.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
            self.pushes.push_back(Push::Unsubscribed {
                channel,
                code: u32::try_from(code).unwrap_or(0),
                reason,
            });
        } else if let Some(ended) = push.get("disconnect") {
            let code = ended.get("code").and_then(Value::as_u64).unwrap_or(0);
            let reason = ended.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
            return Err(ClientError::Disconnected { code: u16::try_from(code).unwrap_or(0), reason });
        }
        if self.pushes.len() > KEPT_PUSHES {
            return Err(ClientError::Protocol(format!("more than {KEPT_PUSHES} pushes before an answer")));
        }
        Ok(())
    }
}

fn refusal(error: &Value) -> ClientError {
    let code = error.get("code").and_then(Value::as_u64).unwrap_or(0);
    ClientError::Refused {
        code: u32::try_from(code).unwrap_or(0),
        message: error.get("message").and_then(Value::as_str).unwrap_or("refused").to_owned(),
        temporary: error.get("temporary").and_then(Value::as_bool).unwrap_or(false),
    }
}
