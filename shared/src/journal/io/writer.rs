//! The one writer: appends batches, syncs them, begins segments, gives the lock back.

use super::disk::{Disk, DiskError, DiskFile};
use super::fit;
use super::gate::{CloseOnDrop, Gate};
use super::headroom::Headroom;
use super::lock::JournalLock;
use super::place::{Placed, place_segment};
use super::reserve_file::{Reserve, write_with_reserve};
use crate::journal::batch;
use crate::journal::limits::{Limits, MAX_BATCH_BYTES, MAX_RECORD_BYTES};
use crate::journal::record::{LsnRange, NewRecord, Position};
use crate::journal::reserve::{self, Space, WriteClass};
use crate::journal::segment;
use crate::journal::tail::Tail;
use crate::journal::takeover::next_header;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why something was not written. After `Disk` and `Unfit` the writer is poisoned: what it wrote last may or may not
/// be on disk, and the process must end without answering it.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// An earlier write failed.
    #[error("the journal's writer failed before and writes no more")]
    Poisoned,
    /// Nothing to write.
    #[error("a batch needs at least one record")]
    Empty,
    /// Not a name for a kind.
    #[error("{kind:?} is not a kind: 1 to 64 of a-z 0-9 . _ -")]
    BadKind {
        /// What was given.
        kind: String,
    },
    /// One record is too large.
    #[error("a {kind} of {bytes} bytes is larger than a record may be ({MAX_RECORD_BYTES})")]
    RecordTooLarge {
        /// Its kind.
        kind: String,
        /// Its size.
        bytes: usize,
    },
    /// All together are too large to be written as one.
    #[error("{bytes} bytes of records are larger than a batch may be ({MAX_BATCH_BYTES})")]
    BatchTooLarge {
        /// Their size.
        bytes: usize,
    },
    /// The caller numbered its records otherwise than the journal; its state is not what the journal holds.
    #[error("records were submitted as {submitted}, but the next LSN is {next}")]
    OutOfOrder {
        /// What the caller took for the next LSN.
        submitted: u64,
        /// What it is.
        next: u64,
    },
    /// A write or sync failed. Never retried: a second sync would lie about the first.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Where a new segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// Its index.
    pub segment: u64,
    /// The last record before it, durable.
    pub after: Position,
}

/// The writer of one journal. Fields are dropped in this order: gate, descriptors, lock.
pub struct Writer {
    gate: CloseOnDrop,
    file: Box<dyn DiskFile>,
    reserve: Reserve,
    disk: Arc<dyn Disk>,
    limits: Limits,
    tail: Tail,
    headroom: Headroom,
    storage_full: bool,
    poisoned: bool,
    buffer: Vec<u8>,
    lock: JournalLock,
}

impl Writer {
    pub(crate) fn new(
        lock: JournalLock,
        disk: Arc<dyn Disk>,
        limits: Limits,
        placed: Placed,
        reserve: Reserve,
    ) -> Result<Self, WriteError> {
        let mut writer = Self {
            gate: CloseOnDrop::default(),
            storage_full: reserve.was_used,
            headroom: Headroom::begin(placed.tail.byte),
            file: placed.file,
            tail: placed.tail,
            poisoned: false,
            buffer: Vec::new(),
            reserve,
            disk,
            limits,
            lock,
        };
        writer.reserve.establish(&limits, &mut writer.storage_full)?;
        writer.keep_headroom()?;
        writer.look_at_space()?;
        Ok(writer)
    }

    /// The journal's directory.
    pub fn dir(&self) -> &Path {
        self.lock.dir()
    }

    /// LSN of the next record.
    pub fn next_lsn(&self) -> u64 {
        self.tail.last.lsn + 1
    }

    /// The last record written, durable or not.
    pub fn last(&self) -> Position {
        self.tail.last
    }

    /// The last record that is durable.
    pub fn synced(&self) -> Position {
        self.tail.synced.position
    }

