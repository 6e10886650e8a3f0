//! Following a spool from its beginning or from any segment, while it is written or after.

use super::record::{self, Decoded, Lane, Position, SpoolRecord};
use super::segment::{SEGMENT_HEAD_BYTES, SegmentHead, segment_path};
use super::{Control, SpoolError};
use crate::worker::Exit;
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The most bytes one [`SpoolTail::poll`] reads: the size of a history piece.
pub const TAIL_PIECE_BYTES_MAX: usize = 256 * 1024;

/// Reads whole good records as they come. An incomplete record at the end is read again from its first byte
/// later and never judged; holds no data between two polls.
#[derive(Debug)]
pub struct SpoolTail {
    directory: PathBuf,
    segment: u32,
    /// A segment was opened: the next one must continue it.
    begun: bool,
    file: Option<File>,
    byte: u64,
    outputs: u64,
    consumed: u64,
    turn: Option<String>,
    exit: Option<Exit>,
}

impl SpoolTail {
    /// A tail at the beginning of a worker's spool, which need not be there yet.
    pub fn open(directory: &Path) -> Self {
        Self::open_at(directory, 0)
    }

    /// A tail at the beginning of one segment.
    pub fn open_at(directory: &Path, segment: u32) -> Self {
        let directory = directory.to_owned();
        Self {
            directory,
            segment,
            begun: false,
            file: None,
            byte: 0,
            outputs: 0,
            consumed: 0,
            turn: None,
            exit: None,
        }
    }

    /// The records that came since the last poll, reading at most `max_bytes` of the file (at least one record's
    /// length, at most [`TAIL_PIECE_BYTES_MAX`]). Empty: nothing new.
    ///
    /// # Errors
    /// [`SpoolError::Damaged`] for a whole record that is not good, or not the next; all before it were given.
    pub fn poll(&mut self, max_bytes: usize) -> Result<Vec<SpoolRecord>, SpoolError> {
        let piece = max_bytes.clamp(record::RECORD_LENGTH_MAX, TAIL_PIECE_BYTES_MAX);
        loop {
            if !self.open_segment()? {
                return Ok(Vec::new());
            }
            let records = self.read_records(piece)?;
            if !records.is_empty() {
                return Ok(records);
            }
            if self.exit.is_some() || !self.next_exists()? {
                return Ok(records);
            }
            // The next segment is begun only when this one is complete, but this one may have been completed
            // between our read and our look.
            let records = self.read_records(piece)?;
            if !records.is_empty() {
                return Ok(records);
            }
            if self.unread_bytes()? > 0 {
                return Err(self.damaged());
            }
            self.segment += 1;
            self.file = None;
        }
    }

    /// After an error: goes on where the next segment begins, if there is one; whether there is. What was between is not
    /// given, and may be of no use any more: a segment is begun only when those before it are complete.
    ///
    /// # Errors
    /// When the next segment cannot be looked for.
    pub fn pass_over(&mut self) -> Result<bool, SpoolError> {
        // One that does not go on from what was read may be whole itself.
        let continues_badly = self.begun && self.file.is_none();
        let next = if continues_badly { self.segment } else { self.segment + 1 };
        let path = segment_path(&self.directory, next);
        if self.exit.is_some() || !path.try_exists().map_err(SpoolError::io("look for", &path))? {
            return Ok(false);
        }
        (self.segment, self.byte, self.begun, self.file) = (next, 0, false, None);
        Ok(true)
    }

    /// How the worker ended, once that was read.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Output records read so far, those of earlier segments included.
    pub fn outputs(&self) -> u64 {
        self.outputs
    }

    /// The highest inbox number that the holder said it took.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The turn whose segment is being read.
    pub fn turn(&self) -> Option<&str> {
        self.turn.as_deref()
    }

    /// Where the next record will be read.
    pub fn position(&self) -> Position {
        Position { segment: self.segment, byte: self.byte }
    }

