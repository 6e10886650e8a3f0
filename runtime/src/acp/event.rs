//! What browsers read of a line of an agent.
//!
//! Made anew from the record at each reading, so it depends on the line, the turn and the record's number alone.
//! What the agent said is passed on as it was written.

use crate::acp::line::Head;
use crate::acp::permission::RawPermission;
use crate::acp::{SHOWN_BYTES_MAX, method, text};
use crate::event::{output, permission_name, quote, skip};
use holdfast_shared::spool::Stream;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The text of the event of a whole line (or, of standard error, of a record) whose last record bears number `seq`:
///
/// - an update of the session: `turn.update` with the update as it was written;
/// - a request for permission that can be answered: `permission.requested`;
/// - a line that is no message, and standard error: `turn.output`, invalid UTF-8 replaced;
/// - all else, blank lines, and lines over [`SHOWN_BYTES_MAX`]: `turn.skip`.
pub fn event(turn: &str, seq: u64, stream: Stream, line: &[u8]) -> Vec<u8> {
    if stream == Stream::Stderr {
        return output(turn, stream, line);
    }
    if line.len() > SHOWN_BYTES_MAX || line.trim_ascii().is_empty() {
        return skip(turn);
    }
    let readable = text::readable(line);
    let Some(head) = readable.as_deref().and_then(Head::read) else { return output(turn, stream, line) };
    shown(turn, seq, &head).unwrap_or_else(|| skip(turn))
}

/// The event of a message; `None` where there is nothing to show.
fn shown(turn: &str, seq: u64, head: &Head<'_>) -> Option<Vec<u8>> {
    let params = head.params?;
    match head.id {
        None if head.is_method(method::SESSION_UPDATE) => update(turn, params),
        Some(_) if head.is_method(method::REQUEST_PERMISSION) => permission_requested(turn, seq, params),
        _ => None,
    }
}

fn update(turn: &str, params: &RawValue) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        update: &'a RawValue,
    }
    // serde would read an array as the members in order.
    let params: Params<'_> =
        params.get().starts_with('{').then(|| serde_json::from_str(params.get()).ok())??;
    let update = Some(params.update.get()).filter(|update| update.starts_with('{'))?;
    let mut event = Vec::with_capacity(update.len() + turn.len() + 64);
    event.extend_from_slice(br#"{"type":"turn.update","turn":"#);
    quote(&mut event, turn);
    event.extend_from_slice(br#","update":"#);
    event.extend_from_slice(update.as_bytes());
    event.push(b'}');
    Some(event)
}

fn permission_requested(turn: &str, seq: u64, params: &RawValue) -> Option<Vec<u8>> {
    let asked = RawPermission::read(params)?;
    let mut event = Vec::with_capacity(params.get().len() + turn.len() + 96);
    event.extend_from_slice(br#"{"type":"permission.requested","turn":"#);
    quote(&mut event, turn);
    event.extend_from_slice(br#","request":"#);
    quote(&mut event, &permission_name(turn, seq));
    event.extend_from_slice(br#","tool_call":"#);
    event.extend_from_slice(asked.tool_call.get().as_bytes());
    event.extend_from_slice(br#","options":"#);
    event.extend_from_slice(asked.options.get().as_bytes());
    event.push(b'}');
    Some(event)
}

#[cfg(test)]
mod tests;
