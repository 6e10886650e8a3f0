//! The spool: everything a worker said, and how it ended, written by its holder alone.
//!
//! A worker's directory holds segment files: `spool`, then `spool.1`, `spool.2`, ... for a worker that serves
//! several turns. The holder locks `spool` for life: locked means alive. Each segment begins with a header
//! that names the format's version and the boot, then a [`Control::Mark`], then records.
//!
//! Output records (stdout, stderr) are numbered from 1 without gaps over all segments; one output record is
//! one event. Control records take no number: they carry the count of output records before them. `Exit` is
//! the last record there ever is, and synced.

mod cut;
mod history;
mod index;
mod lock;
mod reader;
mod record;
mod segment;
mod sync;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

pub use cut::{CutReport, cut_to_last_good};
pub use history::{HISTORY_PIECE_BYTES_MAX, SegmentHistory};
pub use index::SparseIndex;
pub use lock::is_locked;
use lock::{lock, unlock};
pub use reader::{SpoolTail, TAIL_PIECE_BYTES_MAX};
pub use record::{
    Control, Decoded, Frame, Position, RECORD_BYTES_MAX, RECORD_HEAD_BYTES, SpoolRecord, Stream, decode,
    encode,
};
pub use segment::{SEGMENT_HEAD_BYTES, SegmentHead, segment_path, segments};
pub use sync::{SPOOL_SYNC_INTERVAL_MS, SyncInterval};
pub use watch::{SpoolWatch, WatchToken};
pub use writer::{Flushed, SpoolLock, SpoolWriter};

use std::path::PathBuf;

/// What can go wrong with a spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
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
    /// Another process holds this worker.
    #[error("spool {path} is locked by another holder")]
    Locked {
        /// The locked file.
        path: PathBuf,
    },
    /// A whole record is there and is wrong.
    #[error("spool {path} is damaged at byte {byte}")]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Where its first bad record begins.
        byte: u64,
    },
    /// The header is not one this release reads.
    #[error("spool {path} has format version {version}, this release reads {min} to {max}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// Lowest version read here.
        min: u32,
        /// Highest version read here.
        max: u32,
    },
    /// An output record was asked for that this segment does not have.
    #[error("spool {path} has no output record {seq}")]
    NoSuchRecord {
        /// The file.
        path: PathBuf,
        /// The record asked for.
        seq: u64,
    },
}

impl SpoolError {
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| SpoolError::Io { operation, path, source }
    }

    /// Whether the disk (or a quota on it) is full: waiting may help, and nothing was lost.
    pub fn is_no_space(&self) -> bool {
        matches!(self, SpoolError::Io { source, .. } if is_no_space(source))
    }
}

/// Whether this error says that the disk (or a quota on it) is full.
pub fn is_no_space(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}
