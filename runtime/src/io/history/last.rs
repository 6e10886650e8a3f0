//! Where the last turns of a conversation begin: backwards from its end, or from a position, turn by turn.

use super::files::{Keep, Place};
use super::{History, HistoryError, Live, SpanIndex, sealed_place};
use crate::filed::FiledBody;
use crate::span::Span;
use crate::turn::QUEUED_PROMPTS;
use holdfast_shared::spool::segment_path;

/// Bytes of filed spans that one answer parses, for the loop does nothing else meanwhile (some tens of milliseconds): far
/// above what a hundred turns of an agent have, and above the prompts that can wait at a time. The first is parsed if larger,
/// as any reader there has it parsed.
pub(super) const PARSED_BYTES: u64 = 4 * 1024 * 1024;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The last offset of it.
    pub end: u64,
    /// So many turns at most.
    pub turns: usize,
    /// Together at most so many events.
    pub max_events: u64,
    /// Together at most about so many bytes on disk.
    pub max_bytes: u64,
    /// Turns that wait: those in which they were queued are wanted in any case, as far back as that can be and
    /// `PARSED_BYTES` go.
    pub waiting: Vec<String>,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The offset before it.
    pub after: u64,
    /// Its last offset.
    pub end: u64,
    /// There is more before it.
    pub more: bool,
}

/// A stretch of a conversation, seen from its end.
struct Stretch {
    first: u64,
    bytes: u64,
    /// Turns that were queued in it.
    queued: Vec<String>,
    /// It stands for the beginning that is there no longer.
    truncated: bool,
}

impl History {
    /// Whole turns up to `wanted.end`, as many as its bounds and `PARSED_BYTES` allow, and at least one. Of filed spans that
    /// were not parsed yet only the first is kept: others read what is kept.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn last_turns(
        &mut self,
        conversation: &str,
        live: &Live<'_>,
        mut wanted: Wanted,
        index: &impl SpanIndex,
    ) -> Result<Found, HistoryError> {
        let (end, mut first, mut bytes, mut parsed) = (wanted.end, wanted.end + 1, 0_u64, 0_u64);
        for turns in 0.. {
            if first == 1 {
                return Ok(Found { after: 0, end, more: false });
            }
            let to_parse = self.bytes_to_parse(conversation, first - 1, live, index)?;
            if turns > 0 && parsed + to_parse > PARSED_BYTES {
                break;
            }
            let keep = if parsed == 0 { Keep::Parsed } else { Keep::Nothing };
            parsed += to_parse;
            let stretch = self.stretch_at(conversation, first - 1, live, (index, keep))?;
            if stretch.truncated {
                return Ok(Found { after: first - 1, end, more: false });
            }
            bytes = bytes.saturating_add(stretch.bytes);
            let fits = turns < wanted.turns
                && bytes <= wanted.max_bytes
                && end + 1 - stretch.first <= wanted.max_events;
            // A prompt waits for as many turns at most as can wait, and it was queued in one before those.
            let is_owed = !wanted.waiting.is_empty() && turns <= QUEUED_PROMPTS;
            if turns > 0 && !fits && !is_owed {
                break;
            }
            wanted.waiting.retain(|turn| !stretch.queued.contains(turn));
            first = stretch.first;
        }
        Ok(Found { after: first - 1, end, more: true })
    }

    fn stretch_at(
        &mut self,
        conversation: &str,
        offset: u64,
        live: &Live<'_>,
        (index, keep): (&impl SpanIndex, Keep),
    ) -> Result<Stretch, HistoryError> {
        if let Some(span) = live.span_at(offset) {
            let segment = match live.open {
                Some(open) if open.first == span.first => live.place.segment,
                _ => sealed_place(span).segment,
            };
            let spool = span.worker.as_ref().map(|worker| segment_path(&self.home.worker(worker), segment));
            let bytes = spool.and_then(|path| std::fs::metadata(path).ok()).map_or(0, |found| found.len());
            return Ok(of_span(span, bytes));
        }
        Ok(match self.find(conversation, offset, live, (index, keep))? {
            Place::Gone(first, _) => Stretch { first, bytes: 0, queued: Vec::new(), truncated: false },
            Place::Filed(filed) => match &filed.body {
                FiledBody::Turn { span, bytes, .. } => of_span(span, *bytes),
                FiledBody::Truncated(gone) => {
                    Stretch { first: gone.first, bytes: 0, queued: Vec::new(), truncated: true }
                }
            },
        })
    }
}

fn of_span(span: &Span, bytes: u64) -> Stretch {
    let queued = span.events.iter().map(|event| &event.data).filter(|data| data["type"] == "turn.queued");
    let queued = queued.filter_map(|data| data["turn"].as_str()).map(str::to_owned).collect();
    Stretch { first: span.first, bytes, queued, truncated: false }
}
