//! What a client asks for: one line of JSON.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A place in a channel's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Position {
    /// Epoch; empty matches any.
    #[serde(default)]
    pub epoch: String,
    /// The last offset that is known, at most [`OFFSET_MAX`].
    #[serde(default, deserialize_with = "offset")]
    pub offset: u64,
}

/// Larger offsets are taken for this one: no log is so long, and one more is a number still.
pub const OFFSET_MAX: u64 = i64::MAX as u64;

fn offset<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    u64::deserialize(deserializer).map(|offset| offset.min(OFFSET_MAX))
}

/// What a client asks for.
#[derive(Debug)]
pub enum Request {
    /// First command of every session.
    Connect {
        /// Connection token.
        token: String,
    },
    /// Subscribes to a channel.
    Subscribe {
        /// Channel.
        channel: String,
        /// Position to continue from; `None`: from now on.
        recover: Option<Position>,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// Channel.
        channel: String,
    },
    /// A command or read.
    Rpc {
        /// Method.
        method: String,
        /// Parameters.
        data: Option<Box<RawValue>>,
    },
    /// A part of a channel's log.
    History(HistoryRequest),
    /// A new token for this connection.
    Refresh {
        /// Connection token.
        token: String,
    },
    /// Asks for a reply.
    Ping,
    /// Something of the protocol that this server does not have (publish, presence, ...).
    Unavailable,
    /// A message without a reply; ignored.
    Send,
    /// An answer to our ping.
    Pong,
}

/// A part of a channel's log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HistoryRequest {
    /// Channel.
    pub channel: String,
    /// Publications at most; 0: only the position; negative: as many as fit one piece.
    #[serde(default)]
    pub limit: i64,
    /// After (reverse: before) this position.
    #[serde(default)]
    pub since: Option<Position>,
    /// Newest first.
    #[serde(default)]
    pub reverse: bool,
}

/// One command.
#[derive(Debug)]
pub struct Command {
    /// Number chosen by the client; the reply bears it.
    pub id: u32,
    /// What it asks for.
    pub request: Request,
}

/// A line that is not a command of this protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a command of the Centrifuge protocol")]
pub struct NotACommand;

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: u32,
    connect: Option<TokenField>,
    subscribe: Option<SubscribeFields>,
    unsubscribe: Option<ChannelField>,
    publish: Option<Ignored>,
    presence: Option<Ignored>,
    presence_stats: Option<Ignored>,
    history: Option<HistoryRequest>,
    ping: Option<Ignored>,
    send: Option<Ignored>,
    rpc: Option<RpcFields>,
    refresh: Option<TokenField>,
    sub_refresh: Option<Ignored>,
}

#[derive(Deserialize)]
struct Ignored {}

#[derive(Deserialize)]
struct TokenField {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct ChannelField {
    channel: String,
}

#[derive(Deserialize)]
struct SubscribeFields {
    channel: String,
    #[serde(default)]
    recover: bool,
    #[serde(flatten)]
    position: Position,
}

#[derive(Deserialize)]
struct RpcFields {
    #[serde(default)]
    method: String,
    data: Option<Box<RawValue>>,
}

impl Command {
    /// Reads one line.
    ///
    /// # Errors
    /// Anything but a JSON object with the protocol's fields and, except for pong and send, an id above 0.
    pub fn parse(line: &[u8]) -> Result<Command, NotACommand> {
        let envelope: Envelope = serde_json::from_slice(line).map_err(|_| NotACommand)?;
        let id = envelope.id;
        let request = envelope.request();
        let needs_id = !matches!(request, Request::Pong | Request::Send);
        if needs_id && id == 0 { Err(NotACommand) } else { Ok(Command { id, request }) }
    }
}

impl Envelope {
    fn request(self) -> Request {
        if let Some(TokenField { token }) = self.connect {
            Request::Connect { token }
        } else if let Some(subscribe) = self.subscribe {
            let recover = subscribe.recover.then_some(subscribe.position);
            Request::Subscribe { channel: subscribe.channel, recover }
        } else if let Some(ChannelField { channel }) = self.unsubscribe {
            Request::Unsubscribe { channel }
        } else if let Some(RpcFields { method, data }) = self.rpc {
            Request::Rpc { method, data }
        } else if let Some(history) = self.history {
            Request::History(history)
        } else if let Some(TokenField { token }) = self.refresh {
            Request::Refresh { token }
        } else if self.ping.is_some() {
            Request::Ping
        } else if self.send.is_some() {
            Request::Send
        } else if [self.publish, self.presence, self.presence_stats, self.sub_refresh]
            .iter()
            .any(Option::is_some)
        {
            Request::Unavailable
        } else if self.id == 0 {
            Request::Pong
        } else {
            Request::Unavailable
        }
    }
}
