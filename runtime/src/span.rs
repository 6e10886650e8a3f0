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

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The worker ended it.
    EndTurn,
    /// Cancelled by command.
    Cancelled,
    /// The worker failed.
    Failed,
    /// The worker was lost, or its prompt could not be given to it again.
    Interrupted,
    /// The output quota was reached.
    Limit,
}

impl StopReason {
    /// The name in events and listings.
    pub fn name(self) -> &'static str {
        match self {
            StopReason::EndTurn => "end_turn",
            StopReason::Cancelled => "cancelled",
            StopReason::Failed => "failed",
            StopReason::Interrupted => "interrupted",
            StopReason::Limit => "limit",
        }
    }
}

/// The end of a span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Why the turn ended.
    pub stop_reason: StopReason,
    /// The worker's exit code, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it was sealed, unix milliseconds.
    pub sealed_at: u64,
    /// All output records of the span.
    pub outputs: u64,
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
    /// Workers ordered before that one, which never started: their directories go when the span is filed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<String>,
    /// The journal events in order, `turn.started` first; `after` never decreases.
    pub events: Vec<SpanEvent>,
    /// Present once the last event is the turn's `turn.sealed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Seal>,
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
            given_up: Vec::new(),
            events: vec![SpanEvent { after: 0, data: started }],
            sealed: None,
        }
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn seal(outputs: u64) -> Seal {
        Seal { stop_reason: StopReason::EndTurn, exit_code: Some(0), sealed_at: 7, outputs }
    }

    /// The merge as a reader would do it by hand: behind each output record the events of that place.
    fn merged(span: &Span, outputs: u64) -> Vec<Place> {
        let at = |place: u64| {
            let events = span.events.iter().enumerate();
            events.filter(move |(_, event)| event.after == place).map(|(index, _)| Place::Event(index))
        };
        let mut places: Vec<Place> = at(0).collect();
        for number in 1..=outputs {
            places.push(Place::Output(number));
            places.extend(at(number));
        }
        places
    }

    /// A span from the gaps between its events; the last gap is before the seal, or output behind the last event.
    fn span(first: u64, gaps: &[u64], sealed: bool) -> (Span, u64) {
        let mut span = Span::begin("c", "e", first, "t1", json!(0));
        let mut after = 0;
        for (index, gap) in gaps.iter().enumerate() {
            after += gap;
            if index + 1 < gaps.len() {
                span.place(after, json!(index)).unwrap();
            }
        }
        if sealed {
            span.seal(json!("sealed"), seal(after)).unwrap();
        }
        (span, after)
    }

    proptest! {
        #[test]
        fn offsets_are_the_merge_without_a_gap(
            first in 1..1_000_000u64, gaps in prop::collection::vec(0..5u64, 0..12), sealed: bool,
        ) {
            let (span, outputs) = span(first, &gaps, sealed);
            prop_assert_eq!(span.check(), Ok(()));
            let places = merged(&span, outputs);
            prop_assert_eq!(span.last_offset(outputs), first + places.len() as u64 - 1);
            prop_assert_eq!(span.total(), sealed.then(|| span.last_offset(outputs)));
            for (offset, place) in (first..).zip(&places) {
                prop_assert_eq!(span.locate(offset), Some(*place));
                let back = match *place {
                    Place::Event(index) => span.offset_of_event(index),
                    Place::Output(number) => span.offset_of_output(number),
                };
                prop_assert_eq!(back, offset);
            }
            prop_assert_eq!(span.locate(first - 1), None);
            let mut stretched = Vec::new();
            while let Some(stretch) = span.stretch(first + stretched.len() as u64, outputs) {
                match stretch {
                    Stretch::Event(index) => stretched.push(Place::Event(index)),
                    Stretch::Outputs { first, last } => stretched.extend((first..=last).map(Place::Output)),
                }
            }
            prop_assert_eq!(stretched, places.clone());
            let behind = span.locate(first + places.len() as u64);
            prop_assert_eq!(behind, (!sealed).then_some(Place::Output(outputs + 1)));
        }

        #[test]
        fn a_later_event_moves_nothing_that_lies_before_it(
            gaps in prop::collection::vec(0..5u64, 1..8), more in 0..5u64,
        ) {
            let (mut span, outputs) = span(1, &gaps, false);
            let before = span.clone();
            let offset = span.place(outputs + more, json!("late")).unwrap();
            for offset in 1..offset {
                prop_assert_eq!(span.locate(offset), before.locate(offset));
            }
        }

        #[test]
        fn a_span_survives_its_own_text(gaps in prop::collection::vec(0..5u64, 0..8), sealed: bool) {
            let (span, _) = span(3, &gaps, sealed);
            let text = serde_json::to_vec(&span).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Span>(&text).unwrap(), span);
        }
    }

    #[test]
    fn what_breaks_the_order_is_refused_and_changes_nothing() {
        let mut span = Span::begin("c", "e", 1, "t1", json!(0));
        span.place(4, json!(1)).unwrap();
        let kept = span.clone();
        assert!(matches!(span.place(3, json!(2)), Err(Misplaced::Backwards { after: 3, last: 4, .. })));
        assert!(matches!(span.seal(json!(2), seal(3)), Err(Misplaced::Backwards { .. })));
        assert_eq!(span, kept);
        assert_eq!(span.seal(json!(2), seal(4)), Ok(7));
        assert!(matches!(span.place(9, json!(3)), Err(Misplaced::BehindSeal { .. })));
    }

    #[test]
    fn what_a_file_says_is_checked() {
        let (good, _) = span(1, &[2, 3], true);
        let mut bad = good.clone();
        bad.first = 0;
        assert!(matches!(bad.check(), Err(Misplaced::NoBeginning { .. })));
        let mut bad = good.clone();
        bad.events[0].after = 1;
        assert!(matches!(bad.check(), Err(Misplaced::NoBeginning { .. })));
        let mut bad = good.clone();
        bad.events[1].after = 9;
        assert!(matches!(bad.check(), Err(Misplaced::Backwards { .. })));
        let mut bad = good.clone();
        bad.events[1].after = u64::MAX;
        assert!(matches!(bad.check(), Err(Misplaced::TooFar { .. })));
        let mut bad = good;
        bad.sealed = Some(seal(4));
        assert!(matches!(bad.check(), Err(Misplaced::BadSeal { outputs: 4, last: 5, .. })));
    }
}
