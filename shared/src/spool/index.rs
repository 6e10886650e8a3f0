//! Reading a segment anywhere: sealed segments are the history. Nobody holds one whole.

use super::SpoolError;
use super::reader::read_up_to;
use super::record::{self, Decoded, Lane, Position, SpoolRecord};
use super::segment::{SEGMENT_HEAD_BYTES, SegmentHead, segment_path};
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The most bytes of a segment one read of history takes.
pub const HISTORY_PIECE_BYTES_MAX: usize = 256 * 1024;
/// An entry for about every so many bytes of the segment: what a read scans at most before it finds its record.
const INDEX_STEP_BYTES: u64 = 64 * 1024;

/// Where some of a segment's output records begin: 16 bytes for every 64 KiB of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseIndex {
    /// (output record, byte), ascending.
    entries: Vec<(u64, u64)>,
    last_seq: u64,
}

impl SparseIndex {
    /// Takes note of an output record, in order; those in between entries are forgotten.
    pub fn note(&mut self, seq: u64, byte: u64) {
        let due = self.entries.last().is_none_or(|(_, last)| byte >= last + INDEX_STEP_BYTES);
        if due {
            self.entries.push((seq, byte));
        }
        self.last_seq = seq;
    }

    /// The entry at or before this record.
    pub fn before(&self, seq: u64) -> Option<(u64, u64)> {
        let after = self.entries.partition_point(|(first, _)| *first <= seq);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// First and last record noted.
    pub fn range(&self) -> Option<(u64, u64)> {
        self.entries.first().map(|(first, _)| (*first, self.last_seq))
    }
}

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
        }))
    }

    /// The number of the segment's first output record, whether it is written yet or not.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Brings the index up to what is in the file now and answers the last output record's number
    /// (`first_seq - 1`: none).
    pub fn last_seq(&mut self) -> Result<u64, SpoolError> {
        while self.scan_piece(None)? {}
        Ok(self.scanned_outputs)
    }

    /// The last output record before the end or the first damage.
    ///
    /// # Errors
    /// Only [`SpoolError::Io`].
    pub fn last_good(&mut self) -> Result<u64, SpoolError> {
        match self.last_seq() {
            Err(error @ SpoolError::Io { .. }) => Err(error),
            _ => Ok(self.scanned_outputs),
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
        while self.scanned_outputs < seq && self.scan_piece(Some(seq))? {}
        let Some((_, near)) = self.index.before(seq).filter(|_| seq <= self.scanned_outputs) else {
            return Ok(Vec::new());
        };
        let begin = self.find(seq, near)?;
        let piece = max_bytes.clamp(record::RECORD_LENGTH_MAX, HISTORY_PIECE_BYTES_MAX);
        let buffer = self.read(begin, piece)?;
        self.outputs_in(&buffer, begin)
    }

    /// Indexes up to one piece more; `false` when nothing more is there.
    fn scan_piece(&mut self, until: Option<u64>) -> Result<bool, SpoolError> {
        let buffer = self.read(self.scanned, HISTORY_PIECE_BYTES_MAX)?;
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
        let size = self.file.metadata().map_err(SpoolError::io("ask size of", &self.path))?.len();
        let rest = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(piece.min(rest));
        let length = read_up_to(&self.file, &mut buffer, at).map_err(SpoolError::io("read", &self.path))?;
        buffer.truncate(length);
        Ok(buffer.freeze())
    }

    fn damaged(&self, byte: u64) -> SpoolError {
        SpoolError::Damaged { path: self.path.clone(), byte }
    }
}
