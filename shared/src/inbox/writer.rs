//! Writing the inbox of one's own epoch.

use super::message::{self, FILE_HEAD_BYTES, INPUT_BYTES_MAX, Message};
use super::{InboxError, highest_epoch, inbox_path};
use nix::fcntl::{FallocateFlags, fallocate};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// From so many bytes of consumed messages on their blocks are given back.
const RELEASED_BYTES: u64 = 1024 * 1024;

/// The active runtime's end of an inbox.
///
/// Nothing here waits for the disk. What a message says is in the journal first; a message that only memory has is lost
/// by a power cut alone, and with it the worker that it was for.
#[derive(Debug)]
pub struct InboxWriter {
    path: PathBuf,
    file: File,
    end: u64,
    last: u64,
    /// Messages that may not be consumed yet: number, and the byte behind it. As many as their sender lets wait.
    unreleased: VecDeque<(u64, u64)>,
    /// Up to this byte all has gone into the worker.
    over: u64,
    /// Up to this byte the file has no blocks any more.
    released: u64,
}

impl InboxWriter {
    /// Begins this epoch's file, replacing what an earlier attempt of the same epoch left: write again what was not
    /// consumed. Files of lower epochs go.
    ///
    /// # Errors
    /// [`InboxError::Overtaken`] if a higher epoch has a file.
    pub fn create(directory: &Path, epoch: u64) -> Result<Self, InboxError> {
        let path = inbox_path(directory, epoch);
        match highest_epoch(directory).map_err(InboxError::io("list", directory))? {
            Some(highest) if highest > epoch => return Err(InboxError::Overtaken { path, epoch: highest }),
            _ => {}
        }
        let file = begin(&path, epoch).map_err(InboxError::io("create", &path))?;
        remove_lower(directory, epoch);
        let end = FILE_HEAD_BYTES as u64;
        Ok(Self { path, file, end, last: 0, unreleased: VecDeque::new(), over: end, released: end })
    }

    /// Writes one message. Numbers rise, from 1. After a failure nothing was sent and the same or a later number can be
    /// sent.
    pub fn send(&mut self, number: u64, message: &Message) -> Result<(), InboxError> {
        let bytes = message.payload().len();
        if bytes > INPUT_BYTES_MAX {
            return Err(InboxError::TooLong { number, bytes });
        }
        if number <= self.last {
            return Err(InboxError::OutOfOrder { path: self.path.clone(), number, last: self.last });
        }
        let bytes = message::encode(number, message);
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            // Best effort: the holder takes whole messages only, and the next one is written over this.
            let _ = self.file.set_len(self.end);
            return Err(InboxError::io("write", &self.path)(error));
        }
        self.end += bytes.len() as u64;
        self.last = number;
        self.unreleased.push_back((number, self.end));
        Ok(())
    }

    /// Messages up to `consumed` were taken. What lies before the last of them has gone into the worker, and takes no
    /// room on the disk for longer.
    pub fn release(&mut self, consumed: u64) {
        while let Some((_, behind)) = self.unreleased.front().filter(|(number, _)| *number < consumed) {
            self.over = *behind;
            self.unreleased.pop_front();
        }
        let length = self.over - self.released;
        if length < RELEASED_BYTES {
            return;
        }
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (from, length) = (self.released.cast_signed(), length.cast_signed());
        // Best effort: a file system without holes keeps it until the worker goes.
        let _ = fallocate(&self.file, flags, from, length);
        self.released = self.over;
    }

    /// The last number sent in this file; 0: none.
    pub fn last(&self) -> u64 {
        self.last
    }
}

/// The file with its header comes into place whole: whoever looks for it finds both.
fn begin(path: &Path, epoch: u64) -> std::io::Result<File> {
    let temporary = path.with_extension(format!("{epoch}.tmp"));
    let begun = || {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all_at(&message::encode_file_head(epoch), 0)?;
        std::fs::rename(&temporary, path)?;
        Ok(file)
    };
    begun().inspect_err(|_: &std::io::Error| {
        // Best effort: what is left behind is overwritten by the next attempt.
        let _ = std::fs::remove_file(&temporary);
    })
}

/// The holder follows the highest; what it still reads of a lower one it has open.
fn remove_lower(directory: &Path, epoch: u64) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let epoch_of = |path: &Path| path.file_name()?.to_str()?.strip_prefix("inbox.")?.parse::<u64>().ok();
    for path in entries.map(|entry| entry.path()) {
        if epoch_of(&path).is_some_and(|lower| lower < epoch) {
            // Best effort: it takes room until the worker goes.
            let _ = std::fs::remove_file(&path);
        }
    }
}
