//! Waiting in tokio until a descriptor is readable.

use holdfast_shared::pace::Pace;
use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// A descriptor of ours whose news the loop waits for, and reads elsewhere.
#[derive(Debug)]
pub struct Readable {
    descriptor: AsyncFd<OwnedFd>,
    /// How often news are given.
    pace: Cell<Option<Pace>>,
}

impl Readable {
    /// Registers a descriptor with the current tokio runtime.
    ///
    /// # Errors
    /// When it cannot be registered.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Self::with(descriptor, None)
    }

    /// The same, with news given at a pace: under a flood they come together.
    ///
    /// # Errors
    /// When it cannot be registered.
    pub fn paced(descriptor: OwnedFd, pace: Pace) -> io::Result<Self> {
        Self::with(descriptor, Some(pace))
    }

    #[allow(unsafe_code)]
    fn with(descriptor: OwnedFd, pace: Option<Pace>) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open for as long as it lives and always names the same file; it is given to the
        // `AsyncFd`, and nothing takes it out again.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        let descriptor = registered.map_err(io::Error::from)?;
        Ok(Self { descriptor, pace: Cell::new(pace) })
    }

    /// Answers when there is news since the last answer. Read everything there is after it. Safe to drop.
    pub async fn news(&self) {
        if let Some(due) = self.pace.get().and_then(|pace| pace.next()) {
            // Not even a timer for what is due already.
            if due > Instant::now().into_std() {
                sleep_until(due.into()).await;
            }
        }
        match self.descriptor.readable().await {
            Ok(mut guard) => {
                guard.clear_ready();
                self.pace.set(self.pace.get().map(|mut pace| {
                    pace.count(Instant::now().into_std());
                    pace
                }));
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
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_news_comes_at_once_and_the_next_ones_after_the_pause() {
        let pause = Duration::from_secs(3);
        let (reader, mut writer) = io::pipe().unwrap();
        let readable = Readable::paced(reader.into(), Pace::new(2, pause)).unwrap();
        let first = Instant::now();
        for _ in 0..2 {
            writer.write_all(b"1").unwrap();
            readable.news().await;
        }
        assert!(first.elapsed() < pause, "the clock stands while nobody waits for it");
        writer.write_all(b"2").unwrap();
        readable.news().await;
        assert!(first.elapsed() >= pause);
    }
}
