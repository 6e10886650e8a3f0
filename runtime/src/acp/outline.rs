//! What a message is that is too long to be held: its members' names and its `id` are found as its bytes pass.
//!
//! The scan is by JSON's own rules, from the first byte to the last: strings, escapes and nesting are followed, so what
//! a message says within its `params` is never taken for the message's own. What lies deeper is counted and not checked.

use crate::acp::line::{RequestId, own_number};
use memchr::memchr2;

/// Bytes of a member's name, or of a value, that are kept: an `id` may have [`ID_BYTES_MAX`](super::line::ID_BYTES_MAX).
const KEPT_BYTES_MAX: usize = super::line::ID_BYTES_MAX + 1;

/// What a line was that has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// A request of the agent.
    Request(RequestId),
    /// A notification.
    Notification,
    /// An answer to our request of this number; `None` where it is none that we could have given.
    Response(Option<u64>),
    /// No message of the protocol.
    Nothing,
    /// A message of which it cannot be said what it asks or answers.
    Unclear,
}

/// Where in the line the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Begin,
    /// Behind `{`: a name, or the end.
    FirstName,
    /// Behind a comma.
    Name,
    Colon,
    Value,
    /// Within a number or a word.
    Scalar,
    /// Within so many arrays and objects.
    Nested(u64),
    /// Behind a value.
    Comma,
    End,
    /// No object, or no JSON.
    Broken,
}

/// The members that are of use, and those that may be named once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Jsonrpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    Other,
}

/// See the module. Holds little over a kilobyte, however long the line is.
#[derive(Clone, Debug)]
pub struct Outline {
    at: At,
    in_string: bool,
    escaped: bool,
    /// The text of the name or value that is being read, if it is of use.
    text: Option<Vec<u8>>,
    member: Member,
    /// Members that were named.
    seen: u8,
    is_ours: bool,
    /// `Some(None)`: there is one that is none.
    id: Option<Option<RequestId>>,
}

impl Default for Outline {
    fn default() -> Self {
        Self {
            at: At::Begin,
            in_string: false,
            escaped: false,
            text: None,
            member: Member::Other,
            seen: 0,
            is_ours: false,
            id: None,
        }
    }
}

