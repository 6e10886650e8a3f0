//! The holder (`holdfast hold DIR`): owns one worker's stdin, stdout, stderr, exit status and process tree.
//!
//! One thread, one poll loop, no configuration, no sockets, no tokio: nothing that a worker says, and not its
//! exit status, depends on any other process of ours being alive.

pub mod cutter;
mod daemon;
mod feed;
pub mod io;
pub mod limits;
pub mod machine;
mod output;

use holdfast_shared::inbox::InboxError;
use holdfast_shared::spool::SpoolError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Environment variable naming the directory of the cgroup v2 hierarchy in which the holder makes a group for its worker.
pub const CGROUP_VARIABLE: &str = "HOLDFAST_CGROUP";

/// Environment variable naming an inherited descriptor that keeps the worker's skill as it is until the spool is locked.
pub const LEASE_FD_VARIABLE: &str = "HOLDFAST_LEASE_FD";

/// The worker ended and its exit is in the spool.
const EXIT_DONE: u8 = 0;
/// The holder could not do its work; the worker, if any, was killed and has no exit record.
const EXIT_FAILED: u8 = 1;
/// This worker has a holder, was started before, or was abandoned: nothing was done.
const EXIT_REFUSED: u8 = 5;

/// Why a holder ends without an exit in the spool.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The worker was started before; nothing is run twice.
    #[error("worker {0} was started before")]
    AlreadyStarted(PathBuf),
    /// The runtime gave this worker up before it started.
    #[error("worker {0} was abandoned before it started")]
    Abandoned(PathBuf),
    /// The order cannot be carried out as it is.
    #[error("order {path}: {reason}")]
    Order {
        /// The order's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The operating system refused something else.
    #[error("{operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The machine was given an event that cannot happen in its state: a bug.
    #[error(transparent)]
    Illegal(#[from] machine::Illegal),
}

impl HoldError {
    pub(crate) fn system<E: Into<std::io::Error>>(operation: &'static str) -> impl FnOnce(E) -> Self {
        move |source| HoldError::System { operation, source: source.into() }
    }

    fn is_refusal(&self) -> bool {
        matches!(
            self,
            HoldError::AlreadyStarted(_)
                | HoldError::Abandoned(_)
                | HoldError::Spool(SpoolError::Locked { .. })
        )
    }
}

/// Holds the worker of this directory until it has ended and its exit is durable. Returns 0 then, 5 if the worker
/// has a holder already or may not be started, 1 if holding failed.
pub fn run(directory: &Path) -> ExitCode {
    match daemon::hold(directory) {
        Ok(()) => ExitCode::from(EXIT_DONE),
        Err(error) => {
            io::log::error(directory, &error);
            ExitCode::from(if error.is_refusal() { EXIT_REFUSED } else { EXIT_FAILED })
        }
    }
}
