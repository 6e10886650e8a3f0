//! Headroom: blocks allocated behind a segment's end, so that what was admitted finds room on a disk that others fill.
//! They do not count in the segment's length, and are given back when the segment is left.

use super::disk::{DiskFile, is_full};
use super::reserve_file::cannot;
use std::io;

/// The headroom of the segment that is written.
pub(super) struct Headroom {
    /// Byte up to which blocks are allocated; `None` where the file system cannot.
    end: Option<u64>,
}

impl Headroom {
    /// None yet, behind a segment that ends at `byte`.
    pub(super) fn begin(byte: u64) -> Self {
        Self { end: Some(byte) }
    }

    /// The same for the next segment, where the file system can.
    pub(super) fn begin_anew(&mut self, byte: u64) {
        self.end = self.end.map(|_| byte);
    }

    /// Bytes allocated behind `byte`, the segment's end; all that is `wanted` where the file system cannot.
    pub(super) fn bytes(&self, byte: u64, wanted: u64) -> u64 {
        self.end.map_or(wanted, |end| end - byte)
    }

    /// Makes it whole when more than a quarter of what is `wanted` behind `byte` is used up; false if the disk has no
    /// room for it.
    pub(super) fn keep(&mut self, file: &mut dyn DiskFile, byte: u64, wanted: u64) -> io::Result<bool> {
        let Some(end) = self.end else { return Ok(true) };
        // What is queued, and the batches around it, must fit what is left at any time.
        if end.saturating_sub(byte) > wanted / 4 * 3 {
            return Ok(true);
        }
        match file.allocate(byte, wanted) {
            Ok(()) => self.end = Some(byte + wanted),
            Err(error) if is_full(&error) => {
                self.end = Some(end.max(byte));
                return Ok(false);
            }
            Err(error) if cannot(&error) => self.end = None,
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Sets the segment's length to what it is: blocks allocated behind it are freed.
    pub(super) fn give_back(file: &mut dyn DiskFile) {
        // Failing costs at most the headroom until the segment is removed.
        let _freed = file.length().and_then(|bytes| file.set_len(bytes));
    }
}
