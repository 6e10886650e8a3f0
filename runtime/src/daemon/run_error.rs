//! Why the process ends, other than by being asked to.

use crate::io::journal::{Fatal, JournalError};
use holdfast_shared::journal::CheckpointError;
use holdfast_shared::process::LockError;
use holdfast_shared::spool::SpoolError;
use std::io;

/// Why the process ends, other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another process has this role.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A socket, pipe or timer of ours.
    #[error("{operation}: {source}")]
    Io {
        /// What was tried.
        operation: String,
        /// What the system said.
        source: io::Error,
    },
    /// The journal cannot be followed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal was not written: nothing that waits may be answered.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// No checkpoints can be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Spools cannot be watched.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl RunError {
    pub(super) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }
}
