//! What browsers read on `conversation:<id>`: objects with `type` and `turn` (DESIGN.md 10).
//!
//! Journal events are made once and kept; the events of output records are made from the record at each reading,
//! so that the spool stays what the worker wrote. The latter are written as text directly: they are the bulk.

use crate::record::PermissionAnswered;
use crate::span::{Seal, StopReason};
use holdfast_shared::spool::Stream;
use serde_json::{Value, json};

/// The type of [`permission_answered`].
pub const PERMISSION_ANSWERED: &str = "permission.answered";

/// The type of the event in which an agent asks for permission.
pub const PERMISSION_REQUESTED: &str = "permission.requested";

/// The name of a request for permission whose line ends with this record of a turn's worker. Records of another turn's
/// worker may bear the same numbers, so the turn is a part of the name.
pub fn permission_name(turn: &str, seq: u64) -> String {
    format!("{turn}.{seq}")
}

/// What such a name says.
pub fn named_permission(name: &str) -> Option<(&str, u64)> {
    let (turn, seq) = name.rsplit_once('.')?;
    let number = seq.parse().ok()?;
    (permission_name(turn, number) == name).then_some((turn, number))
}

/// A turn begins.
pub fn turn_started(turn: &str, text: &str, at: u64) -> Value {
    json!({"type": "turn.started", "turn": turn, "text": text, "at": at})
}

/// A prompt waits behind the running turn.
pub fn turn_queued(turn: &str, text: &str, at: u64) -> Value {
    json!({"type": "turn.queued", "turn": turn, "text": text, "at": at})
}

/// A turn ended, or a queued one was taken back (`cancelled`, without an exit code).
pub fn turn_sealed(turn: &str, seal: &Seal) -> Value {
    let mut event = sealed(turn, seal.stop_reason, seal.exit_code, seal.sealed_at);
    if let Some(code) = &seal.code {
        event["code"] = json!(code);
    }
    if let Some(detail) = &seal.detail {
        event["detail"] = json!(detail);
    }
    if let Some(usage) = &seal.usage {
        event["usage"] = json!(usage);
    }
    event
}

/// An agent's request for permission was answered.
pub fn permission_answered(answered: &PermissionAnswered, at: u64) -> Value {
    let mut event = json!({
        "type": PERMISSION_ANSWERED, "turn": answered.turn, "request": permission_name(&answered.turn, answered.seq),
        "outcome": answered.outcome, "at": at,
    });
    if let Some(option) = &answered.option_id {
        event["option_id"] = json!(option);
    }
    if let Some(by) = &answered.by {
        event["by"] = json!(by);
    }
    if answered.withdrawn {
        event["withdrawn"] = json!(true);
    }
    event
}

/// The turn's agent could not take up its session and has begun anew: it knows nothing of the turns before.
pub fn session_lost(turn: &str, at: u64) -> Value {
    json!({"type": "session.lost", "turn": turn, "at": at})
}

/// A queued turn was taken back before it began.
pub fn turn_dequeued(turn: &str, at: u64) -> Value {
    sealed(turn, StopReason::Cancelled, None, at)
}

fn sealed(turn: &str, stop_reason: StopReason, exit_code: Option<i32>, at: u64) -> Value {
    let mut event = json!({"type": "turn.sealed", "turn": turn, "stop_reason": stop_reason.name(), "at": at});
    if let Some(code) = exit_code {
        event["exit_code"] = json!(code);
    }
    event
}

/// Stands at `last` for everything of the conversation from `first` to `last`, which is there no longer.
pub fn truncated(turn: &str, first: u64, last: u64, reason: &str) -> Value {
    json!({"type": "truncated", "turn": turn, "first": first, "last": last, "reason": reason})
}

/// The text of the event of an output record of the `command` skill; a record with nothing to show is `turn.skip`.
/// Invalid UTF-8 is replaced.
pub fn output(turn: &str, stream: Stream, bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return skip(turn);
    }
    let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 80);
    text.extend_from_slice(br#"{"type":"turn.output","turn":"#);
    quote(&mut text, turn);
    text.extend_from_slice(br#","stream":""#);
    text.extend_from_slice(stream.name().as_bytes());
    text.extend_from_slice(br#"","text":"#);
    quote(&mut text, &String::from_utf8_lossy(bytes));
    text.push(b'}');
    text
}

/// The text of the event of a record with nothing to show.
pub fn skip(turn: &str) -> Vec<u8> {
    let mut text = br#"{"type":"turn.skip","turn":"#.to_vec();
    quote(&mut text, turn);
    text.push(b'}');
    text
}

/// Why something is not shown whole: it is longer than a watcher gets.
pub const REASON_TOO_LONG: &str = "too_long";

/// The text of the event of a message that is too long to be shown, of so many bytes where that is known. To readers of
/// earlier releases it has nothing to show.
pub fn too_long(turn: &str, bytes: Option<u64>) -> Vec<u8> {
    let mut text = skip(turn);
    text.pop();
    say_too_long(&mut text, bytes);
    text.push(b'}');
    text
}

/// Appends the fields that say so.
pub(crate) fn say_too_long(to: &mut Vec<u8>, bytes: Option<u64>) {
    to.extend_from_slice(br#","reason":"#);
    quote(to, REASON_TOO_LONG);
    if let Some(bytes) = bytes {
        to.extend_from_slice(format!(",\"bytes\":{bytes}").as_bytes());
    }
}

/// Appends the JSON text of a string.
pub(crate) fn quote(to: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(to, text).expect("a string has JSON text and a vector takes it");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Value {
        serde_json::from_slice(text).unwrap()
    }

    #[test]
    fn output_names_its_stream_and_keeps_its_text() {
        let event = parsed(&output("t1", Stream::Stderr, "a\"\\\n\u{1b}[0m\u{2028}é".as_bytes()));
        assert_eq!(
            event,
            json!({"type": "turn.output", "turn": "t1", "stream": "stderr", "text": "a\"\\\n\u{1b}[0m\u{2028}é"})
        );
        assert_eq!(parsed(&output("t1", Stream::Stdout, b"x"))["stream"], "stdout");
    }

    #[test]
    fn invalid_text_is_replaced_and_nothing_to_show_is_skipped() {
        let event = parsed(&output("t1", Stream::Stdout, b"a\xffb\0"));
        assert_eq!(event["text"], "a\u{fffd}b\0");
        assert_eq!(
            parsed(&output("t\"9", Stream::Stdout, b"")),
            json!({"type": "turn.skip", "turn": "t\"9"})
        );
    }

    #[test]
    fn a_seal_has_an_exit_code_only_where_there_is_one() {
        let mut seal = Seal::new(StopReason::Limit, None, 5, 3);
        let event = json!({"type": "turn.sealed", "turn": "t2", "stop_reason": "limit", "at": 5});
        assert_eq!(turn_sealed("t2", &seal), event);
        seal.exit_code = Some(137);
        assert_eq!(turn_sealed("t2", &seal)["exit_code"], 137);
        assert_eq!(turn_dequeued("t3", 6)["stop_reason"], "cancelled");
    }
}
