//! What browsers read of a line of an agent.
//!
//! Made anew from the record at each reading, so it depends on the line, the turn and the record's number alone.
//! What the agent said is passed on as it was written.

use crate::acp::excerpt::excerpt;
use crate::acp::line::Head;
use crate::acp::permission::RawPermission;
use crate::acp::{SHOWN_BYTES_MAX, method, text};
use crate::event::{output, permission_name, quote, say_too_long, skip, too_long};
use holdfast_shared::spool::Stream;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The text of the event of a whole line (or, of standard error, of a record) whose last record bears number `seq`:
///
/// - an update of the session: `turn.update` with the update as it was written;
/// - a request for permission that can be answered: `permission.requested`;
/// - a line that is no message, and standard error: `turn.output`, invalid UTF-8 replaced;
/// - all else, and blank lines: `turn.skip`.
///
/// Of a line over [`SHOWN_BYTES_MAX`] that would be shown: `turn.skip` with `reason` and `bytes`; of a report of a tool call
/// `turn.update` with what of it is short, and the same two fields.
pub fn event(turn: &str, seq: u64, stream: Stream, line: &[u8]) -> Vec<u8> {
    if stream == Stream::Stderr {
        return output(turn, stream, line);
    }
    if line.trim_ascii().is_empty() {
        return skip(turn);
    }
    let readable = text::readable(line);
    let head = readable.as_deref().and_then(Head::read);
    let bytes = line.len();
    match head {
        Some(head) if bytes > SHOWN_BYTES_MAX => {
            shown_in_part(turn, &head, bytes).unwrap_or_else(|| skip(turn))
        }
        None if bytes > SHOWN_BYTES_MAX => too_long(turn, Some(bytes as u64)),
        Some(head) => shown(turn, seq, &head).unwrap_or_else(|| skip(turn)),
        None => output(turn, stream, line),
    }
}

/// The event of a message that is too long; `None` where there is nothing to show.
fn shown_in_part(turn: &str, head: &Head<'_>, bytes: usize) -> Option<Vec<u8>> {
    let params = head.params?;
    let bytes = Some(bytes as u64);
    match head.id {
        None if head.is_method(method::SESSION_UPDATE) => {
            let update = update_of(params)?;
            let Some(excerpt) = excerpt(update) else { return Some(too_long(turn, bytes)) };
            let mut event = updated(turn, &excerpt);
            event.pop();
            say_too_long(&mut event, bytes);
            event.push(b'}');
            Some(event)
        }
        // Refused, as nobody can answer it.
        Some(_) if head.is_method(method::REQUEST_PERMISSION) => Some(too_long(turn, bytes)),
        _ => None,
    }
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
    Some(updated(turn, update_of(params)?))
}

/// The update in the parameters, an object's text.
fn update_of(params: &RawValue) -> Option<&str> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        update: &'a RawValue,
    }
    // serde would read an array as the members in order.
    let params: Params<'_> =
        params.get().starts_with('{').then(|| serde_json::from_str(params.get()).ok())??;
    Some(params.update.get()).filter(|update| update.starts_with('{'))
}

fn updated(turn: &str, update: &str) -> Vec<u8> {
    let mut event = Vec::with_capacity(update.len() + turn.len() + 64);
    event.extend_from_slice(br#"{"type":"turn.update","turn":"#);
    quote(&mut event, turn);
    event.extend_from_slice(br#","update":"#);
    event.extend_from_slice(update.as_bytes());
    event.push(b'}');
    event
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
