//! A conversation's live part: the span that is open, and sealed ones until they are filed. Pure.

use crate::event;
use crate::span::{Seal, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Sealed spans that may wait to be filed; past it new prompts are refused with `STORAGE_FULL`, since it is the
/// disk that keeps them from it.
pub const UNFILED_SPANS: usize = 64;

/// Bytes of the open span's events; past it nothing more is queued or dequeued while its turn runs. With what a stop
/// and a seal add, a file of it stays far below the largest that is read.
pub const OPEN_EVENTS_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of the open span's events beyond that which answers to requests for permission may take: an agent waits for each
/// of them, and people must be able to give them however much was queued. Tens of thousands of answers.
pub const ANSWER_EVENTS_BYTES: u64 = 16 * 1024 * 1024;

/// What is said in one task. Everything older than the spans here is in files of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Changes when positions in it are no longer good: after a power cut.
    pub epoch: String,
    /// Offset of the last event of the last sealed span: the running total.
    pub total: u64,
    /// The span of the turn that runs.
    pub open: Option<Span>,
    /// Bytes of what was placed in the open span, as text. Only refusals depend on it.
    #[serde(default)]
    pub open_bytes: u64,
    /// Sealed spans that are not filed yet, oldest first.
    pub unfiled: Vec<Span>,
}

impl Conversation {
    /// One in which nothing was said.
    pub fn new(epoch: &str) -> Self {
        Self { epoch: epoch.to_owned(), total: 0, open: None, open_bytes: 0, unfiled: Vec::new() }
    }

    /// Opens the span of a turn and answers the offset of its first event.
    pub fn begin(&mut self, conversation: &str, turn: &str, worker: &str, started: Value) -> u64 {
        let first = self.total + 1;
        let mut span = Span::begin(conversation, &self.epoch, first, turn, started);
        span.worker = Some(worker.to_owned());
        self.open = Some(span);
        self.open_bytes = 0;
        first
    }

    /// Places an event in the open span and answers its offset. A place before one that is taken is moved behind
    /// it, so that a fold never fails: whoever decides picks places in order.
    pub fn place(&mut self, after: u64, data: Value) -> Option<u64> {
        let span = self.open.as_mut()?;
        let bytes = data.to_string().len() as u64;
        let offset = span.place(after.max(span.last_after()), data).ok()?;
        self.open_bytes += bytes;
        Some(offset)
    }

    /// Whether the open span has as many events as it may.
    pub fn is_full(&self) -> bool {
        self.open_bytes > OPEN_EVENTS_BYTES
    }

    /// Whether it has so many that not even a request for permission can be answered.
    pub fn takes_no_answer(&self) -> bool {
        self.open_bytes > OPEN_EVENTS_BYTES + ANSWER_EVENTS_BYTES
    }

    /// Seals the open span, whose output lies in a segment behind `base` records, and answers the offset of its seal.
    pub fn seal(&mut self, mut seal: Seal, segment: u32, base: u64) -> Option<u64> {
        let mut span = self.open.take()?;
        (span.segment, span.base) = (segment, base);
        seal.outputs = seal.outputs.max(span.last_after());
        let data = event::turn_sealed(&span.turn, &seal);
        let offset = span.seal(data, seal).ok();
        self.total = span.total().unwrap_or(self.total);
        self.unfiled.push(span);
        offset
    }

    /// After a power cut: only so many output records are left, and positions are no longer good.
    pub fn cut(&mut self, epoch: &str, outputs: u64) {
        self.epoch = epoch.to_owned();
        if let Some(span) = &mut self.open {
            span.epoch = epoch.to_owned();
            for event in &mut span.events {
                event.after = event.after.min(outputs);
            }
        }
    }

    /// The span beginning at `first` is in a file of its own.
    pub fn filed(&mut self, first: u64) {
        self.unfiled.retain(|span| span.first != first);
    }

    /// The highest offset, given that the open span's worker has written so many records.
    pub fn top(&self, outputs: u64) -> u64 {
        self.open.as_ref().map_or(self.total, |span| span.last_offset(outputs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::StopReason;
    use serde_json::json;

    fn seal(outputs: u64) -> Seal {
        Seal::new(StopReason::EndTurn, Some(0), 1, outputs)
    }

    #[test]
    fn spans_follow_each_other_without_a_gap_and_leave_when_filed() {
        let mut conversation = Conversation::new("e");
        assert_eq!(conversation.begin("x", "t1", "w", json!(1)), 1);
        assert_eq!(conversation.place(4, json!(2)), Some(6));
        assert_eq!(conversation.top(7), 9);
        assert_eq!(conversation.seal(seal(10), 0, 0), Some(13));
        assert_eq!((conversation.total, conversation.top(99)), (13, 13));
        assert_eq!(conversation.begin("x", "t2", "v", json!(1)), 14);
        conversation.filed(1);
        assert!(conversation.unfiled.is_empty() && conversation.open.is_some());
        assert_eq!(Conversation::new("e").place(1, json!(1)), None, "nothing open");
    }

    #[test]
    fn a_place_never_goes_backwards_and_a_seal_lies_behind_everything() {
        let mut conversation = Conversation::new("e");
        conversation.begin("x", "t1", "w", json!(1));
        conversation.place(4, json!(2));
        assert_eq!(conversation.place(2, json!(3)), Some(7), "behind the one at 4");
        assert_eq!(conversation.seal(seal(1), 0, 0), Some(8));
        assert_eq!(conversation.unfiled[0].check(), Ok(()));
    }

    #[test]
    fn a_power_cut_takes_places_that_are_gone_and_the_epoch() {
        let mut conversation = Conversation::new("e");
        conversation.begin("x", "t1", "w", json!(1));
        conversation.place(4, json!(2));
        conversation.cut("f", 2);
        assert_eq!(conversation.top(2), 4);
        conversation.seal(seal(2), 0, 0);
        assert_eq!(conversation.unfiled[0].check(), Ok(()));
        assert_eq!(conversation.unfiled[0].epoch, "f");
    }
}
