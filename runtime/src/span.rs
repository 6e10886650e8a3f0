//! The one order of a conversation: journal events and output records of a worker, merged (DESIGN.md 6 "Order").
//!
//! A conversation is a sequence of spans. A span begins with `turn.started` of a turn and ends with that turn's
//! `turn.sealed`; the next one begins at the offset behind it. Between them lie the output records of the turn's
//! worker, and the journal events of the conversation, each at its place: `after` output records. A span holds
//! only what the journal said; how many output records there are is the spool's to say, until the seal fixes it.
//!
//! An event lies at `first + after + (events before it)`, output record `k` (counted from 1) at
//! `first + (k - 1) + (events with after < k)`. So an offset depends on nothing but the journal and the spool, and
//! an event at place `n` comes directly behind output record `n`, before record `n + 1`.

mod seal;

use crate::event;
pub use seal::{Seal, StopReason};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The highest offset there can be: what a browser can count to exactly.
pub const OFFSET_MAX: u64 = 1 << 53;

/// A journal event in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// Output records of the span's worker that come before it.
    pub after: u64,
    /// The event, as browsers get it.
    pub data: Value,
}

/// One turn's stretch of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The conversation, which bears its task's id.
    pub conversation: String,
    /// The conversation's epoch when the span began.
    pub epoch: String,
    /// Offset of its first event, `turn.started`.
    pub first: u64,
    /// The turn it belongs to.
    pub turn: String,
    /// The spawn id whose spool holds its output records. A turn started again after a worker that was lost
    /// before its start (and so wrote nothing) names the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The segment of that spool which holds them, once the turn is sealed; one of a standing worker's, or 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub segment: u32,
    /// The worker's output records before that segment: output record `k` of the turn is its record `base + k`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub base: u64,
    /// Workers ordered before that one, which never started: their directories go when the span is filed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<String>,
    /// The journal events in order, `turn.started` first; `after` never decreases.
    pub events: Vec<SpanEvent>,
    /// Present once the last event is the turn's `turn.sealed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Seal>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// What lies at an offset of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The journal event with this index.
    Event(usize),
    /// The output record with this number, counted from 1.
    Output(u64),
}

/// What follows an offset without a break of kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// The journal event with this index.
    Event(usize),
    /// Output records from `first` to `last`, both included, at consecutive offsets.
    Outputs {
        /// The one at the offset.
        first: u64,
        /// The last before the next event, or the last there is.
        last: u64,
    },
}

/// A span that breaks the rules of its order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// An event would lie before one that is already placed.
    #[error(
        "span {first} of turn {turn}: event placed after {after} output records, behind one after {last}"
    )]
    Backwards {
        /// The span's turn.
        turn: String,
        /// The span's first offset.
        first: u64,
        /// The place refused.
        after: u64,
        /// The place of the last event.
        last: u64,
    },
    /// The turn is sealed: nothing comes behind it.
    #[error("span {first} of turn {turn}: event placed behind the seal")]
    BehindSeal {
        /// The span's turn.
        turn: String,
        /// The span's first offset.
        first: u64,
    },
    /// It does not begin with an event before all output, at an offset from 1.
    #[error("span {first} of turn {turn}: does not begin with its own first event")]
    NoBeginning {
        /// The span's turn.
        turn: String,
        /// The span's first offset.
        first: u64,
    },
    /// An offset or place is above [`OFFSET_MAX`].
    #[error("span {first} of turn {turn}: its offsets go beyond what can be counted")]
    TooFar {
        /// The span's turn.
        turn: String,
        /// The span's first offset.
        first: u64,
    },
    /// The seal does not lie behind all output records it counts.
    #[error(
        "span {first} of turn {turn}: sealed with {outputs} output records, but the last event is after {last}"
    )]
    BadSeal {
        /// The span's turn.
        turn: String,
        /// The span's first offset.
        first: u64,
        /// Output records of the seal.
        outputs: u64,
        /// Place of the last event.
        last: u64,
    },
}

impl Span {
    /// A span that begins with `started` at offset `first` (at least 1), still without a worker.
    pub fn begin(conversation: &str, epoch: &str, first: u64, turn: &str, started: Value) -> Self {
        Self {
            conversation: conversation.to_owned(),
            epoch: epoch.to_owned(),
            first,
            turn: turn.to_owned(),
            worker: None,
            segment: 0,
            base: 0,
            given_up: Vec::new(),
            events: vec![SpanEvent { after: 0, data: started }],
            sealed: None,
        }
    }

    /// How a request for permission was answered, its line ending with this record of the span's worker.
    pub fn permission(&self, seq: u64) -> Option<&Value> {
        let request = event::permission_name(&self.turn, seq);
        let mut events = self.events.iter().map(|event| &event.data);
        events.find(|data| data["type"] == event::PERMISSION_ANSWERED && data["request"] == *request)
    }

