//! Reading a segment anywhere: sealed segments are the history. Nobody holds one whole.

use super::SpoolError;
use super::index::{INDEX_STEP_BYTES, SparseIndex};
use super::reader::read_up_to;
use super::record::{self, Decoded, Lane, Position, SpoolRecord};
use super::segment::{SEGMENT_HEAD_BYTES, SegmentHead, segment_path};
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The most bytes of a segment one read of history takes.
pub const HISTORY_PIECE_BYTES_MAX: usize = 256 * 1024;

/// One segment, open for reading anywhere in it.
#[derive(Debug)]
pub struct SegmentHistory {
    path: PathBuf,
    segment: u32,
    first_seq: u64,
    file: File,
    index: SparseIndex,
    scanned: u64,
    scanned_outputs: u64,
    /// The index was given, not read: it is believed until it proves wrong.
    given: bool,
    /// (output record, byte) behind what was read last: reading on needs no search.
    next: Option<(u64, u64)>,
}

impl SegmentHistory {
    /// Opens a segment. `Ok(None)` if it is not there or its header is not yet.
    pub fn open(directory: &Path, segment: u32) -> Result<Option<Self>, SpoolError> {
        let path = segment_path(directory, segment);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SpoolError::io("open", path)(error)),
        };
        let mut bytes = [0; SEGMENT_HEAD_BYTES];
        let length = read_up_to(&file, &mut bytes, 0).map_err(SpoolError::io("read", &path))?;
        let Some(head) = SegmentHead::decode(&bytes[..length], &path)? else { return Ok(None) };
        Ok(Some(Self {
            path,
            segment,
            first_seq: head.first_seq,
            file,
            index: SparseIndex::default(),
            scanned: SEGMENT_HEAD_BYTES as u64,
            scanned_outputs: head.first_seq - 1,
            given: false,
            next: None,
        }))
    }

    /// The number of the segment's first output record, whether it is written yet or not.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Takes an index that was made of this segment earlier ([`SparseIndex::thinned`]), if nothing was read yet. A
    /// wrong one costs time, nothing else.
    pub fn give_index(&mut self, entries: &[(u64, u64)]) {
        let (Some(index), true) = (SparseIndex::of(entries), self.index.range().is_none()) else { return };
        let (Some((first, at)), Some((seq, byte))) = (entries.first(), entries.last()) else { return };
        if *first == self.first_seq && *at >= self.scanned {
            self.index = index;
            (self.scanned, self.scanned_outputs, self.given) = (*byte, seq - 1, true);
        }
    }

    /// The index as far as it is known.
    pub fn index(&self) -> &SparseIndex {
        &self.index
    }

    /// Brings the index up to what is in the file now and answers the last output record's number
    /// (`first_seq - 1`: none).
    pub fn last_seq(&mut self) -> Result<u64, SpoolError> {
        self.scan(None)?;
        Ok(self.scanned_outputs)
    }

    /// The output records that cannot be read around `seq`, which is one of them: from the first to the last. The
    /// last is unknown (`u64::MAX`) where nothing behind it can be found.
    ///
    /// # Errors
    /// Only [`SpoolError::Io`].
    pub fn unreadable(&mut self, seq: u64) -> Result<(u64, u64), SpoolError> {
        if let Err(error @ SpoolError::Io { .. }) = self.scan(None) {
            return Err(error);
        }
        let last = self.index.after(seq).map_or(u64::MAX, |(next, _)| next - 1);
        let Some((near, mut byte)) = self.index.before(seq) else { return Ok((self.first_seq, last)) };
        let mut first = near;
        loop {
            let buffer = self.read(byte, HISTORY_PIECE_BYTES_MAX)?;
            let begin = byte;
            while let Decoded::Whole(frame) = record::decode(&buffer[(byte - begin) as usize..]) {
                byte += frame.length() as u64;
                if let Lane::Output(_) = frame.lane {
                    first = frame.seq + 1;
                }
            }
            if byte == begin || first > seq {
                return Ok((first.min(seq), last));
            }
        }
    }

    /// The output records from `seq` on, in order: at least one, at most [`HISTORY_PIECE_BYTES_MAX`] or
    /// `max_bytes` of the file. Empty: that record is not written yet.
    ///
    /// # Errors
    /// [`SpoolError::NoSuchRecord`] for a record of an earlier segment.
    pub fn read_from(&mut self, seq: u64, max_bytes: usize) -> Result<Vec<SpoolRecord>, SpoolError> {
        if seq < self.first_seq {
            return Err(SpoolError::NoSuchRecord { path: self.path.clone(), seq });
        }
        match self.read_indexed(seq, max_bytes) {
            Err(error)
                if self.given && !matches!(error, SpoolError::Io { .. }) && !self.index_holds(seq)? =>
            {
                self.forget_index();
                self.read_indexed(seq, max_bytes)
            }
            read => read,
        }
    }

    /// Whether the entries around `seq` say the truth: then it is the segment that is wrong.
    fn index_holds(&self, seq: u64) -> Result<bool, SpoolError> {
        for (near, byte) in self.index.before(seq).into_iter().chain(self.index.after(seq)) {
            let buffer = self.read(byte, record::RECORD_LENGTH_MAX)?;
            let Decoded::Whole(frame) = record::decode(&buffer) else { return Ok(false) };
            if frame.seq != near || !matches!(frame.lane, Lane::Output(_)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn forget_index(&mut self) {
        self.index = SparseIndex::default();
        (self.scanned, self.scanned_outputs) = (SEGMENT_HEAD_BYTES as u64, self.first_seq - 1);
        (self.given, self.next) = (false, None);
    }

    fn read_indexed(&mut self, seq: u64, max_bytes: usize) -> Result<Vec<SpoolRecord>, SpoolError> {
        if self.scanned_outputs < seq {
            self.scan(Some(seq))?;
        }
        let Some((_, near)) = self.index.before(seq).filter(|_| seq <= self.scanned_outputs) else {
            return Ok(Vec::new());
        };
        let begin = match self.next {
            Some((next, byte)) if next == seq => byte,
            _ => self.find(seq, near)?,
        };
        let piece = max_bytes.clamp(record::RECORD_LENGTH_MAX, HISTORY_PIECE_BYTES_MAX);
        let buffer = self.read(begin, piece)?;
        let records = self.outputs_in(&buffer, begin)?;
        if let Some(SpoolRecord::Output { seq, bytes, at, .. }) = records.last() {
            self.next = Some((seq + 1, at.byte + (record::RECORD_HEAD_BYTES + bytes.len()) as u64));
        }
        Ok(records)
    }

    /// Indexes what is there, to the end or until `until` is known.
    fn scan(&mut self, until: Option<u64>) -> Result<(), SpoolError> {
        // One buffer for all pieces: fresh pages for each would cost more than the reading.
        let mut buffer = Vec::new();
        while self.scan_piece(&mut buffer, until)? && until.is_none_or(|seq| self.scanned_outputs < seq) {}
        Ok(())
    }

    /// Indexes up to one piece more; `false` when nothing more is there.
    fn scan_piece(&mut self, buffer: &mut Vec<u8>, until: Option<u64>) -> Result<bool, SpoolError> {
        let wanted = self.rest(self.scanned)?.min(HISTORY_PIECE_BYTES_MAX);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let read = read_up_to(&self.file, &mut buffer[..wanted], self.scanned);
        let buffer = &buffer[..read.map_err(SpoolError::io("read", &self.path))?];
        let mut at = 0;
        while let Some(frame) = self.frame(&buffer[at..], self.scanned)? {
            let Some(outputs) = record::continues(&frame, self.scanned_outputs) else {
                return Err(self.damaged(self.scanned));
            };
            if let Lane::Output(_) = frame.lane {
                self.index.note(frame.seq, self.scanned);
            }
            self.scanned_outputs = outputs;
            self.scanned += frame.length() as u64;
            at += frame.length();
            if until.is_some_and(|seq| self.scanned_outputs >= seq) {
                break;
            }
        }
        Ok(at > 0)
    }

    /// The byte at which an indexed record begins; `near` is an entry at or before it.
    fn find(&self, seq: u64, near: u64) -> Result<u64, SpoolError> {
        let mut byte = near;
        loop {
            let buffer = self.read(byte, INDEX_STEP_BYTES as usize + record::RECORD_LENGTH_MAX)?;
            let begin = byte;
            while let Some(frame) = self.frame(&buffer[(byte - begin) as usize..], byte)? {
                if frame.seq == seq && matches!(frame.lane, Lane::Output(_)) {
                    return Ok(byte);
                }
                byte += frame.length() as u64;
            }
            if byte == begin {
                return Err(SpoolError::NoSuchRecord { path: self.path.clone(), seq });
            }
        }
    }

    fn outputs_in(&self, buffer: &Bytes, begin: u64) -> Result<Vec<SpoolRecord>, SpoolError> {
        let mut records = Vec::new();
        let mut at = 0;
        loop {
            let frame = match self.frame(&buffer[at..], begin + at as u64) {
                Ok(Some(frame)) => frame,
                // What is good is given first; the next read begins at the damage.
                Err(error) if records.is_empty() => return Err(error),
                Ok(None) | Err(_) => return Ok(records),
            };
            if let Lane::Output(stream) = frame.lane {
                let position = Position { segment: self.segment, byte: begin + at as u64 };
                let bytes = buffer.slice_ref(frame.bytes);
                records.push(SpoolRecord::Output {
                    seq: frame.seq,
                    stream,
                    more: frame.more,
                    bytes,
                    at: position,
                });
            }
            at += frame.length();
        }
    }

    fn frame<'a>(&self, buffer: &'a [u8], byte: u64) -> Result<Option<record::Frame<'a>>, SpoolError> {
        match record::decode(buffer) {
            Decoded::Incomplete => Ok(None),
            Decoded::Whole(frame) => Ok(Some(frame)),
            Decoded::Damaged => Err(self.damaged(byte)),
        }
    }

    fn read(&self, at: u64, piece: usize) -> Result<Bytes, SpoolError> {
        let mut buffer = BytesMut::zeroed(piece.min(self.rest(at)?));
        let length = read_up_to(&self.file, &mut buffer, at).map_err(SpoolError::io("read", &self.path))?;
        buffer.truncate(length);
        Ok(buffer.freeze())
    }

    fn rest(&self, at: u64) -> Result<usize, SpoolError> {
        let size = self.file.metadata().map_err(SpoolError::io("ask size of", &self.path))?.len();
        Ok(usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX))
    }

    fn damaged(&self, byte: u64) -> SpoolError {
        SpoolError::Damaged { path: self.path.clone(), byte }
    }
}
