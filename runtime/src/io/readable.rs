//! Waiting in tokio until a descriptor is readable.

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor of ours whose news the loop waits for, and reads elsewhere.
#[derive(Debug)]
pub struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Registers a descriptor with the current tokio runtime.
    ///
    /// # Errors
    /// When it cannot be registered.
    #[allow(unsafe_code)]
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open for as long as it lives and always names the same file; it is given to the
        // `AsyncFd`, and nothing takes it out again.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        Ok(Self(registered.map_err(io::Error::from)?))
    }

    /// Answers when there is news since the last answer. Read everything there is after it. Safe to drop.
    pub async fn news(&self) {
        match self.0.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            // Only when the tokio runtime is ending.
            Err(_) => std::future::pending().await,
        }
    }
}