    fn open_segment(&mut self) -> Result<bool, SpoolError> {
        if self.file.is_some() {
            return Ok(true);
        }
        let path = segment_path(&self.directory, self.segment);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(SpoolError::io("open", path)(error)),
        };
        let mut bytes = [0; SEGMENT_HEAD_BYTES];
        let length = read_up_to(&file, &mut bytes, 0).map_err(SpoolError::io("read", &path))?;
        let Some(head) = SegmentHead::decode(&bytes[..length], &path)? else { return Ok(false) };
        let fits = !self.begun || head.first_seq == self.outputs + 1;
        if head.segment != self.segment || head.first_seq == 0 || !fits {
            return Err(SpoolError::Damaged { path, byte: 0 });
        }
        self.outputs = head.first_seq - 1;
        self.byte = SEGMENT_HEAD_BYTES as u64;
        self.begun = true;
        self.file = Some(file);
        Ok(true)
    }

    fn next_exists(&self) -> Result<bool, SpoolError> {
        let next = segment_path(&self.directory, self.segment + 1);
        next.try_exists().map_err(SpoolError::io("look for", next))
    }

    fn read_records(&mut self, piece: usize) -> Result<Vec<SpoolRecord>, SpoolError> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let rest = usize::try_from(self.unread_bytes()?).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(piece.min(rest));
        let length = read_up_to(file, &mut buffer, self.byte).map_err(|error| self.error("read", error))?;
        buffer.truncate(length);
        self.take_records(buffer.freeze())
    }

    fn unread_bytes(&self) -> Result<u64, SpoolError> {
        let Some(file) = &self.file else { return Ok(0) };
        let size = file.metadata().map_err(|error| self.error("ask size of", error))?.len();
        Ok(size.saturating_sub(self.byte))
    }

    fn take_records(&mut self, buffer: Bytes) -> Result<Vec<SpoolRecord>, SpoolError> {
        let mut records = Vec::new();
        let mut at = 0;
        while let Some((record, length)) = self.take_record(&buffer, at, records.is_empty())? {
            records.push(record);
            at += length;
            self.byte += length as u64;
        }
        Ok(records)
    }

    fn take_record(
        &mut self,
        buffer: &Bytes,
        at: usize,
        first: bool,
    ) -> Result<Option<(SpoolRecord, usize)>, SpoolError> {
        let frame = match record::decode(&buffer[at..]) {
            Decoded::Incomplete => return Ok(None),
            Decoded::Whole(frame) => frame,
            // What is good is given first; the next poll begins here.
            Decoded::Damaged if !first => return Ok(None),
            Decoded::Damaged => return Err(self.damaged()),
        };
        let Some(outputs) = record::continues(&frame, self.outputs) else {
            return if first { Err(self.damaged()) } else { Ok(None) };
        };
        let position = self.position();
        self.outputs = outputs;
        let record = match frame.lane {
            Lane::Output(stream) => {
                let bytes = buffer.slice_ref(frame.bytes);
                SpoolRecord::Output { seq: frame.seq, stream, more: frame.more, bytes, at: position }
            }
            Lane::Control => {
                let control = record::control(frame.bytes);
                self.note(&control);
                SpoolRecord::Control { outputs_before: frame.seq, control, at: position }
            }
        };
        Ok(Some((record, frame.length())))
    }

    fn note(&mut self, control: &Control) {
        match control {
            Control::Mark { turn, .. } => self.turn = Some(turn.clone()),
            Control::Consumed { number } => self.consumed = self.consumed.max(*number),
            Control::Exit(exit) => self.exit = Some(*exit),
            Control::Quota { .. } | Control::Unknown => {}
        }
    }

    fn damaged(&self) -> SpoolError {
        SpoolError::Damaged { path: segment_path(&self.directory, self.segment), byte: self.byte }
    }

    fn error(&self, operation: &'static str, source: io::Error) -> SpoolError {
        SpoolError::Io { operation, path: segment_path(&self.directory, self.segment), source }
    }
}

/// Reads until the buffer is full or the file ends; answers the count.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], at + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
