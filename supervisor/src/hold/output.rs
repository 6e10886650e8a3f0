//! One output stream of the worker: read, cut, paced.

use super::HoldError;
use super::cutter;
use super::io::read_nonblocking;
use holdfast_shared::spool::{RECORD_BYTES_MAX, RECORD_HEAD_BYTES, SpoolWriter, Stream};
use holdfast_shared::worker::OutputMode;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// After a read that did not fill a record the next one waits so long: a worker that writes byte by byte makes at
/// most 200 events a second, and the first byte after silence is not delayed at all.
const COALESCE: Duration = Duration::from_millis(5);
/// What is read at most, of one stream, after the worker's last process has ended: the largest pipe that an unprivileged process
/// can make. More comes only from a pipe that something outside the tree holds open.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Records, or at least bytes.
    Some,
    /// Nothing now.
    Nothing,
    /// The next record would pass the quota; it and all after it are discarded.
    QuotaReached,
}

/// What may still be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Records, as long as the segment has no more bytes than this.
    Left {
        /// The order's quota.
        segment_bytes_max: u64,
    },
    /// Nothing: output is read and dropped.
    Discard,
}

/// One of the two streams.
#[derive(Debug)]
pub struct Output {
    stream: Stream,
    mode: OutputMode,
    pipe: Option<OwnedFd>,
    buffer: Box<[u8; RECORD_BYTES_MAX]>,
    filled: usize,
    read_after: Option<Instant>,
    drained: usize,
}

impl Output {
    /// The stream that comes from this non-blocking end of a pipe.
    pub fn new(stream: Stream, mode: OutputMode, pipe: OwnedFd) -> Self {
        let buffer = Box::new([0; RECORD_BYTES_MAX]);
        Self { stream, mode, pipe: Some(pipe), buffer, filled: 0, read_after: None, drained: 0 }
    }

    /// The pipe, while it is open and not pausing.
    pub fn readable(&self, now: Instant) -> Option<&OwnedFd> {
        self.pipe.as_ref().filter(|_| self.read_after.is_none_or(|after| now >= after))
    }

    /// When a pause ends.
    pub fn pause_ends(&self) -> Option<Instant> {
        self.pipe.as_ref().and(self.read_after)
    }

    /// Whether the stream has ended and is wholly queued.
    pub fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads once and queues the records that are complete. With `discard` what is read is dropped.
    pub fn read(&mut self, spool: &mut SpoolWriter, quota: Quota, now: Instant) -> Result<Taken, HoldError> {
        let Some(pipe) = &self.pipe else { return Ok(Taken::Nothing) };
        let Some(count) = read_nonblocking(pipe, &mut self.buffer[self.filled..])
            .map_err(HoldError::system("read the worker's output"))?
        else {
            return Ok(Taken::Nothing);
        };
        self.filled += count;
        self.drained += count;
        self.read_after = (self.filled < RECORD_BYTES_MAX).then(|| now + COALESCE);
        if count == 0 {
            self.pipe = None;
        }
        self.queue_records(spool, quota)
    }

    /// Begins reading to the end without pauses; what was read before does not count.
    pub fn begin_drain(&mut self) {
        self.drained = 0;
    }

    /// Reads on towards the end of the pipe, which is where nothing more is there.
    pub fn drain(&mut self, spool: &mut SpoolWriter, quota: Quota, now: Instant) -> Result<Taken, HoldError> {
        let taken = self.read(spool, quota, now)?;
        if taken != Taken::QuotaReached && (taken == Taken::Nothing || self.drained >= DRAIN_BYTES_MAX) {
            self.pipe = None;
            return self.queue_records(spool, quota);
        }
        Ok(taken)
    }

    fn queue_records(&mut self, spool: &mut SpoolWriter, quota: Quota) -> Result<Taken, HoldError> {
        let Quota::Left { segment_bytes_max } = quota else {
            self.filled = 0;
            return Ok(Taken::Some);
        };
        let at_end = self.pipe.is_none();
        let mut from = 0;
        while let Some(piece) = cutter::next(self.mode, &self.buffer[from..self.filled], at_end) {
            let length = (RECORD_HEAD_BYTES + piece.length) as u64;
            if spool.segment_bytes() + length > segment_bytes_max {
                self.filled = 0;
                return Ok(Taken::QuotaReached);
            }
            spool.output(self.stream, piece.more, &self.buffer[from..from + piece.length]);
            from += piece.length;
        }
        self.buffer.copy_within(from..self.filled, 0);
        self.filled -= from;
        Ok(Taken::Some)
    }
}