    /// Places a journal event behind `after` output records and answers its offset. Changes nothing on error.
    pub fn place(&mut self, after: u64, data: Value) -> Result<u64, Misplaced> {
        if self.sealed.is_some() {
            return Err(Misplaced::BehindSeal { turn: self.turn.clone(), first: self.first });
        }
        let last = self.last_after();
        if after < last {
            return Err(Misplaced::Backwards { turn: self.turn.clone(), first: self.first, after, last });
        }
        self.events.push(SpanEvent { after, data });
        Ok(self.offset_of_event(self.events.len() - 1))
    }

    /// Places the turn's `turn.sealed` behind all of `seal.outputs` and answers its offset: the running total of
    /// the conversation. Changes nothing on error.
    pub fn seal(&mut self, data: Value, seal: Seal) -> Result<u64, Misplaced> {
        let offset = self.place(seal.outputs, data)?;
        self.sealed = Some(seal);
        Ok(offset)
    }

    /// The offset of the event with this index.
    ///
    /// # Panics
    /// When there is no such event.
    pub fn offset_of_event(&self, index: usize) -> u64 {
        self.first + self.events[index].after + index as u64
    }

    /// The offset of output record `number` (from 1), whether or not it exists yet.
    pub fn offset_of_output(&self, number: u64) -> u64 {
        let events_before = self.events.partition_point(|event| event.after < number);
        self.first + (number - 1) + events_before as u64
    }

    /// What lies at `offset`; `None` before the span, or behind its seal. While it is open there is no end: an
    /// output record may be answered that does not exist yet.
    pub fn locate(&self, offset: u64) -> Option<Place> {
        let within = offset.checked_sub(self.first)?;
        let index = self.first_event_from(offset);
        match self.events.get(index) {
            Some(event) if event.after + index as u64 == within => Some(Place::Event(index)),
            Some(_) => Some(Place::Output(within - index as u64 + 1)),
            None if self.sealed.is_some() => None,
            None => Some(Place::Output(within - index as u64 + 1)),
        }
    }

    /// What lies from `offset` on, given that `outputs` output records may be shown; `None` where nothing does.
    pub fn stretch(&self, offset: u64, outputs: u64) -> Option<Stretch> {
        match self.locate(offset)? {
            Place::Event(index) => Some(Stretch::Event(index)),
            Place::Output(first) => {
                let next = self.events.get(self.first_event_from(offset));
                let last = next.map_or(outputs, |event| event.after);
                (first <= last).then_some(Stretch::Outputs { first, last })
            }
        }
    }

    /// Index of the first event at or behind `offset`.
    pub fn first_event_from(&self, offset: u64) -> usize {
        let within = offset.saturating_sub(self.first);
        // The offsets of events strictly ascend, so this is a binary search.
        let (mut low, mut high) = (0, self.events.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.events[middle].after + (middle as u64) < within {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The last offset, given that `outputs` output records are there (a seal overrules it, and so does an event
    /// placed behind more of them).
    pub fn last_offset(&self, outputs: u64) -> u64 {
        let outputs = match &self.sealed {
            Some(seal) => seal.outputs,
            None => outputs.max(self.last_after()),
        };
        self.first + outputs + self.events.len() as u64 - 1
    }

    /// The running total at the seal; `None` while open.
    pub fn total(&self) -> Option<u64> {
        self.sealed.as_ref().map(|seal| self.last_offset(seal.outputs))
    }

    /// The place of the last event: every output record up to it exists, since the active had seen it.
    pub fn last_after(&self) -> u64 {
        self.events.last().map_or(0, |event| event.after)
    }

    /// Checks what came from a file: whatever [`place`](Self::place) and [`seal`](Self::seal) would have refused.
    pub fn check(&self) -> Result<(), Misplaced> {
        let (turn, first) = (&self.turn, self.first);
        if first == 0 || self.events.first().is_none_or(|event| event.after != 0) {
            return Err(Misplaced::NoBeginning { turn: turn.clone(), first });
        }
        let places = self.events.iter().map(|event| event.after);
        if places.chain([first]).any(|number| number > OFFSET_MAX) {
            return Err(Misplaced::TooFar { turn: turn.clone(), first });
        }
        if let Some(pair) = self.events.windows(2).find(|pair| pair[1].after < pair[0].after) {
            let (after, last) = (pair[1].after, pair[0].after);
            return Err(Misplaced::Backwards { turn: turn.clone(), first, after, last });
        }
        match &self.sealed {
            Some(seal) if seal.outputs != self.last_after() => {
                let (outputs, last) = (seal.outputs, self.last_after());
                Err(Misplaced::BadSeal { turn: turn.clone(), first, outputs, last })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
