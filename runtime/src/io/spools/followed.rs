//! One spool that is followed: its records, as they come, are sorted into turns.

use crate::agent::dialogue::Dialogue;
use crate::workers::KnownRequests;
use holdfast_shared::spool::{
    Control, Position, RECORD_BYTES_MAX, SegmentHistory, SparseIndex, SpoolError, SpoolRecord, SpoolTail,
    TAIL_PIECE_BYTES_MAX, WatchToken, segment_path, segments,
};
use holdfast_shared::worker::Protocol;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// From so many bytes on a piece counts as full: one more record might not have fitted.
const FULL_PIECE_BYTES: u64 = TAIL_PIECE_BYTES_MAX as u64 - 2 * RECORD_BYTES_MAX as u64;

/// A turn that is over is read again only up to so much: at a take-over that waits for it, for each agent that stands.
const LOOK_BACK_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of earlier segments that are read again where a request in them is still to be answered: a take-over waits for
/// it. What lies before them is not served any more; its turn ends by its limits.
const NEEDED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// See the module.
pub(super) struct Followed {
    pub(super) token: WatchToken,
    pub(super) directory: PathBuf,
    pub(super) tail: SpoolTail,
    /// The turn that was marked last.
    pub(super) turn: String,
    /// The message that marked it.
    pub(super) mark_number: u64,
    /// Where its output begins.
    pub(super) place: TurnPlace,
    /// Of that segment.
    pub(super) index: SparseIndex,
    /// For an agent: what it said to the runtime in that segment.
    pub(super) dialogue: Option<Dialogue>,
    /// When it last said something.
    pub(super) heard_at: Option<Instant>,
    pub(super) damaged: bool,
    /// The last try to read on failed, though nothing is wrong with it: it is read on later.
    pub(super) failed: bool,
    /// Where it ended when it was marked, until it is read up to there.
    pub(super) mark: Option<Position>,
}

/// What of a worker's output is a turn's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnPlace {
    /// The segment that holds it; 0 too where it has not begun.
    pub segment: u32,
    /// Output records of the worker before it.
    pub base: u64,
    /// Output records of it that were read.
    pub outputs: u64,
    /// The first message that was taken behind its mark: its prompt, unless that was never written.
    pub given: Option<u64>,
}

impl Followed {
    pub(super) fn begin(
        token: WatchToken,
        directory: &Path,
        protocol: Protocol,
        known: &KnownRequests,
    ) -> Self {
        let (first, dialogue, mark) = match protocol {
            Protocol::Command => (0, None, None),
            Protocol::Acp => {
                let found = segments(directory).unwrap_or_default();
                let last = found.last().copied().unwrap_or(0);
                let first = first_of_use(directory, &found, known);
                let mut dialogue = Dialogue::default();
                dialogue.settle(known.taken_to, known.needed.clone());
                // Until the last one is read, the present turn is not known.
                let mark = (first < last).then(|| end_of(directory, last).ok()).flatten();
                (first, Some(dialogue), mark)
            }
        };
        Self {
            token,
            directory: directory.to_owned(),
            tail: SpoolTail::open_at(directory, first),
            turn: String::new(),
            mark_number: 0,
            place: TurnPlace { segment: first, ..TurnPlace::default() },
            index: SparseIndex::default(),
            dialogue,
            heard_at: None,
            damaged: false,
            failed: false,
            mark,
        }
    }

    fn take(&mut self, record: &SpoolRecord) {
        match record {
            SpoolRecord::Output { seq, stream, more, bytes, at } => {
                if at.segment == self.place.segment {
                    self.index.note(*seq, at.byte);
                }
                if let Some(dialogue) = &mut self.dialogue {
                    dialogue.take(*seq, *stream, *more, bytes);
                }
            }
            SpoolRecord::Control { outputs_before, control: Control::Mark { turn, number }, at } => {
                self.turn.clone_from(turn);
                self.place = TurnPlace { segment: at.segment, base: *outputs_before, ..TurnPlace::default() };
                self.mark_number = *number;
                self.index = SparseIndex::default();
                if at.segment > 0
                    && let Some(dialogue) = &mut self.dialogue
                {
                    dialogue.begin_turn();
                }
            }
            SpoolRecord::Control { control: Control::Consumed { number }, .. }
                if *number > self.mark_number =>
            {
                self.place.given.get_or_insert(*number);
            }
            SpoolRecord::Control { .. } => {}
        }
    }

    /// Goes on behind damage if a later turn was marked since: those before it are sealed, and what was asked there and
    /// is still to be answered is refused. Whether it does.
    fn pass_over(&mut self) -> Result<bool, SpoolError> {
        let passed = self.tail.pass_over()?;
        if passed && let Some(dialogue) = &mut self.dialogue {
            dialogue.lose_line();
        }
        Ok(passed)
    }

