//! Reads one segment batch by batch, keeping a [`Tail`].

use super::survey::{SurveyError, read_segment_header};
use crate::journal::batch::{self, BatchHeader, Body, Found};
use crate::journal::segment::SegmentHeader;
use crate::journal::tail::Tail;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Read at once; a batch that is larger is read whole.
const READ_BYTES: usize = 256 << 10;

/// A segment open for reading. It stays readable after its removal.
#[derive(Debug)]
pub struct SegmentReader {
    file: File,
    /// What was read and checked so far.
    pub tail: Tail,
    buffer: Vec<u8>,
    /// How much of `buffer` came from the file.
    filled: usize,
    /// Where in the file `buffer` begins.
    buffer_at: u64,
}

/// What a reader found at its place.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A good batch; `tail` is behind it now.
    Batch(BatchHeader, Body<'a>),
    /// Nothing (more) that is whole and checks. More may come.
    Nothing,
    /// A batch that checks but does not belong here.
    Misplaced,
}

impl SegmentReader {
    /// Opens segment `index` in `dir` at its first batch.
    pub fn open(dir: &Path, index: u64) -> Result<Self, SurveyError> {
        let (file, found) = read_segment_header(dir, index)?;
        Ok(Self::new(file, Tail::begin(found.header, found.first_batch)))
    }

    /// Opens the segment that `tail` is about, behind what it has read.
    pub fn resume(dir: &Path, tail: Tail) -> Result<Self, SurveyError> {
        let (file, _) = read_segment_header(dir, tail.header.index)?;
        Ok(Self::new(file, tail))
    }

    fn new(file: File, tail: Tail) -> Self {
        Self { file, buffer: Vec::new(), filled: 0, buffer_at: tail.byte, tail }
    }

    /// The segment's header.
    pub fn header(&self) -> &SegmentHeader {
        &self.tail.header
    }

    /// Whether the segment's name is gone.
    pub fn is_removed(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() == 0)
    }

    /// The next batch, not beyond `limit` (a byte of the file, where the next segment says that this one ends).
    pub fn next(&mut self, limit: Option<u64>) -> io::Result<Next<'_>> {
        if limit.is_some_and(|limit| self.tail.byte >= limit) || !self.fill()? {
            return Ok(Next::Nothing);
        }
        let start = (self.tail.byte - self.buffer_at) as usize;
        let Found::Batch(header, body) = batch::find(&self.buffer[start..self.filled]) else {
            return Ok(Next::Nothing);
        };
        if limit.is_some_and(|limit| self.tail.byte + header.total_bytes() as u64 > limit) {
            return Ok(Next::Misplaced);
        }
        match self.tail.admit(&header, &body) {
            Ok(()) => Ok(Next::Batch(header, body)),
            Err(_) => Ok(Next::Misplaced),
        }
    }

    /// Whether a good batch is in the buffer now. One that did not check is read again from its first byte.
    fn fill(&mut self) -> io::Result<bool> {
        let mut want = READ_BYTES;
        let start = (self.tail.byte - self.buffer_at) as usize;
        if start < self.filled {
            match batch::find(&self.buffer[start..self.filled]) {
                Found::Batch(..) => return Ok(true),
                Found::Incomplete { at_least } => want = want.max(at_least),
                Found::Bad => {}
            }
        }
        loop {
            self.read_from_tail(want)?;
            match batch::find(&self.buffer[..self.filled]) {
                Found::Batch(..) => return Ok(true),
                Found::Incomplete { at_least } if self.filled == want && at_least > want => want = at_least,
                _ => return Ok(false),
            }
        }
    }

    fn read_from_tail(&mut self, want: usize) -> io::Result<()> {
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        self.buffer_at = self.tail.byte;
        self.filled = 0;
        while self.filled < want {
            match self.file.read_at(&mut self.buffer[self.filled..want], self.buffer_at + self.filled as u64)
            {
                Ok(0) => break,
                Ok(some) => self.filled += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How long the file is now.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Bytes `from..to` of the file; none if `to` is before `from`.
    pub fn range(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        self.file.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    }
}
