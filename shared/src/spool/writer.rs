//! Writing a spool: the holder's own record writer.
//!
//! Records are first queued and then flushed; a flush that finds the disk full keeps what is left, to the byte,
//! and goes on there when it is called again. So a reader sees each record wholly or not yet, and none twice.

use super::record::{self, Control, Frame, Lane, Stream};
use super::segment::{SegmentHead, segment_path};
use super::{SpoolError, is_no_space, lock, unlock};
use crate::{durable_file, worker};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What became of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flushed {
    /// Everything queued is in the file.
    Done,
    /// The disk is full; the rest is kept for the next flush.
    NoSpace,
}

/// A locked spool: no other holder of this worker lives.
#[derive(Debug)]
pub struct SpoolLock {
    directory: PathBuf,
    file: File,
}

impl SpoolLock {
    /// Takes the lock, for as long as this or the writer made of it lives; makes the file if it is missing and
    /// changes nothing in it.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] if another holder lives.
    pub fn take(directory: &Path) -> Result<Self, SpoolError> {
        let path = segment_path(directory, 0);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(SpoolError::io("open", &path))?;
        lock(&file, &path)?;
        Ok(Self { directory: directory.to_owned(), file })
    }

    /// Gives the lock back without having written anything.
    pub fn release(self) -> Result<(), SpoolError> {
        unlock(&self.file, &segment_path(&self.directory, 0))
    }
}

/// The one writer of a worker's spool.
#[derive(Debug)]
pub struct SpoolWriter {
    directory: PathBuf,
    /// Holds the lock for life; also the file of segment 0.
    first: File,
    /// The present segment's file, where it is not the first.
    later: Option<File>,
    head: SegmentHead,
    outputs: u64,
    end: u64,
    queued: Vec<u8>,
}

/// The queue's buffer is given back beyond this, so that one burst does not cost memory for ever.
const QUEUE_KEPT_BYTES: usize = 64 * 1024;

impl SpoolWriter {
    /// Locks the spool and begins it: [`SpoolLock::take`] and [`SpoolWriter::begin`].
    pub fn create(directory: &Path, turn: &str) -> Result<Self, SpoolError> {
        Self::begin(SpoolLock::take(directory)?, turn)
    }

    /// Begins segment 0; [`Started::write`](worker::Started::write) makes it durable. What an earlier holder began without
    /// starting a worker is begun again: only to be called where no worker was started. The writer keeps the lock.
    pub fn begin(lock: SpoolLock, turn: &str) -> Result<Self, SpoolError> {
        let SpoolLock { directory, file: first } = lock;
        let path = segment_path(&directory, 0);
        first.set_len(0).map_err(SpoolError::io("truncate", &path))?;
        let boot_id = worker::boot_id().map_err(SpoolError::io("read", "/proc/sys/kernel/random/boot_id"))?;
        let head = SegmentHead { segment: 0, first_seq: 1, boot_id };
        let bytes = segment_start(&head, &[Control::Mark { turn: turn.to_owned(), number: 0 }]);
        first.write_all_at(&bytes, 0).map_err(SpoolError::io("write", &path))?;
        let end = bytes.len() as u64;
        Ok(Self { directory, first, later: None, head, outputs: 0, end, queued: Vec::new() })
    }

    /// Queues one output record and answers its number.
    pub fn output(&mut self, stream: Stream, more: bool, bytes: &[u8]) -> u64 {
        self.outputs += 1;
        record::encode(
            &mut self.queued,
            &Frame { seq: self.outputs, lane: Lane::Output(stream), more, bytes },
        );
        self.outputs
    }

    /// Queues one control record.
    pub fn control(&mut self, control: &Control) {
        encode_control(&mut self.queued, self.outputs, control);
    }

    /// Writes what is queued.
    pub fn flush(&mut self) -> Result<Flushed, SpoolError> {
        let mut written = 0;
        let outcome = self.write_queued(&mut written);
        self.end += written as u64;
        self.queued.drain(..written);
        if self.queued.is_empty() && self.queued.capacity() > QUEUE_KEPT_BYTES {
            self.queued = Vec::new();
        }
        match outcome {
            Ok(()) => Ok(Flushed::Done),
            Err(error) if is_no_space(&error) => Ok(Flushed::NoSpace),
            Err(error) => Err(SpoolError::io("write", self.path())(error)),
        }
    }

    fn write_queued(&self, written: &mut usize) -> std::io::Result<()> {
        while *written < self.queued.len() {
            match self.file().write_at(&self.queued[*written..], self.end + *written as u64) {
                Ok(0) => return Err(std::io::Error::from_raw_os_error(libc::ENOSPC)),
                Ok(count) => *written += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes what was flushed durable.
    pub fn sync(&self) -> Result<Flushed, SpoolError> {
        match self.file().sync_data() {
            Ok(()) => Ok(Flushed::Done),
            Err(error) if is_no_space(&error) => Ok(Flushed::NoSpace),
            Err(error) => Err(SpoolError::io("sync", self.path())(error)),
        }
    }

    /// Seals the present segment and begins the next, durably, with its mark and the consumption of the message
    /// that asked for it: both or neither. Flushes first. After [`Flushed::NoSpace`] nothing has begun.
    pub fn next_segment(&mut self, turn: &str, number: u64) -> Result<Flushed, SpoolError> {
        if self.flush()? == Flushed::NoSpace || self.sync()? == Flushed::NoSpace {
            return Ok(Flushed::NoSpace);
        }
        let head = SegmentHead {
            segment: self.head.segment + 1,
            first_seq: self.outputs + 1,
            boot_id: self.head.boot_id,
        };
        let path = segment_path(&self.directory, head.segment);
        let controls = [Control::Mark { turn: turn.to_owned(), number }, Control::Consumed { number }];
        let bytes = segment_start(&head, &controls);
        match durable_file::write_open(&path, &bytes) {
            Ok(file) => {
                self.later = Some(file);
                self.head = head;
                self.end = bytes.len() as u64;
                Ok(Flushed::Done)
            }
            Err(error) if is_no_space(&error) => Ok(Flushed::NoSpace),
            Err(error) => Err(SpoolError::io("create", path)(error)),
        }
    }

    /// Output records so far, queued ones included.
    pub fn outputs(&self) -> u64 {
        self.outputs
    }

    /// Bytes that the present segment takes with what is queued.
    pub fn segment_bytes(&self) -> u64 {
        self.end + self.queued.len() as u64
    }

    /// Bytes queued and not yet in the file.
    pub fn queued_bytes(&self) -> usize {
        self.queued.len()
    }

    /// The present segment.
    pub fn segment(&self) -> u32 {
        self.head.segment
    }

    fn file(&self) -> &File {
        self.later.as_ref().unwrap_or(&self.first)
    }

    fn path(&self) -> PathBuf {
        segment_path(&self.directory, self.head.segment)
    }
}

fn segment_start(head: &SegmentHead, controls: &[Control]) -> Vec<u8> {
    let mut bytes = head.encode().to_vec();
    for control in controls {
        encode_control(&mut bytes, head.first_seq - 1, control);
    }
    bytes
}

fn encode_control(buffer: &mut Vec<u8>, outputs: u64, control: &Control) {
    let bytes = serde_json::to_vec(control).expect("a control record has no map keys and no failing values");
    record::encode(buffer, &Frame { seq: outputs, lane: Lane::Control, more: false, bytes: &bytes });
}
