//! One spool segment that is open for reading, and the line that was begun where the last read of it ended.
//!
//! An agent's line may come in several records. Its event is that of its last record, made of the whole line, whichever
//! record a read begins with: where it does not go on from the last read, the line's beginning is looked for backwards.

use crate::acp::lines::{Assembled, Lines};
use crate::acp::{EXCERPT_BYTES_MAX, LINE_RECORDS, event as agent_event};
use crate::event;
use bytes::Bytes;
use holdfast_shared::spool::{SegmentHistory, SpoolError, SpoolRecord, Stream};

/// Records that are looked through backwards for the end of the line before; there can be so many of standard error.
const BACK_RECORDS: u64 = 4096;
/// Bytes of a segment that one step of that reads.
const BACK_BYTES: usize = 256 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Segment {
    /// The file.
    pub(super) history: SegmentHistory,
    /// The record that comes next, and the line up to it.
    reached: Option<(u64, Line)>,
}

/// A line of an agent's standard output, as far as it was read.
#[derive(Debug)]
struct Line {
    lines: Lines,
    /// Its first record.
    first: Option<u64>,
    /// Its beginning is too far away.
    too_long: bool,
}

/// A line that was read to its end. The same to whoever reads it, from wherever.
enum Ended {
    Whole(Bytes),
    /// It is not kept; its length, unless it extends over too many records.
    TooLong {
        bytes: Option<u64>,
    },
}

impl Line {
    fn none() -> Self {
        Self { lines: Lines::new(EXCERPT_BYTES_MAX), first: None, too_long: false }
    }

    /// The line that this record ends, if it ends one.
    fn push(&mut self, seq: u64, more: bool, bytes: &Bytes) -> Option<Ended> {
        let first = *self.first.get_or_insert(seq);
        let assembled = self.lines.push(more, bytes);
        if more {
            return None;
        }
        let too_long = std::mem::take(&mut self.too_long) || seq - first >= LINE_RECORDS;
        self.first = None;
        match assembled {
            // Whoever begins to read in the middle of it does not see how long it is.
            _ if too_long => Some(Ended::TooLong { bytes: None }),
            Assembled::Line(line) => Some(Ended::Whole(line)),
            Assembled::TooLong { bytes, .. } => Some(Ended::TooLong { bytes: Some(bytes) }),
            Assembled::Part => None,
        }
    }
}

impl Segment {
    pub(super) fn new(history: SegmentHistory) -> Self {
        Self { history, reached: None }
    }

    /// Gives the events of an agent's records, which begin with record `from`; `give` says whether it took one. Stops
    /// where it did not.
    pub(super) fn events(
        &mut self,
        turn: &str,
        from: u64,
        records: &[SpoolRecord],
        mut give: impl FnMut(u64, Vec<u8>) -> bool,
    ) -> Result<(), SpoolError> {
        let mut line = match self.reached.take() {
            Some((next, line)) if next == from => line,
            _ => self.line_before(from)?,
        };
        let mut next = from;
        for record in records {
            let SpoolRecord::Output { seq, stream, more, bytes, .. } = record else { continue };
            let event = match stream {
                Stream::Stderr => event::output(turn, *stream, bytes),
                Stream::Stdout => match line.push(*seq, *more, bytes) {
                    Some(Ended::Whole(whole)) => agent_event::event(turn, *seq, *stream, &whole),
                    Some(Ended::TooLong { bytes }) => event::too_long(turn, bytes),
                    None => event::skip(turn),
                },
            };
            if !give(*seq, event) {
                return Ok(());
            }
            next = seq + 1;
        }
        self.reached = Some((next, line));
        Ok(())
    }

    /// The line that was begun before record `next`.
    fn line_before(&mut self, next: u64) -> Result<Line, SpoolError> {
        let mut line = Line::none();
        let Some(begin) = self.line_begin(next)? else {
            line.too_long = true;
            return Ok(line);
        };
        let mut at = begin;
        while at < next {
            let records = self.history.read_from(at, BACK_BYTES)?;
            let before = at;
            for record in &records {
                if let SpoolRecord::Output { seq, stream, more, bytes, .. } = record
                    && *seq < next
                {
                    at = seq + 1;
                    if *stream == Stream::Stdout {
                        line.push(*seq, *more, bytes);
                    }
                }
            }
            if at == before {
                break;
            }
        }
        Ok(line)
    }

    /// The record from which on the line is whole that goes on at `next`: the one behind the last that ended a line.
    /// `None`: it is too far away.
    fn line_begin(&mut self, next: u64) -> Result<Option<u64>, SpoolError> {
        let first = self.history.first_seq();
        // Most often the record before has ended a line.
        let mut step = 1;
        let mut to = next;
        while to > first {
            let from = to.saturating_sub(step).max(first);
            if let Some((seq, more)) = self.last_of_stdout(from, to)? {
                match more {
                    false => return Ok(Some(seq + 1)),
                    true if next - seq > LINE_RECORDS => return Ok(None),
                    true => {}
                }
            }
            if next - from > BACK_RECORDS {
                return Ok(None);
            }
            (to, step) = (from, (step * 8).min(LINE_RECORDS));
        }
        Ok(Some(first))
    }

    /// The last record of standard output that ends a line among those from `from` up to before `to`, else the first
    /// that does not.
    fn last_of_stdout(&mut self, from: u64, to: u64) -> Result<Option<(u64, bool)>, SpoolError> {
        let (mut ends, mut goes_on, mut at) = (None, None, from);
        while at < to {
            let records = self.history.read_from(at, BACK_BYTES)?;
            let before = at;
            for record in &records {
                if let SpoolRecord::Output { seq, stream, more, .. } = record
                    && *seq < to
                {
                    at = seq + 1;
                    match (stream, more) {
                        (Stream::Stdout, false) => ends = Some((*seq, false)),
                        (Stream::Stdout, true) => goes_on = goes_on.or(Some((*seq, true))),
                        (Stream::Stderr, _) => {}
                    }
                }
            }
            if at == before {
                break;
            }
        }
        Ok(ends.or(goes_on))
    }
}
