//! How far a segment has been read and checked: the state of one scan, which a warm follower hands to its take-over.

use super::batch::{BatchHeader, Body};
use super::record::{ACTIVATED, Activated, Position};
use super::segment::SegmentHeader;
use std::collections::{BTreeSet, VecDeque};

/// A record and the byte behind the batch that ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The record.
    pub position: Position,
    /// Byte in the segment.
    pub byte: u64,
}

/// What is known after reading one segment's good batches up to a byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The segment's header.
    pub header: SegmentHeader,
    /// Byte behind the last good batch.
    pub byte: u64,
    /// The last record.
    pub last: Position,
    /// Up to here records are known durable, by what was read so far.
    pub synced: Mark,
    /// Every must-understand kind up to here.
    pub must_understand: BTreeSet<String>,
    /// The newest `Activated` up to here.
    pub activated: Activated,
    /// Where it is.
    pub activated_at: Position,
    unsynced: VecDeque<Mark>,
}

/// A batch checks, but does not belong where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misplaced;

impl Tail {
    /// Nothing read yet; `byte` is where the first batch stands.
    pub fn begin(header: SegmentHeader, byte: u64) -> Self {
        Self {
            byte,
            last: header.before,
            synced: Mark { position: header.before, byte },
            must_understand: header.must_understand.clone(),
            activated: header.activated.clone(),
            activated_at: header.activated_at,
            unsynced: VecDeque::new(),
            header,
        }
    }

    /// The same scan as it was at `synced`: what a take-over reads again, because it will copy it.
    pub fn back_to_synced(&self) -> Self {
        Self { byte: self.synced.byte, last: self.synced.position, unsynced: VecDeque::new(), ..self.clone() }
    }

    /// Takes the batch that stands at `self.byte`.
    pub fn admit(&mut self, batch: &BatchHeader, body: &Body<'_>) -> Result<(), Misplaced> {
        let in_order = batch.first_lsn == self.last.lsn + 1
            && batch.epoch >= self.last.epoch
            && batch.epoch <= self.header.epoch;
        if !in_order {
            return Err(Misplaced);
        }
        self.byte += batch.total_bytes() as u64;
        for (nth, raw) in body.raw().enumerate() {
            let position = Position { epoch: batch.epoch, lsn: batch.first_lsn + nth as u64 };
            if raw.must_understand && !self.must_understand.contains(raw.kind) {
                self.must_understand.insert(raw.kind.to_owned());
            }
            if raw.kind == ACTIVATED {
                self.activated = serde_json::from_slice(raw.payload).map_err(|_| Misplaced)?;
                self.activated_at = position;
            }
        }
        if batch.count > 0 {
            self.last = Position { epoch: batch.epoch, lsn: batch.last_lsn() };
            self.unsynced.push_back(Mark { position: self.last, byte: self.byte });
        }
        self.settle(batch.synced_lsn.max(self.header.synced_lsn));
        Ok(())
    }

    /// Takes a batch that the writer itself wrote at `self.byte`, ending with `last`.
    pub fn wrote(&mut self, bytes: u64, last: Position) {
        self.byte += bytes;
        self.last = last;
        self.unsynced.push_back(Mark { position: last, byte: self.byte });
    }

    /// Everything so far is durable.
    pub fn synced_all(&mut self) {
        self.settle(self.last.lsn);
    }

    fn settle(&mut self, synced_lsn: u64) {
        while let Some(mark) = self.unsynced.front().copied().filter(|mark| mark.position.lsn <= synced_lsn) {
            self.synced = mark;
            self.unsynced.pop_front();
        }
    }
}
