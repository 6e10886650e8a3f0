//! How a request for permission ended whose turn is over: what was shown of the turn says it.

use super::Served;
use crate::channels::Channel;
use crate::commands::Late;
use crate::commands::agents::{told, told_over, unknown_permission};
use crate::event;
use crate::filed::FiledBody;
use crate::span::Span;
use crate::task::turn_number;
use holdfast_shared::error::{ApiError, Code};
use serde_json::Value;

/// Room for the event of one request: the longest that is shown, with what is put around it.
const EVENT_BYTES: usize = 1024 * 1024;

/// What the span of an ended turn says of a request.
enum Said {
    /// How it was answered.
    Answered(Value),
    /// It was not; if there was one, it was shown at this offset.
    At(u64),
}

impl Served {
    /// What is told to whoever answers when the turn is over: how it was answered before, or that the turn's end was first.
    ///
    /// # Errors
    /// `INVALID_REQUEST` where there was no such request, or what was said then is gone; `UNAVAILABLE` where it cannot be
    /// read now.
    pub fn late_permission(&mut self, late: &Late) -> Result<Value, ApiError> {
        let unknown = || unknown_permission(&late.task, &late.request);
        let offset = match self.said_of(late)?.ok_or_else(unknown)? {
            Said::Answered(answered) => return Ok(told(&late.task, &answered)),
            Said::At(offset) => offset,
        };
        let channel = Channel::Conversation(late.task.clone());
        let read = self.read(&channel, offset.saturating_sub(1), 1, EVENT_BYTES)?;
        let shown = read.first().filter(|one| one.offset == offset);
        let event: Option<Value> = shown.and_then(|one| serde_json::from_slice(&one.data).ok());
        let is_it = event.is_some_and(|event| {
            event["type"] == event::PERMISSION_REQUESTED && event["request"] == *late.request
        });
        if is_it { Ok(told_over(&late.task, &late.request)) } else { Err(unknown()) }
    }

    fn said_of(&mut self, late: &Late) -> Result<Option<Said>, ApiError> {
        let Some(task) = self.folded.state.task(&late.task) else { return Ok(None) };
        if let Some(span) = task.conversation.unfiled.iter().find(|span| span.turn == late.turn) {
            return Ok(said(span, late.seq));
        }
        let Some(number) = turn_number(&late.turn) else { return Ok(None) };
        let filed = self.history.turn(&late.task, number).map_err(|error| {
            let message = format!("conversation {} cannot be read: {error}", late.task);
            ApiError::new(Code::Unavailable, message)
        })?;
        Ok(filed.and_then(|filed| match &filed.body {
            FiledBody::Turn { span, .. } => said(span, late.seq),
            FiledBody::Truncated(_) => None,
        }))
    }
}

fn said(span: &Span, seq: u64) -> Option<Said> {
    if let Some(answered) = span.permission(seq) {
        return Some(Said::Answered(answered.clone()));
    }
    let number = seq.checked_sub(span.base).filter(|number| *number > 0)?;
    let is_there = span.sealed.as_ref().is_some_and(|seal| number <= seal.outputs);
    is_there.then(|| Said::At(span.offset_of_output(number)))
}
