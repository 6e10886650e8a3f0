//! Being told that spools have grown: one inotify instance for all workers.
//!
//! Also the fastest news of a holder's death: the kernel closes its spool, which is an event here.

use super::SpoolError;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

/// Names a watched directory, as the caller likes.
pub type WatchToken = u64;

/// Tells which workers' directories have news: a spool or segment grew, was begun or closed, `started` is there.
/// Pollable (readable when there is news), e.g. in tokio's `AsyncFd`.
#[derive(Debug)]
pub struct SpoolWatch {
    inotify: Inotify,
    tokens: HashMap<WatchDescriptor, WatchToken>,
}

impl SpoolWatch {
    /// A watch over nothing, non-blocking and closed on exec.
    pub fn new() -> Result<Self, SpoolError> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
            .map_err(|errno| SpoolError::io("open inotify for", "spools")(errno.into()))?;
        Ok(Self { inotify, tokens: HashMap::new() })
    }

    /// Watches a worker's directory. Read its spool once after this: what came before is not news.
    pub fn add(&mut self, directory: &Path, token: WatchToken) -> Result<(), SpoolError> {
        let news = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ONLYDIR;
        let watch = self
            .inotify
            .add_watch(directory, news)
            .map_err(|errno| SpoolError::io("watch", directory)(errno.into()))?;
        self.tokens.insert(watch, token);
        Ok(())
    }

    /// Ends the watch with this token; unknown ones are ignored.
    pub fn remove(&mut self, token: WatchToken) {
        let watches: Vec<_> = self.tokens.iter().filter(|(_, t)| **t == token).map(|(w, _)| *w).collect();
        for watch in watches {
            self.tokens.remove(&watch);
            // Fails only where the directory is gone, and its watch with it.
            let _ = self.inotify.rm_watch(watch);
        }
    }

    /// The directories with news since the last call; all of them if the kernel lost count. Never blocks.
    pub fn take(&mut self) -> Result<BTreeSet<WatchToken>, SpoolError> {
        let mut news = BTreeSet::new();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(news),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(SpoolError::io("read inotify for", "spools")(errno.into())),
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    news.extend(self.tokens.values());
                } else if event.name.as_ref().and_then(|name| name.to_str()).is_some_and(is_news) {
                    news.extend(self.tokens.get(&event.wd));
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.tokens.remove(&event.wd);
                }
            }
        }
    }
}

fn is_news(name: &str) -> bool {
    name == "started" || (name.starts_with("spool") && !name.ends_with(".tmp"))
}

impl AsFd for SpoolWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for SpoolWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }
}
