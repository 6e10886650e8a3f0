//! What can go wrong with a filed span.

use super::FILED_BYTES_MAX;
use crate::filed::BadFile;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with a filed span.
#[derive(Debug, thiserror::Error)]
pub enum FilingError {
    /// The operating system refused.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file is there and wrong, or missing.
    #[error("{path}: {source}")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: BadFile,
    },
    /// There is no such file.
    #[error("{path}: no such filed span")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// Only sealed spans are filed.
    #[error("span {first} of conversation {conversation} is not sealed")]
    Open {
        /// The conversation.
        conversation: String,
        /// The span's first offset.
        first: u64,
    },
    /// Its text is longer than what is read.
    #[error("{path}: {bytes} bytes, at most {FILED_BYTES_MAX} are filed")]
    TooLong {
        /// The file it would be.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// This runtime is not the active one any more.
    #[error("the journal was given up: another runtime files")]
    Fenced,
    /// The name cannot be a directory's.
    #[error("conversation name {0:?} cannot be filed")]
    Name(String),
}

impl FilingError {
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FilingError {
        let path = path.to_owned();
        move |source| FilingError::Io { operation, path, source }
    }

    /// Whether the file itself is at fault, for good: asking again will not help.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, FilingError::Io { .. })
    }
}