    pub(super) fn is_behind(&self) -> bool {
        self.failed || self.mark.is_some()
    }

    pub(super) fn advance(&mut self) -> Result<bool, SpoolError> {
        let records = match self.tail.poll(TAIL_PIECE_BYTES_MAX) {
            Err(error) if is_damage(&error) && self.pass_over()? => {
                tracing::warn!(%error, "what an ended turn left in a spool cannot be read; its worker goes on");
                return Ok(true);
            }
            records => records?,
        };
        records.iter().for_each(|record| self.take(record));
        if records.iter().any(|record| matches!(record, SpoolRecord::Output { .. })) {
            self.heard_at = Some(Instant::now());
        }
        let (Some(first), false) = (records.first().map(begin), self.tail.exit().is_some()) else {
            return Ok(false);
        };
        let now = self.tail.position();
        let full = now.segment != first.segment || now.byte - first.byte >= FULL_PIECE_BYTES;
        Ok(full || segment_path(&self.directory, now.segment + 1).exists())
    }
}

/// The segment to begin with: the one before the last, in which a request may have begun that goes on in the last or that
/// nobody has read, if it is no longer than [`LOOK_BACK_BYTES`]; an earlier one where a request in it is still to be
/// answered, as far as [`NEEDED_BYTES_MAX`] reach. The last one where that cannot be told.
fn first_of_use(directory: &Path, found: &[u32], known: &KnownRequests) -> u32 {
    let Some((last, before)) = found.split_last() else { return 0 };
    let mut first = *last;
    let needed = known.needed.first().copied();
    let mut bytes = 0_u64;
    for (back, segment) in before.iter().rev().enumerate() {
        let starts_at =
            |segment| SegmentHistory::open(directory, segment).ok().flatten().map(|it| it.first_seq());
        let is_needed = needed.zip(starts_at(first)).is_some_and(|(needed, start)| needed < start);
        let length =
            std::fs::metadata(segment_path(directory, *segment)).map_or(u64::MAX, |found| found.len());
        bytes = bytes.saturating_add(length);
        let is_of_use = (is_needed && bytes <= NEEDED_BYTES_MAX) || (back == 0 && length <= LOOK_BACK_BYTES);
        if *segment + 1 != first || !is_of_use {
            break;
        }
        first = *segment;
    }
    first
}

/// Where a spool ends now, its later segments included.
pub(super) fn end_of(directory: &Path, mut segment: u32) -> std::io::Result<Position> {
    while segment_path(directory, segment + 1).try_exists()? {
        segment += 1;
    }
    match std::fs::metadata(segment_path(directory, segment)) {
        Ok(metadata) => Ok(Position { segment, byte: metadata.len() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Position { segment, byte: 0 }),
        Err(error) => Err(error),
    }
}

/// What the disk says that it cannot give is damage: a turn does not wait for it for ever. Any other refusal (too many
/// open files, missing rights) is no word about the spool itself, and the same may be read later.
pub(in crate::io) fn is_damage(error: &SpoolError) -> bool {
    match error {
        SpoolError::Damaged { .. } => true,
        SpoolError::Io { source, .. } => {
            source.raw_os_error().is_some_and(|error| [libc::EIO, libc::EUCLEAN].contains(&error))
        }
        _ => false,
    }
}

fn begin(record: &SpoolRecord) -> Position {
    match record {
        SpoolRecord::Output { at, .. } | SpoolRecord::Control { at, .. } => *at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sample::Sample;
    use holdfast_shared::spool::{Flushed, Stream};

    #[test]
    fn earlier_segments_are_read_where_an_answer_is_owed_and_not_without_end() {
        let sample = Sample::new();
        let mut spool = sample.spool("w");
        for number in 1..=3 {
            spool.output(Stream::Stdout, false, b"a line");
            assert_eq!(spool.next_segment("t", number).unwrap(), Flushed::Done);
        }
        let (directory, found) = (sample.home.worker("w"), [0, 1, 2, 3]);
        let first = |needed: &[u64]| {
            let needed = needed.iter().copied().collect();
            first_of_use(&directory, &found, &KnownRequests { taken_to: 3, needed })
        };
        assert_eq!((first(&[]), first(&[3]), first(&[2]), first(&[1])), (2, 2, 1, 0));
        let grow = |segment, bytes| {
            let path = segment_path(&directory, segment);
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
        };
        grow(2, LOOK_BACK_BYTES + 1);
        assert_eq!((first(&[]), first(&[3])), (3, 2));
        grow(1, NEEDED_BYTES_MAX);
        assert_eq!(first(&[1]), 2, "a take-over waits for it");
    }
}
