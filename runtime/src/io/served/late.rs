//! How a request for permission ended whose turn is over: what was shown of the turn says it.

use super::Served;
use crate::channels::Channel;
use crate::commands::Late;
use crate::commands::agents::{told, told_over, unknown_permission};
use crate::event;
use crate::filed::FiledBody;
use crate::io::history::{Asked, History, HistoryError, Live};
use crate::io::spools::TurnPlace;
use crate::span::Span;
use crate::task::turn_number;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::link::Publication;
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

/// What is told to whoever answers when the turn is over.
#[derive(Debug)]
pub enum LateAnswer {
    /// This: the turn is in memory, or never was.
    Known(Result<Value, ApiError>),
    /// What the turn's file says.
    Filed(LookUp),
}

/// What to look up in the files of a conversation.
#[derive(Debug)]
pub struct LookUp {
    late: Late,
    turn: u64,
    /// The last offset of the conversation that may be shown.
    top: u64,
}

impl Served {
    /// What is told to whoever answers when the turn is over: how it was answered before, or that the turn's end was first.
    /// Reads one event at most; files are for others to look into.
    pub fn late_permission(&mut self, late: Late) -> LateAnswer {
        let unknown = || unknown_permission(&late.task, &late.request);
        let Some(task) = self.folded.state.task(&late.task) else { return LateAnswer::Known(Err(unknown())) };
        let channel = Channel::Conversation(late.task.clone());
        let Some(span) = task.conversation.unfiled.iter().find(|span| span.turn == late.turn) else {
            return match turn_number(&late.turn) {
                Some(turn) => LateAnswer::Filed(LookUp::new(late, turn, self.top(&channel))),
                None => LateAnswer::Known(Err(unknown())),
            };
        };
        let answer = match said(span, late.seq) {
            None => Err(unknown()),
            Some(Said::Answered(answered)) => Ok(told(&late.task, &answered)),
            Some(Said::At(offset)) => self
                .read(&channel, offset.saturating_sub(1), 1, EVENT_BYTES)
                .map_err(ApiError::from)
                .and_then(|read| not_answered(&late, offset, &read)),
        };
        LateAnswer::Known(answer)
    }
}

impl LookUp {
    /// What to look up of the turn with this number, `top` being the last offset that may be shown.
    pub fn new(late: Late, turn: u64, top: u64) -> Self {
        Self { late, turn, top }
    }

    /// Looks into a few of the conversation's files, each of which may be long: not for a loop.
    ///
    /// # Errors
    /// `INVALID_REQUEST` where there was no such request, or what was said then is gone; `UNAVAILABLE` where it cannot be
    /// read now.
    pub fn find(&self, home: &Home) -> Result<Value, ApiError> {
        let Self { late, turn, top } = self;
        let unknown = || unknown_permission(&late.task, &late.request);
        let unreadable = |error: HistoryError| {
            let message = format!("conversation {} cannot be read: {error}", late.task);
            ApiError::new(Code::Unavailable, message)
        };
        let mut history = History::new(home.clone());
        let filed = history.turn(&late.task, *turn).map_err(unreadable)?.ok_or_else(unknown)?;
        let FiledBody::Turn { span, .. } = &filed.body else { return Err(unknown()) };
        let offset = match said(span, late.seq).ok_or_else(unknown)? {
            Said::Answered(answered) => return Ok(told(&late.task, &answered)),
            Said::At(offset) => offset,
        };
        let nothing = Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top: *top };
        let asked = Asked { after: offset.saturating_sub(1), max_bytes: EVENT_BYTES, limit: 1 };
        let read = history.read(&late.task, &nothing, asked, &()).map_err(unreadable)?;
        not_answered(late, offset, &read)
    }
}

/// What is told where the event at `offset` is the request, which nobody answered.
fn not_answered(late: &Late, offset: u64, read: &[Publication]) -> Result<Value, ApiError> {
    let shown = read.first().filter(|one| one.offset == offset);
    let event: Option<Value> = shown.and_then(|one| serde_json::from_slice(&one.data).ok());
    let is_it = event.is_some_and(|event| {
        event["type"] == event::PERMISSION_REQUESTED && event["request"] == *late.request
    });
    match is_it {
        true => Ok(told_over(&late.task, &late.request)),
        false => Err(unknown_permission(&late.task, &late.request)),
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
