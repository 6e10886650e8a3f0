//! The inbox: what a worker is told, in one file per epoch, `inbox.<epoch>`.
//!
//! Messages are numbered; the numbers come from the journal record written first. The active runtime writes, the
//! holder follows the highest epoch and takes each number once. A new active makes a file of its own epoch and
//! writes again what was not consumed.

mod message;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use message::{INPUT_BYTES_MAX, Kind, Message};
pub use reader::{InboxReader, MessageHead, Payload, highest_epoch};
pub use writer::InboxWriter;

use std::path::{Path, PathBuf};

/// What can go wrong with an inbox.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The operating system refused.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A later active has begun its own file.
    #[error("inbox {path} is overtaken by epoch {epoch}")]
    Overtaken {
        /// The file asked for.
        path: PathBuf,
        /// The highest epoch there.
        epoch: u64,
    },
    /// The input is longer than a message may be.
    #[error("message {number} has {bytes} bytes, the limit is {INPUT_BYTES_MAX}")]
    TooLong {
        /// The message.
        number: u64,
        /// Its length.
        bytes: usize,
    },
    /// Numbers rise within a file.
    #[error("message {number} comes after {last} in {path}")]
    OutOfOrder {
        /// The file.
        path: PathBuf,
        /// The number given.
        number: u64,
        /// The last one written.
        last: u64,
    },
    /// The header is not one this release reads.
    #[error("inbox {path} is not of a version this release reads")]
    Version {
        /// The file.
        path: PathBuf,
    },
}

impl InboxError {
    fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| InboxError::Io { operation, path, source }
    }
}

/// The inbox file of one epoch in a worker's directory.
pub fn inbox_path(directory: &Path, epoch: u64) -> PathBuf {
    directory.join(format!("inbox.{epoch}"))
}
