//! Follows a journal that somebody else writes.

use super::checkpoint_files::newest_checkpoint;
use super::reader::{Next, SegmentReader};
use super::survey::{self, SurveyError, read_segment_header};
use crate::journal::batch::{BatchHeader, Body};
use crate::journal::checkpoint::{CheckpointData, CheckpointHeader};
use crate::journal::damage::{Damage, Why};
use crate::journal::record::{Position, Record};
use crate::journal::segment;
use crate::journal::tail::Tail;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

/// Opening at a checkpoint races with its removal; each time a newer one is there, so this many are plenty.
const MAX_OPENINGS: usize = 8;

/// Why a journal cannot be followed: damage in what its headers say was durable, a newer format, or failed reads.
pub type FollowError = SurveyError;

/// What a poll gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Followed {
    /// The next records, at least one.
    Records(Vec<Record>),
    /// Nothing more for now.
    UpToDate,
    /// What was read is not what the journal holds any more, or the next records are only in a checkpoint: start
    /// again with [`open_at_newest_checkpoint`] and an empty state.
    Restart,
}

/// Reads a journal's records in order, each once. It never writes, needs no lock, and judges no torn tail: an
/// incomplete or bad batch at the end is read again from its first byte later.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    /// `None` until there is a journal.
    reader: Option<SegmentReader>,
    /// The segment behind the current one, once it is there; it says where the current one ends.
    next: Option<SegmentReader>,
    /// The last record read.
    read: Position,
    /// The last record given out.
    given: Position,
    pending: VecDeque<Record>,
    restart: bool,
}

enum Advance {
    Read,
    UpToDate,
    Restart,
}

