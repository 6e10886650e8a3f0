//! Waiting in tokio until a descriptor is readable.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// A descriptor of ours whose news the loop waits for, and reads elsewhere.
#[derive(Debug)]
pub struct Readable {
    descriptor: AsyncFd<OwnedFd>,
    pause: Duration,
    /// Before this no news are given.
    due: Cell<Option<Instant>>,
}

impl Readable {
    /// Registers a descriptor with the current tokio runtime.
    ///
    /// # Errors
    /// When it cannot be registered.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Self::paced(descriptor, Duration::ZERO)
    }

    /// The same, with a pause after news before the next are given: under a flood they come together.
    ///
    /// # Errors
    /// When it cannot be registered.
    #[allow(unsafe_code)]
    pub fn paced(descriptor: OwnedFd, pause: Duration) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open for as long as it lives and always names the same file; it is given to the
        // `AsyncFd`, and nothing takes it out again.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        let descriptor = registered.map_err(io::Error::from)?;
        Ok(Self { descriptor, pause, due: Cell::new(None) })
    }

    /// Answers when there is news since the last answer. Read everything there is after it. Safe to drop.
    pub async fn news(&self) {
        if let Some(due) = self.due.get() {
            sleep_until(due).await;
        }
        match self.descriptor.readable().await {
            Ok(mut guard) => {
                guard.clear_ready();
                self.due.set((!self.pause.is_zero()).then(|| Instant::now() + self.pause));
            }
            // Only when the tokio runtime is ending.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test(start_paused = true)]
    async fn news_come_at_once_and_the_next_ones_after_the_pause() {
        let pause = Duration::from_secs(3);
        let (reader, mut writer) = io::pipe().unwrap();
        let readable = Readable::paced(reader.into(), pause).unwrap();
        writer.write_all(b"1").unwrap();
        readable.news().await;
        let first = Instant::now();
        writer.write_all(b"2").unwrap();
        readable.news().await;
        assert!(first.elapsed() >= pause);
    }
}
