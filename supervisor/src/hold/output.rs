//! One output stream of the worker: read, cut, paced.

use super::HoldError;
use super::cutter;
use super::io::read_nonblocking;
use holdfast_shared::pace::Pace;
use holdfast_shared::spool::{RECORD_BYTES_MAX, RECORD_HEAD_BYTES, SpoolWriter, Stream};
use holdfast_shared::worker::OutputMode;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// After a read that did not fill a record the next one waits so long: a worker that writes byte by byte makes at
/// most 200 events a second, and the first byte after silence is not delayed at all.
const COALESCE: Duration = Duration::from_millis(5);
/// Where each line is a record of its own, waiting makes no fewer of them: so many reads may come one after the other
/// before they are paced, so that an exchange of a few messages (a session's opening) does not wait.
const LINES_AT_ONCE: u32 = 8;
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
    pace: Pace,
    /// The last read filled a record: the next follows at once.
    filled_up: bool,
    drained: usize,
}

impl Output {
    /// The stream that comes from this non-blocking end of a pipe.
    pub fn new(stream: Stream, mode: OutputMode, pipe: OwnedFd) -> Self {
        let buffer = Box::new([0; RECORD_BYTES_MAX]);
        let at_once = if mode == OutputMode::Lines { LINES_AT_ONCE } else { 1 };
        let (pace, filled_up) = (Pace::new(at_once, COALESCE), false);
        Self { stream, mode, pipe: Some(pipe), buffer, filled: 0, pace, filled_up, drained: 0 }
    }

    /// The pipe, while it is open and not pausing.
    pub fn readable(&self, now: Instant) -> Option<&OwnedFd> {
        self.pipe.as_ref().filter(|_| self.pause().is_none_or(|end| now >= end))
    }

    /// When a pause ends.
    pub fn pause_ends(&self) -> Option<Instant> {
        self.pipe.as_ref().and(self.pause())
    }

    fn pause(&self) -> Option<Instant> {
        self.pace.next().filter(|_| !self.filled_up)
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
        self.filled_up = self.filled == RECORD_BYTES_MAX;
        if !self.filled_up {
            self.pace.count(now);
        }
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
