//! The Centrifuge client protocol, JSON flavour, as far as a server needs it. Pure text in, values out.
//!
//! One WebSocket message holds one or more commands, or one or more replies and pushes, each a JSON object on
//! a line of its own (<https://centrifugal.dev/docs/transports/client_protocol>). `{}` is a ping from the
//! server and a pong from the client. Fields that we do not know are ignored, as that protocol asks: SDKs send
//! flags for features that a server may not have. The parameters of our own methods are checked strictly by
//! the runtime.

use bytes::Bytes;
use holdfast_shared::error::ApiError;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write;

/// An error in a reply to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// Below 400 the protocol's own, from 1000 ours ([`holdfast_shared::error::Code::number`]).
    pub code: u32,
    /// For people; ours begin with the code's name.
    pub message: String,
    /// The same command may succeed later; SDKs resubscribe by themselves then.
    pub temporary: bool,
}

macro_rules! protocol_errors {
    ($($(#[$doc:meta])* $name:ident $code:literal $message:literal $temporary:literal;)*) => {
        impl CommandError { $($(#[$doc])* pub fn $name() -> Self {
            Self { code: $code, message: $message.to_owned(), temporary: $temporary }
        })* }
    };
}

protocol_errors! {
    /// The role of the session does not reach that far.
    permission_denied 103 "permission denied" false;
    /// The session has this subscription, or is about to.
    already_subscribed 105 "already subscribed" false;
    /// A bound of this session is reached.
    limit_exceeded 106 "limit exceeded" false;
    /// The command's fields make no sense.
    bad_request 107 "bad request" false;
    /// A part of the protocol that this server does not have.
    not_available 108 "not available" false;
    /// The connection token is past its time.
    token_expired 109 "token expired" false;
    /// History was asked from a position that is gone.
    unrecoverable_position 112 "unrecoverable position" false;
}

impl From<ApiError> for CommandError {
    fn from(error: ApiError) -> Self {
        Self { code: error.code.number(), message: error.to_string(), temporary: error.retryable }
    }
}

/// Why a session's socket is closed: a WebSocket close code with its reason. SDKs reconnect by themselves
/// except after codes 3500 to 3999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The close code.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: &'static str,
}

macro_rules! disconnects {
    ($($(#[$doc:meta])* $name:ident $code:literal $reason:literal;)*) => {
        impl Disconnect { $($(#[$doc])* pub const $name: Disconnect = Disconnect { code: $code, reason: $reason };)* }
    };
}

disconnects! {
    /// The sidecar stops.
    SHUTDOWN 3001 "shutdown";
    /// The token's time is over and it was not refreshed.
    EXPIRED 3005 "connection expired";
    /// No sign of life in either direction.
    NO_PONG 3012 "no pong";
    /// The token is not known, or no longer.
    INVALID_TOKEN 3500 "invalid token";
    /// Something that is not this protocol.
    BAD_REQUEST 3501 "bad request";
    /// No connect command came in time.
    STALE 3502 "stale";
    /// Too many sessions.
    CONNECTION_LIMIT 3504 "connection limit";
    /// A message above the bound (RFC 6455, 7.4.1).
    TOO_BIG 1009 "message too big";
}

/// The channel's epoch changed or its log no longer reaches back: SDKs subscribe again (codes from 2500 on)
/// and are then told `recovered: false`.
pub const INSUFFICIENT_STATE: (u32, &str) = (2500, "insufficient state");

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

/// The server's ping.
pub const PING: &[u8] = b"{}";

/// A JSON string literal.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serializes")
}

/// JSON text without line breaks; outside of strings, where they are escaped, they are only blanks.
pub fn one_line(json: Bytes) -> Bytes {
    if !json.contains(&b'\n') {
        return json;
    }
    json.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect::<Vec<u8>>().into()
}

/// A reply with a result that is JSON already, e.g. `("rpc", {"data":...})`.
pub fn reply(id: u32, kind: &str, result: &str) -> Bytes {
    Bytes::from(format!(r#"{{"id":{id},"{kind}":{result}}}"#))
}

/// The reply to an rpc.
pub fn rpc_reply(id: u32, data: &RawValue) -> Bytes {
    one_line(Bytes::from(format!(r#"{{"id":{id},"rpc":{{"data":{}}}}}"#, data.get())))
}

/// A reply with an error.
pub fn error_reply(id: u32, error: &CommandError) -> Bytes {
    let temporary = if error.temporary { r#","temporary":true"# } else { "" };
    let message = quoted(&error.message);
    Bytes::from(format!(r#"{{"id":{id},"error":{{"code":{},"message":{message}{temporary}}}}}"#, error.code))
}

/// Ends a subscription from our side.
pub fn unsubscribe_push(channel: &str, (code, reason): (u32, &str)) -> Bytes {
    Bytes::from(format!(
        r#"{{"push":{{"channel":{},"unsubscribe":{{"code":{code},"reason":{}}}}}}}"#,
        quoted(channel),
        quoted(reason)
    ))
}

/// What a connect or refresh reply says about the token's end.
pub fn expiry(ttl_seconds: Option<u64>) -> String {
    ttl_seconds.map_or(String::new(), |ttl| format!(r#","expires":true,"ttl":{ttl}"#))
}

/// What a subscribe reply says besides its publications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeReply<'a> {
    /// The channel's epoch.
    pub epoch: &'a str,
    /// The position the publications of the reply, and then the pushes, follow.
    pub offset: u64,
    /// The client named a position.
    pub was_recovering: bool,
    /// Nothing is missing after it.
    pub recovered: bool,
}

impl SubscribeReply<'_> {
    /// The reply's text; `publications` are JSON objects of offset and data.
    pub fn encode<'b>(&self, id: u32, publications: impl Iterator<Item = &'b [u8]>) -> Bytes {
        let mut text = format!(
            r#"{{"id":{id},"subscribe":{{"recoverable":true,"positioned":true,"epoch":{},"offset":{}"#,
            quoted(self.epoch),
            self.offset
        );
        for (flag, name) in [(self.was_recovering, "was_recovering"), (self.recovered, "recovered")] {
            if flag {
                let _ = write!(text, r#","{name}":true"#);
            }
        }
        let mut text = text.into_bytes();
        put_publications(publications, &mut text);
        text.extend_from_slice(b"}}");
        text.into()
    }
}

/// The fields of a history reply.
pub fn history_result<'b>(epoch: &str, top: u64, publications: impl Iterator<Item = &'b [u8]>) -> Vec<u8> {
    let mut text = format!(r#"{{"epoch":{},"offset":{top}"#, quoted(epoch)).into_bytes();
    put_publications(publications, &mut text);
    text.push(b'}');
    text
}

fn put_publications<'b>(publications: impl Iterator<Item = &'b [u8]>, text: &mut Vec<u8>) {
    let mut separator: &[u8] = br#","publications":["#;
    let mut any = false;
    for publication in publications {
        text.extend_from_slice(separator);
        text.extend_from_slice(publication);
        separator = b",";
        any = true;
    }
    if any {
        text.push(b']');
    }
}

/// How publications of one channel are written: once, whoever gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushFormat {
    before: String,
}

impl PushFormat {
    const AFTER: &'static [u8] = b"}}";

    /// The format for a channel.
    pub fn new(channel: &str) -> Self {
        Self { before: format!(r#"{{"push":{{"channel":{},"pub":"#, quoted(channel)) }
    }

    /// The push of one publication.
    pub fn encode(&self, offset: u64, data: &Bytes, out: &mut Vec<u8>) {
        out.extend_from_slice(self.before.as_bytes());
        let _ = std::io::Write::write_fmt(out, format_args!(r#"{{"offset":{offset},"data":"#));
        if data.contains(&b'\n') {
            out.extend_from_slice(&one_line(data.clone()));
        } else {
            out.extend_from_slice(data);
        }
        out.push(b'}');
        out.extend_from_slice(Self::AFTER);
    }

    /// The publication inside a push that [`encode`](Self::encode) made, for the publications of a reply.
    pub fn publication<'a>(&self, push: &'a [u8]) -> &'a [u8] {
        &push[self.before.len()..push.len() - Self::AFTER.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::error::Code;
    use proptest::prelude::*;

    fn parsed(line: &str) -> String {
        match Command::parse(line.as_bytes()) {
            Ok(command) => format!("{} {:?}", command.id, command.request),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn commands_as_sdks_send_them() {
        for (line, expected) in [
            (r#"{"id":1,"connect":{"token":"t","name":"js","flag":1}}"#, r#"1 Connect { token: "t" }"#),
            (r#"{"id":1,"connect":{}}"#, r#"1 Connect { token: "" }"#),
            (
                r#"{"id":2,"subscribe":{"channel":"node","flag":1}}"#,
                r#"2 Subscribe { channel: "node", recover: None }"#,
            ),
            (
                r#"{"id":2,"subscribe":{"channel":"a","recover":true,"offset":7,"epoch":"e"}}"#,
                r#"2 Subscribe { channel: "a", recover: Some(Position { epoch: "e", offset: 7 }) }"#,
            ),
            (r#"{"id":3,"unsubscribe":{"channel":"a"}}"#, r#"3 Unsubscribe { channel: "a" }"#),
            (
                r#"{"id":4,"rpc":{"method":"m","data":{"a":1}}}"#,
                r#"4 Rpc { method: "m", data: Some(RawValue({"a":1})) }"#,
            ),
            (r#"{"id":5,"ping":{}}"#, "5 Ping"),
            (r#"{"send":{"data":1}}"#, "0 Send"),
            (r#"{}"#, "0 Pong"),
            (r#"{"id":6,"presence":{"channel":"a"}}"#, "6 Unavailable"),
            (r#"{"id":6,"publish":{"channel":"a","data":{}}}"#, "6 Unavailable"),
            (r#"{"id":7,"something":{}}"#, "7 Unavailable"),
            (r#"{"rpc":{"method":"m"}}"#, "not a command of the Centrifuge protocol"),
            (r#"{"id":-1,"ping":{}}"#, "not a command of the Centrifuge protocol"),
            (r#"{"id":1,"subscribe":{}}"#, "not a command of the Centrifuge protocol"),
            ("[]", "not a command of the Centrifuge protocol"),
            ("", "not a command of the Centrifuge protocol"),
            ("{", "not a command of the Centrifuge protocol"),
        ] {
            assert_eq!(parsed(line), expected, "{line}");
        }
    }

    #[test]
    fn replies_as_sdks_read_them() {
        let error = CommandError::from(ApiError::new(Code::Busy, "later"));
        for (text, expected) in [
            (
                error_reply(1, &error),
                r#"{"id":1,"error":{"code":1020,"message":"BUSY: later","temporary":true}}"#,
            ),
            (
                error_reply(2, &CommandError::token_expired()),
                r#"{"id":2,"error":{"code":109,"message":"token expired"}}"#,
            ),
            (
                unsubscribe_push("a\"b", INSUFFICIENT_STATE),
                r#"{"push":{"channel":"a\"b","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
            ),
            (
                SubscribeReply { epoch: "e", offset: 4, was_recovering: true, recovered: true }
                    .encode(3, [b"{1}".as_slice(), b"{2}"].into_iter()),
                concat!(
                    r#"{"id":3,"subscribe":{"recoverable":true,"positioned":true,"epoch":"e","offset":4,"#,
                    r#""was_recovering":true,"recovered":true,"publications":[{1},{2}]}}"#
                ),
            ),
        ] {
            assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
        }
    }

    #[test]
    fn a_push_is_one_line_and_its_publication_can_be_taken_out_again() {
        let format = PushFormat::new("conversation:x");
        let mut push = Vec::new();
        format.encode(12, &Bytes::from_static(b"{\"a\":\n1}"), &mut push);
        let expected = r#"{"push":{"channel":"conversation:x","pub":{"offset":12,"data":{"a": 1}}}}"#;
        assert_eq!(std::str::from_utf8(&push).unwrap(), expected);
        assert_eq!(format.publication(&push), br#"{"offset":12,"data":{"a": 1}}"#);
    }

    proptest! {
        #[test]
        fn hostile_lines_never_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&line);
        }
    }
}
