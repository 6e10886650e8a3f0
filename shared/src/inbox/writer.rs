//! Writing the inbox of one's own epoch.

use super::message::{self, FILE_HEAD_BYTES, INPUT_BYTES_MAX, Message};
use super::{InboxError, highest_epoch, inbox_path};
use crate::durable_file;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The active runtime's end of an inbox.
#[derive(Debug)]
pub struct InboxWriter {
    path: PathBuf,
    file: File,
    end: u64,
    last: u64,
}

impl InboxWriter {
    /// Begins this epoch's file, durably, replacing what an earlier attempt of the same epoch left: write again
    /// what was not consumed.
    ///
    /// # Errors
    /// [`InboxError::Overtaken`] if a higher epoch has a file.
    pub fn create(directory: &Path, epoch: u64) -> Result<Self, InboxError> {
        let path = inbox_path(directory, epoch);
        match highest_epoch(directory).map_err(InboxError::io("list", directory))? {
            Some(highest) if highest > epoch => return Err(InboxError::Overtaken { path, epoch: highest }),
            _ => {}
        }
        let file = durable_file::write_open(&path, &message::encode_file_head(epoch))
            .map_err(InboxError::io("create", &path))?;
        Ok(Self { path, file, end: FILE_HEAD_BYTES as u64, last: 0 })
    }

    /// Writes one message durably. Numbers rise, from 1. After a failure nothing was sent and the same or a later
    /// number can be sent.
    pub fn send(&mut self, number: u64, message: &Message) -> Result<(), InboxError> {
        let bytes = message.payload().len();
        if bytes > INPUT_BYTES_MAX {
            return Err(InboxError::TooLong { number, bytes });
        }
        if number <= self.last {
            return Err(InboxError::OutOfOrder { path: self.path.clone(), number, last: self.last });
        }
        let bytes = message::encode(number, message);
        let written = self.file.write_all_at(&bytes, self.end).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Best effort: the holder takes whole messages only, and the next one is written over this.
            let _ = self.file.set_len(self.end);
            return Err(InboxError::io("write", &self.path)(error));
        }
        self.end += bytes.len() as u64;
        self.last = number;
        Ok(())
    }

    /// The last number sent in this file; 0: none.
    pub fn last(&self) -> u64 {
        self.last
    }
}