    /// The journal's id.
    pub fn journal_id(&self) -> uuid::Uuid {
        self.tail.header.journal_id
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Open while this writer holds the lock.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.gate()
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    /// Whether commands are refused with `STORAGE_FULL`.
    pub fn storage_full(&self) -> bool {
        self.storage_full
    }

    /// Whether a write of `class` may be begun now.
    pub fn admits(&self, class: WriteClass) -> bool {
        !self.poisoned && reserve::admits(class, self.storage_full)
    }

    /// Writes `records` as one batch: after a crash all of them are there or none. Not durable before [`Self::sync`].
    pub fn append(&mut self, records: &[NewRecord]) -> Result<LsnRange, WriteError> {
        self.check_alive()?;
        fit::check(records)?;
        let first = self.next_lsn();
        let last = Position { epoch: self.tail.header.epoch, lsn: first + records.len() as u64 - 1 };
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        batch::encode(last.epoch, first, self.tail.synced.position.lsn, records, &mut bytes);
        let written = self.write(&bytes);
        self.tail.wrote(bytes.len() as u64, last);
        self.buffer = bytes;
        written?;
        for record in records.iter().filter(|record| record.must_understand) {
            self.tail.must_understand.insert(record.kind.to_string());
        }
        self.keep_headroom()?;
        Ok(LsnRange { first, last: last.lsn })
    }

    /// Makes everything written durable; returns the last record.
    pub fn sync(&mut self) -> Result<Position, WriteError> {
        self.check_alive()?;
        if self.tail.synced.position != self.tail.last {
            let synced = self.file.sync_data();
            self.or_poison("sync", synced)?;
            self.tail.synced_all();
        }
        Ok(self.tail.last)
    }

    /// Syncs, and begins a new segment.
    pub fn rotate(&mut self) -> Result<Rotated, WriteError> {
        let after = self.sync()?;
        let header = next_header(&self.tail);
        let segment = header.index;
        let placed = place_segment(&*self.disk, self.lock.dir(), header, &[], &mut self.reserve);
        self.storage_full |= self.reserve.was_used;
        let placed = match placed {
            Ok(placed) => placed,
            Err(error) => {
                self.poisoned = true;
                return Err(error.into());
            }
        };
        Headroom::give_back(&mut *self.file);
        self.file = placed.file;
        self.tail = placed.tail;
        self.headroom.begin_anew(self.tail.byte);
        self.keep_headroom()?;
        Ok(Rotated { segment, after })
    }

    /// Looks at the disk's free space: reserve and headroom are made whole when there is room again. To be called
    /// now and then; returns whether commands are refused.
    pub fn look_at_space(&mut self) -> Result<bool, WriteError> {
        self.check_alive()?;
        let free = self.disk.free_bytes(self.lock.dir());
        let free_bytes = self.or_poison("statvfs", free)?;
        let headroom_bytes = self.headroom.bytes(self.tail.byte, self.limits.headroom_bytes);
        let space = Space { free_bytes, reserve_bytes: self.reserve.bytes, headroom_bytes };
        let was_full = self.storage_full;
        self.storage_full = reserve::is_full(was_full, space, &self.limits);
        if was_full && !self.storage_full {
            self.reserve.establish(&self.limits, &mut self.storage_full)?;
            self.keep_headroom()?;
        }
        Ok(self.storage_full)
    }

    /// Gives up so much of the reserve, for an essential file beside the journal, as a checkpoint. False, and
    /// nothing is given up, where it is not enough or too little would stay for records.
    pub fn use_reserve(&mut self, bytes: u64) -> Result<bool, WriteError> {
        self.storage_full = true;
        match reserve::file_piece(bytes, self.reserve.bytes, &self.limits) {
            Some(piece) => Ok(self.reserve.give_up(piece)?),
            None => Ok(false),
        }
    }

    /// Syncs, says in the journal that everything is durable, closes the write descriptors and gives the lock back.
    /// Returns the last record.
    ///
    /// # Errors
    /// If the sync failed; descriptors and lock are given back all the same.
    pub fn fence(self) -> Result<Position, WriteError> {
        self.fence_and_keep_lock().map(|(last, _lock)| last)
    }

    /// The same, but the lock stays held, for a program image that replaces this one.
    ///
    /// # Errors
    /// As [`Self::fence`].
    pub fn fence_and_keep_lock(mut self) -> Result<(Position, JournalLock), WriteError> {
        let last = self.sync()?;
        let mut mark = Vec::new();
        batch::encode(last.epoch, last.lsn + 1, last.lsn, &[], &mut mark);
        // Evidence, not truth: that it could not be written takes nothing away.
        let _marked = self.file.write(&mark);
        Headroom::give_back(&mut *self.file);
        let Self { gate, file, reserve, lock, .. } = self;
        drop((gate, file, reserve));
        Ok((last, lock))
    }

    fn check_alive(&self) -> Result<(), WriteError> {
        if self.poisoned { Err(WriteError::Poisoned) } else { Ok(()) }
    }

    fn path(&self) -> PathBuf {
        self.lock.dir().join(segment::file_name(self.tail.header.index))
    }

    fn or_poison<T>(&mut self, operation: &'static str, result: io::Result<T>) -> Result<T, WriteError> {
        result.map_err(|source| {
            self.poisoned = true;
            DiskError { operation, path: self.path(), source }.into()
        })
    }

    /// A batch cut short by a full disk is completed from the reserve; there is no way back from half a batch.
    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let written = write_with_reserve(&mut *self.file, bytes, &mut self.reserve);
        self.storage_full |= self.reserve.was_used;
        self.or_poison("write", written)
    }

    fn keep_headroom(&mut self) -> Result<(), WriteError> {
        let kept = self.headroom.keep(&mut *self.file, self.tail.byte, self.limits.headroom_bytes);
        self.storage_full |= !self.or_poison("allocate", kept)?;
        Ok(())
    }
}