impl Outline {
    /// Takes the next bytes of the line.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let (Some((byte, rest)), true) = (bytes.split_first(), self.at != At::Broken) {
            if self.in_string {
                bytes = self.string(bytes);
            } else {
                self.byte(*byte);
                bytes = rest;
            }
        }
    }

    /// The line is over.
    pub fn end(self) -> Passed {
        if !self.is_ours {
            return Passed::Nothing;
        }
        if self.at != At::End {
            return Passed::Unclear;
        }
        match (self.seen & Member::Method.bit() != 0, self.id) {
            (true, None) => Passed::Notification,
            (false, None) => Passed::Nothing,
            (_, Some(None)) => Passed::Unclear,
            (true, Some(Some(id))) => Passed::Request(id),
            (false, Some(Some(id))) => Passed::Response(own_number(id.as_json())),
        }
    }

    /// Takes bytes of a string, up to its end or an escape; the rest.
    fn string<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if std::mem::take(&mut self.escaped) {
            self.keep(&bytes[..1]);
            return &bytes[1..];
        }
        let Some(at) = memchr2(b'"', b'\\', bytes) else {
            self.keep(bytes);
            return &[];
        };
        let (front, rest) = bytes.split_at(at + 1);
        self.keep(front);
        if bytes[at] == b'\\' {
            self.escaped = true;
        } else {
            self.in_string = false;
            self.string_over();
        }
        rest
    }

    fn string_over(&mut self) {
        match self.at {
            At::FirstName | At::Name => self.named(),
            At::Value => self.value_over(At::Comma),
            _ => {}
        }
    }

    /// Takes a byte that is in no string.
    fn byte(&mut self, byte: u8) {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.at = match (self.at, byte) {
            (At::Nested(depth), b'{' | b'[') => At::Nested(depth + 1),
            (At::Nested(1), b'}' | b']') => return self.value_over(At::Comma),
            (At::Nested(depth), b'}' | b']') => At::Nested(depth - 1),
            (At::Nested(_), b'"') => {
                self.in_string = true;
                return;
            }
            (At::Nested(_), _) => return,
            (At::Scalar, b',') => return self.value_over(At::Name),
            (At::Scalar, b'}') => return self.value_over(At::End),
            (At::Scalar, _) if is_space => return self.value_over(At::Comma),
            (At::Scalar, _) => return self.keep(&[byte]),
            (_, _) if is_space => return,
            (At::Begin, b'{') => At::FirstName,
            (At::FirstName | At::Name, b'"') => return self.begin(true, byte),
            (At::FirstName, b'}') => At::End,
            (At::Colon, b':') => At::Value,
            (At::Value, b'"') => return self.begin(self.is_of_use(), byte),
            (At::Value, b'{' | b'[') => At::Nested(1),
            (At::Value, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.text = self.is_of_use().then(|| vec![byte]);
                At::Scalar
            }
            (At::Comma, b',') => At::Name,
            (At::Comma, b'}') => At::End,
            _ => At::Broken,
        };
    }

    fn is_of_use(&self) -> bool {
        matches!(self.member, Member::Jsonrpc | Member::Id)
    }

    /// A string begins, which is of use or not.
    fn begin(&mut self, kept: bool, quote: u8) {
        self.in_string = true;
        self.text = kept.then(|| vec![quote]);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(text) = &mut self.text {
            let room = KEPT_BYTES_MAX.saturating_sub(text.len());
            text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// The name of a member is read. One that was cut is none that is of use.
    fn named(&mut self) {
        let name: Option<String> = self.text.take().and_then(|text| serde_json::from_slice(&text).ok());
        self.member = name.as_deref().map_or(Member::Other, Member::of);
        let bit = self.member.bit();
        self.at = if self.seen & bit == 0 { At::Colon } else { At::Broken };
        self.seen |= bit;
    }

    fn value_over(&mut self, at: At) {
        self.at = at;
        let text = self.text.take().and_then(|text| String::from_utf8(text).ok());
        match self.member {
            Member::Jsonrpc => {
                let version: Option<String> = text.and_then(|text| serde_json::from_str(&text).ok());
                self.is_ours = version.as_deref() == Some("2.0");
            }
            Member::Id => self.id = Some(text.and_then(|text| RequestId::new(&text))),
            _ => {}
        }
    }
}

impl Member {
    fn of(name: &str) -> Self {
        match name {
            "jsonrpc" => Self::Jsonrpc,
            "id" => Self::Id,
            "method" => Self::Method,
            "params" => Self::Params,
            "result" => Self::Result,
            "error" => Self::Error,
            _ => Self::Other,
        }
    }

    /// Any number of others may be there.
    fn bit(self) -> u8 {
        match self {
            Self::Other => 0,
            named => 1 << named as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acp::line::{ID_BYTES_MAX, Line, parse};
    use proptest::prelude::*;

    fn passed(line: &str, size: usize) -> Passed {
        let mut outline = Outline::default();
        line.as_bytes().chunks(size).for_each(|part| outline.push(part));
        outline.end()
    }

    fn id(text: &str) -> RequestId {
        RequestId::new(text).unwrap()
    }

    #[test]
    fn what_a_message_is_is_found_whatever_it_says_and_however_it_is_cut() {
        let inner = r#"{"id":66,"method":"no","jsonrpc":"1.0","t":"\"id\":67,}]\\"}"#;
        let cases = [
            (
                format!(r#"{{"jsonrpc":"2.0","id":5,"method":"m","params":{inner}}}"#),
                Passed::Request(id("5")),
            ),
            (
                format!(r#"{{"params":[{inner}],"method":"m","id":"a\"b","jsonrpc":"2.0"}}"#),
                Passed::Request(id(r#""a\"b""#)),
            ),
            (format!(r#"{{"jsonrpc":"2.0","method":"m","params":{inner}}}"#), Passed::Notification),
            (
                format!(
                    " {{ \"result\" : {inner} , \"\\u0069d\" : 17 ,\t\"jsonrpc\" : \"\\u0032.0\" }} \r\n"
                ),
                Passed::Response(Some(17)),
            ),
            (format!(r#"{{"jsonrpc":"2.0","error":{inner},"id":17.0}}"#), Passed::Response(Some(17))),
            (format!(r#"{{"jsonrpc":"2.0","id":"17","result":{inner}}}"#), Passed::Response(None)),
            (
                format!(r#"{{"jsonrpc":"2.0","id":null,"method":"m","params":{inner}}}"#),
                Passed::Request(id("null")),
            ),
            (format!(r#"{{"id":5,"method":"m","params":{inner}}}"#), Passed::Nothing),
            (format!(r#"{{"jsonrpc":"2.0","params":{inner}}}"#), Passed::Nothing),
            (format!(r#"[{{"jsonrpc":"2.0","id":5,"method":"m","params":{inner}}}]"#), Passed::Nothing),
            (format!("log: {inner}"), Passed::Nothing),
            (String::new(), Passed::Nothing),
        ];
        for (line, expected) in cases {
            for size in [1, 2, 3, 7, 1000] {
                assert_eq!(passed(&line, size), expected, "{line} cut at {size}");
            }
        }
    }

    #[test]
    fn a_message_whose_id_cannot_be_had_is_unclear() {
        let long = format!("\"{}\"", "i".repeat(ID_BYTES_MAX - 1));
        for broken in [
            r#"{"jsonrpc":"2.0","id":5,"method":"m","params":{"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":5,"method":"m","params":"no end}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":5,"method":"m"} {"jsonrpc":"2.0"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":5,"id":6,"method":"m"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":{"a":1},"method":"m"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":true,"method":"m"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":nul,"result":1}"#.to_owned(),
            format!(r#"{{"jsonrpc":"2.0","id":{long},"method":"m"}}"#),
        ] {
            assert_eq!(passed(&broken, 5), Passed::Unclear, "{broken:.100}");
        }
        let fits = format!("\"{}\"", "i".repeat(ID_BYTES_MAX - 2));
        let line = format!(r#"{{"jsonrpc":"2.0","id":{fits},"method":"m"}}"#);
        assert_eq!(passed(&line, 64), Passed::Request(id(&fits)));
    }

    #[test]
    fn it_takes_little_memory_however_long_a_line_is() {
        let mut outline = Outline::default();
        outline.push(br#"{"jsonrpc":"2.0","id":""#);
        (0..100_000).for_each(|_| outline.push(b"0123456789"));
        assert!(outline.text.as_ref().unwrap().len() <= KEPT_BYTES_MAX);
        outline.push(br#"","method":"m"}"#);
        assert_eq!(outline.end(), Passed::Unclear);
    }

    proptest! {
        /// What is read of a message that can be held is what is found of it as it passes.
        #[test]
        fn it_agrees_with_whoever_reads_the_whole(
            members in proptest::collection::vec(
                prop_oneof![
                    Just(r#""jsonrpc":"2.0""#), Just(r#""id":7"#), Just(r#""id":"x""#), Just(r#""method":"m""#),
                    Just(r#""params":{"id":[1,"}\\"]}"#), Just(r#""result":{"id":"\"x"}"#), Just(r#""e\\":-1.5e3"#),
                ],
                0..6,
            ),
            size in 1_usize..9,
        ) {
            let line = format!("{{{}}}", members.join(","));
            let expected = match parse(line.as_bytes()) {
                Line::Request { id, .. } => Passed::Request(id),
                Line::Notification { .. } => Passed::Notification,
                Line::Response { id, .. } => Passed::Response(id),
                _ => Passed::Nothing,
            };
            let found = passed(&line, size);
            let is_junk = expected == Passed::Nothing && found == Passed::Unclear;
            prop_assert!(found == expected || is_junk, "{line}: {found:?}, not {expected:?}");
        }
    }
}
