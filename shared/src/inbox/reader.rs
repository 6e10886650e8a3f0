//! The holder's end of an inbox: whole messages in order, never holding one in memory.

use super::message::{self, FILE_HEAD_BYTES, Kind, MESSAGE_HEAD_BYTES, RawHead};
use super::{InboxError, inbox_path};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is read at a time to check a message.
const CHECK_BYTES: usize = 16 * 1024;

/// A whole, checked message in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHead {
    /// Its number.
    pub number: u64,
    /// Its kind; `None`: one of a later release, to be skipped.
    pub kind: Option<Kind>,
    /// Where its payload begins in the file.
    pub payload_at: u64,
    /// The payload's length.
    pub length: usize,
}

impl MessageHead {
    fn end(&self) -> u64 {
        self.payload_at + self.length as u64
    }
}

/// One epoch's inbox file, read from its beginning.
#[derive(Debug)]
pub struct InboxReader {
    path: PathBuf,
    epoch: u64,
    file: Arc<File>,
    at: u64,
    /// Looked ahead up to here.
    ahead: u64,
}

impl InboxReader {
    /// Opens the file of one epoch.
    pub fn open(directory: &Path, epoch: u64) -> Result<Self, InboxError> {
        let path = inbox_path(directory, epoch);
        let file = File::open(&path).map_err(InboxError::io("open", &path))?;
        let mut head = [0; FILE_HEAD_BYTES];
        // The file came by rename, so its header is whole.
        file.read_exact_at(&mut head, 0).map_err(InboxError::io("read", &path))?;
        if !message::is_file_head(&head, epoch) {
            return Err(InboxError::Version { path });
        }
        Ok(Self {
            path,
            epoch,
            file: Arc::new(file),
            at: FILE_HEAD_BYTES as u64,
            ahead: FILE_HEAD_BYTES as u64,
        })
    }

    /// The epoch whose file this is.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next message, if it is wholly there.
    pub fn peek(&self) -> Result<Option<MessageHead>, InboxError> {
        self.whole_at(self.at)
    }

    /// Goes past a message that [`InboxReader::peek`] gave.
    pub fn advance(&mut self, past: &MessageHead) {
        self.at = past.end();
        self.ahead = self.ahead.max(self.at);
    }

    /// Looks at the next message not looked at before, past the one that `peek` gives. For a reader that is stuck
    /// on an earlier one and must still hear a cancel.
    pub fn look_ahead(&mut self) -> Result<Option<MessageHead>, InboxError> {
        let found = self.whole_at(self.ahead)?;
        if let Some(message) = &found {
            self.ahead = message.end();
        }
        Ok(found)
    }

    /// A message's payload, readable also after the reader is gone.
    pub fn payload(&self, message: &MessageHead) -> Payload {
        let file = Arc::clone(&self.file);
        Payload { file, path: self.path.clone(), at: message.payload_at, length: message.length }
    }

    fn whole_at(&self, at: u64) -> Result<Option<MessageHead>, InboxError> {
        let mut head = [0; MESSAGE_HEAD_BYTES];
        if !self.read_whole(&mut head, at)? {
            return Ok(None);
        }
        let Some(raw) = message::decode_head(&head) else { return Ok(None) };
        let payload_at = at + MESSAGE_HEAD_BYTES as u64;
        // A wrong CRC is a message still being written, or written over after a failure: later it is right.
        if !self.crc_matches(&head, &raw, payload_at)? {
            return Ok(None);
        }
        Ok(Some(MessageHead { number: raw.number, kind: raw.kind, payload_at, length: raw.length }))
    }

    fn crc_matches(&self, head: &[u8], raw: &RawHead, payload_at: u64) -> Result<bool, InboxError> {
        let mut crc = crc32c::crc32c(&head[4..]);
        let mut buffer = [0; CHECK_BYTES];
        let mut done = 0;
        while done < raw.length {
            let piece = &mut buffer[..CHECK_BYTES.min(raw.length - done)];
            if !self.read_whole(piece, payload_at + done as u64)? {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, piece);
            done += piece.len();
        }
        Ok(crc == raw.crc)
    }

    fn read_whole(&self, buffer: &mut [u8], at: u64) -> Result<bool, InboxError> {
        match self.file.read_exact_at(buffer, at) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(InboxError::io("read", &self.path)(error)),
        }
    }
}

/// The payload of a whole message; stays in the file.
#[derive(Debug)]
pub struct Payload {
    file: Arc<File>,
    path: PathBuf,
    at: u64,
    length: usize,
}

impl Payload {
    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Reads as much as the buffer takes, from an offset on; answers the count, 0 at the end.
    pub fn read(&self, from: usize, buffer: &mut [u8]) -> Result<usize, InboxError> {
        let length = buffer.len().min(self.length.saturating_sub(from));
        self.file
            .read_exact_at(&mut buffer[..length], self.at + from as u64)
            .map_err(InboxError::io("read", &self.path))?;
        Ok(length)
    }
}

/// The highest epoch that has an inbox in a worker's directory.
pub fn highest_epoch(directory: &Path) -> io::Result<Option<u64>> {
    let mut highest = None;
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let epoch =
            name.to_str().and_then(|name| name.strip_prefix("inbox.")).and_then(|text| text.parse().ok());
        highest = highest.max(epoch);
    }
    Ok(highest)
}