impl Follower {
    /// Follows the journal in `dir` from behind `checkpoint`, or from its first record. `None` if the segment that
    /// holds the next record is gone; there is a newer checkpoint then. A journal that is not there yet is waited for.
    pub fn open(dir: &Path, checkpoint: Option<&CheckpointHeader>) -> Result<Option<Self>, FollowError> {
        let (index, read) = match checkpoint {
            Some(checkpoint) => (Some(checkpoint.segment), checkpoint.position),
            None => (survey::list(dir)?.segments.first().copied(), Position::default()),
        };
        let reader = match index.map(|index| SegmentReader::open(dir, index)).transpose() {
            Ok(reader) => reader,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        if reader.as_ref().is_some_and(|reader| reader.header().before != read) {
            return Ok(None);
        }
        Ok(Some(Self::at(dir, reader, read)))
    }

    /// Follows from behind `position`. `None` if that very record is not in the segments that are there.
    pub fn open_behind(dir: &Path, position: Position) -> Result<Option<Self>, FollowError> {
        for index in survey::list(dir)?.segments.into_iter().rev() {
            let found = match read_segment_header(dir, index) {
                Ok((_, found)) => found,
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            };
            if found.header.base_lsn <= position.lsn {
                return Self::open_inside(dir, index, position);
            }
            if found.header.before == position {
                return Ok(Some(Self::at(dir, Some(SegmentReader::open(dir, index)?), position)));
            }
        }
        Ok(None)
    }

    fn open_inside(dir: &Path, index: u64, position: Position) -> Result<Option<Self>, FollowError> {
        let reader = SegmentReader::open(dir, index)?;
        let mut follower = Self::at(dir, None, reader.header().before);
        follower.reader = Some(reader);
        while follower.read.lsn < position.lsn {
            if !matches!(follower.advance()?, Advance::Read) {
                return Ok(None);
            }
        }
        let record_is_there = follower.pending.iter().any(|record| record.position() == position);
        follower.pending.retain(|record| record.lsn > position.lsn);
        follower.given = position;
        Ok(record_is_there.then_some(follower))
    }

    fn at(dir: &Path, reader: Option<SegmentReader>, read: Position) -> Self {
        let dir = dir.to_path_buf();
        Self { dir, reader, next: None, read, given: read, pending: VecDeque::new(), restart: false }
    }

    /// The last record given out.
    pub fn position(&self) -> Position {
        self.given
    }

    /// How far the current segment was read, for a take-over.
    pub fn tail(&self) -> Option<&Tail> {
        self.reader.as_ref().map(|reader| &reader.tail)
    }

    /// Index of the segment that is being read.
    pub fn segment(&self) -> Option<u64> {
        self.tail().map(|tail| tail.header.index)
    }

    /// The next records, at most `max_records` (at least one is allowed).
    pub fn poll(&mut self, max_records: usize) -> Result<Followed, FollowError> {
        let max_records = max_records.max(1);
        let end = loop {
            if self.pending.len() >= max_records {
                break Advance::Read;
            }
            if self.restart {
                break Advance::Restart;
            }
            match self.advance()? {
                Advance::Read => {}
                end => break end,
            }
        };
        self.restart |= matches!(end, Advance::Restart);
        let count = self.pending.len().min(max_records);
        if count > 0 {
            let records: Vec<Record> = self.pending.drain(..count).collect();
            self.given = records[count - 1].position();
            return Ok(Followed::Records(records));
        }
        Ok(if self.restart { Followed::Restart } else { Followed::UpToDate })
    }

    /// What was given is not followed by more: the next [`poll`](Self::poll) says that it has to restart.
    pub fn has_to_restart(&self) -> bool {
        self.restart
    }

    /// Gives every record up to `end` to `each`; `end` must be durable, as [`super::takeover::TakenOver::last`] is.
    /// False if the follower has to restart instead.
    pub fn drain_to(&mut self, end: Position, mut each: impl FnMut(Record)) -> Result<bool, FollowError> {
        while self.given.lsn < end.lsn {
            let wanted = (end.lsn - self.given.lsn).min(1024) as usize;
            match self.poll(wanted)? {
                Followed::Records(records) => records.into_iter().for_each(&mut each),
                Followed::UpToDate | Followed::Restart => return Ok(false),
            }
        }
        Ok(self.given == end)
    }

    /// Gives every good record there is to `each`: what a candidate does last before it takes over, under the lock
    /// or shortly before it. False if the follower has to restart instead.
    pub fn drain_for_takeover(&mut self, mut each: impl FnMut(Record)) -> Result<bool, FollowError> {
        loop {
            match self.poll(1024)? {
                Followed::Records(records) => records.into_iter().for_each(&mut each),
                Followed::UpToDate => return Ok(true),
                Followed::Restart => return Ok(false),
            }
        }
    }

    fn advance(&mut self) -> Result<Advance, FollowError> {
        let Some(reader) = &mut self.reader else { return self.look_for_journal() };
        let limit = self.next.as_ref().and_then(|next| next.header().prev_end).map(|end| end.byte);
        let path = self.dir.join(segment::file_name(reader.header().index));
        match reader.next(limit).map_err(SurveyError::io(&path))? {
            Next::Batch(header, body) => Ok(take_batch(header, body, &mut self.read, &mut self.pending)),
            Next::Misplaced => Err(damage(&reader.tail, Why::Nonsense)),
            Next::Nothing => match limit {
                None => self.look_for_next(),
                Some(limit) if reader.tail.byte >= limit => {
                    self.reader = self.next.take();
                    Ok(Advance::Read)
                }
                Some(_) => {
                    let (lsn, synced_lsn) = (reader.tail.last.lsn + 1, self.next_base_lsn() - 1);
                    let tail = &self.reader.as_ref().expect("matched above").tail;
                    Err(damage(tail, Why::LostDurable { lsn, synced_lsn }))
                }
            },
        }
    }

    fn next_base_lsn(&self) -> u64 {
        self.next.as_ref().map_or(1, |next| next.header().base_lsn)
    }

    fn look_for_journal(&mut self) -> Result<Advance, FollowError> {
        let Some(&index) = survey::list(&self.dir)?.segments.first() else { return Ok(Advance::UpToDate) };
        if index > 1 {
            return Ok(Advance::Restart);
        }
        match SegmentReader::open(&self.dir, index) {
            Ok(reader) => {
                self.reader = Some(reader);
                Ok(Advance::Read)
            }
            Err(error) if error.is_not_found() => Ok(Advance::Restart),
            Err(error) => Err(error),
        }
    }

    /// At the end of what the current segment holds: is there a next one, or is even this one gone?
    fn look_for_next(&mut self) -> Result<Advance, FollowError> {
        let Some(reader) = &self.reader else { return Ok(Advance::UpToDate) };
        let index = reader.header().index;
        let next = match SegmentReader::open(&self.dir, index + 1) {
            Ok(next) => next,
            Err(error) if error.is_not_found() => {
                let path = self.dir.join(segment::file_name(index));
                let removed = reader.is_removed().map_err(SurveyError::io(&path))?;
                return Ok(if removed { Advance::Restart } else { Advance::UpToDate });
            }
            Err(error) => return Err(error),
        };
        let fits = next.header().journal_id == reader.header().journal_id
            && next.header().prev_end.is_some_and(|end| end.segment == index);
        if !fits {
            return Err(damage(&next.tail, Why::Chain));
        }
        // The predecessor had closed its descriptors before this segment could come: what it wrote is final now,
        // and is read up to `prev_end` before the next segment begins.
        self.next = Some(next);
        Ok(Advance::Read)
    }
}

/// Takes a batch's records that are not read yet. A batch that was read before must be the same one.
fn take_batch(
    header: BatchHeader,
    body: Body<'_>,
    read: &mut Position,
    pending: &mut VecDeque<Record>,
) -> Advance {
    if header.count == 0 {
        return Advance::Read;
    }
    if header.first_lsn <= read.lsn {
        let reaches_read = header.last_lsn() >= read.lsn;
        let other_history = if reaches_read { header.epoch != read.epoch } else { header.epoch > read.epoch };
        if other_history {
            return Advance::Restart;
        }
    }
    let known = read.lsn;
    pending.extend(body.records(&header).filter(|record| record.lsn > known));
    if header.last_lsn() > known {
        *read = Position { epoch: header.epoch, lsn: header.last_lsn() };
    }
    Advance::Read
}

fn damage(tail: &Tail, why: Why) -> FollowError {
    Damage { file: segment::file_name(tail.header.index), offset: tail.byte, why }.into()
}

/// A follower behind the newest checkpoint that checks, and that checkpoint; from the first record if there is none.
pub fn open_at_newest_checkpoint(dir: &Path) -> Result<(Option<CheckpointData>, Follower), FollowError> {
    for _ in 0..MAX_OPENINGS {
        let checkpoint = match newest_checkpoint(dir) {
            Ok(checkpoint) => checkpoint,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        if let Some(follower) = Follower::open(dir, checkpoint.as_ref().map(|data| &data.header))? {
            return Ok((checkpoint, follower));
        }
    }
    let missing = survey::list(dir)?.segments.first().map_or(1, |index| index.saturating_sub(1));
    let path = dir.join(segment::file_name(missing));
    Err(SurveyError::Io { path, source: io::ErrorKind::NotFound.into() })
}
