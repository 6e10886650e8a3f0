//! What a client is told: replies and pushes, as JSON text.

use super::CommandError;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::fmt::Write;

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
