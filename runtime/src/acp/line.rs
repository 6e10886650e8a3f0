//! One line of an agent's standard output, read.

use crate::acp::code;
use crate::acp::ending::shortened;
use crate::acp::text;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// What a line is. A line that is not one JSON-RPC 2.0 message is [`Line::Junk`]: text that is no JSON, JSON without
/// `"jsonrpc":"2.0"` (a log line may well have an `id` and a `method`), batches (ACP has none), a field named twice,
/// nesting without end.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The agent asks and waits for the answer.
    Request {
        /// Its name for the request.
        id: RequestId,
        /// What it asks for.
        method: String,
        /// `null` where there are none, or none that can be held.
        params: Value,
    },
    /// The agent tells.
    Notification {
        /// What about.
        method: String,
        /// `null` where there are none, or none that can be held.
        params: Value,
    },
    /// A message that would be a request and is none: its `method` is no string, or its `id` not of a legal kind or too long.
    Invalid {
        /// Its name for it; `null` where that is what is wrong.
        id: RequestId,
    },
    /// The agent answers a request of ours.
    Response {
        /// The number of our request; `None` where it is none that we could have given.
        id: Option<u64>,
        /// `null` where it named neither a result nor an error.
        outcome: Result<Value, RpcError>,
    },
    /// No message.
    Junk,
}

/// An agent's name for its request: the JSON text as it was written, since it gets that back. Numbers keep all their
/// digits, so `1`, `1.0` and `"1"` are three names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RequestId(String);

/// An agent's name for a request is kept in the journal until it is answered: a longer one is none.
pub const ID_BYTES_MAX: usize = 1024;

impl RequestId {
    /// The JSON text of a string, a number or `null` of at most [`ID_BYTES_MAX`]; `None` for anything else.
    pub fn new(text: &str) -> Option<Self> {
        let named = serde_json::from_str::<&RawValue>(text).ok()?.get();
        let legal = matches!(named.as_bytes()[0], b'"' | b'-' | b'0'..=b'9' | b'n');
        (legal && named.len() <= ID_BYTES_MAX).then(|| Self(named.to_owned()))
    }

    /// The name of a request whose own name cannot be given back.
    pub fn null() -> Self {
        Self("null".to_owned())
    }

    /// The same text for the same name, however it is written.
    pub fn canonical(&self) -> String {
        let own = serde_json::from_str::<Value>(&self.0);
        own.map_or_else(|_| self.0.clone(), |own| own.to_string())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        RequestId::new(&text).ok_or_else(|| serde::de::Error::custom("not the JSON text of a request id"))
    }
}

/// An error that the agent answers with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    /// See [`code`].
    pub code: i64,
    /// For people.
    pub message: String,
    /// Facts; `null` where there are none.
    #[serde(default)]
    pub data: Value,
}

impl fmt::Display for RpcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (code {})", shortened(&self.message), self.code)?;
        // Several SDKs put what happened only here.
        let details = self.data.get("details").unwrap_or(&self.data);
        details.as_str().map_or(Ok(()), |text| write!(formatter, ": {}", shortened(text)))
    }
}

/// The members of a message, as they were written.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(super) id: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(super) params: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A member that is there, `null` too: for serde that is no member.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Head<'a> {
    /// The members of a line that is a message by its form; `None` for junk. The line must be
    /// [readable](text::readable).
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let head = Self::members(line)?;
        let id_is_legal = head.id.is_none_or(|id| RequestId::new(id.get()).is_some());
        let method_is_legal = head.method.is_none_or(|method| method.get().starts_with('"'));
        let is_one = head.method.is_some() || head.id.is_some();
        (id_is_legal && method_is_legal && is_one).then_some(head)
    }

    /// The members of an object that says it is of the protocol.
    fn members(line: &'a [u8]) -> Option<Self> {
        // serde would read an array as the members in order.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let head: Head<'a> = serde_json::from_slice(line).ok()?;
        head.jsonrpc.is_some_and(|version| is_string(version, "2.0")).then_some(head)
    }

    /// Whether it is called so.
    pub(super) fn is_method(&self, name: &str) -> bool {
        self.method.is_some_and(|method| is_string(method, name))
    }
}

/// Whether this JSON is a string of this value; costs a comparison unless it is written with escapes.
fn is_string(json: &RawValue, value: &str) -> bool {
    let text = json.get();
    let plain = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    plain.is_some_and(|plain| plain == value)
        || (text.contains('\\') && serde_json::from_str::<String>(text).is_ok_and(|text| text == value))
}

/// Reads a line, with or without its newline.
pub fn parse(line: &[u8]) -> Line {
    let Some(line) = text::readable(line) else { return Line::Junk };
    let Some(head) = Head::read(&line) else { return invalid(&line) };
    match head.method {
        Some(method) => match serde_json::from_str(method.get()) {
            Ok(method) => call(head.id, method, head.params),
            Err(_) => Line::Junk,
        },
        None => response(&head),
    }
}

/// Whoever writes an `id` and a `method` waits for an answer.
fn invalid(line: &[u8]) -> Line {
    match Head::members(line) {
        Some(Head { id: Some(id), method: Some(_), .. }) => {
            Line::Invalid { id: RequestId::new(id.get()).unwrap_or_else(RequestId::null) }
        }
        _ => Line::Junk,
    }
}

fn call(id: Option<&RawValue>, method: String, params: Option<&RawValue>) -> Line {
    let params = value(params).unwrap_or_default();
    match id {
        Some(id) => match RequestId::new(id.get()) {
            Some(id) => Line::Request { id, method, params },
            None => Line::Junk,
        },
        None => Line::Notification { method, params },
    }
}

fn response(head: &Head<'_>) -> Line {
    let id = head.id.and_then(|id| own_number(id.get()));
    let error = head.error.filter(|error| error.get() != "null");
    let outcome = match error {
        Some(error) => Err(rpc_error(error)),
        None => value(head.result).ok_or_else(|| RpcError {
            code: code::PARSE_ERROR,
            message: "the result cannot be read".to_owned(),
            data: Value::Null,
        }),
    };
    Line::Response { id, outcome }
}

/// The number of a request of ours; writers that know only one kind of number may add a fraction of zero.
pub(super) fn own_number(text: &str) -> Option<u64> {
    text.strip_suffix(".0").unwrap_or(text).parse().ok()
}

/// `null` where it is missing, `None` where it cannot be held.
fn value(json: Option<&RawValue>) -> Option<Value> {
    json.map_or(Some(Value::Null), |json| serde_json::from_str(json.get()).ok())
}

/// An error, however badly formed: an error it stays.
fn rpc_error(error: &RawValue) -> RpcError {
    let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
    let code = error.get("code").and_then(whole).unwrap_or(code::INTERNAL_ERROR);
    let message = match error.get("message").and_then(Value::as_str) {
        Some(message) if !message.is_empty() => message.to_owned(),
        _ => "the agent answered with an error without a message".to_owned(),
    };
    RpcError { code, message, data: error.get("data").cloned().unwrap_or_default() }
}

fn whole(number: &Value) -> Option<i64> {
    let fraction = || number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
    number.as_i64().or_else(|| fraction().map(|number| number as i64))
}

#[cfg(test)]
mod tests;
