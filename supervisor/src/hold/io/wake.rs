//! What wakes a holder besides the worker's pipes: signals and the inbox.

use holdfast_shared::inbox::inbox_path;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Signals as a descriptor. SIGHUP and SIGINT are taken and ignored: a terminal's end is no reason to end.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// What signals came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// SIGCHLD
    pub child: bool,
    /// SIGTERM
    pub stop: bool,
}

impl Signals {
    /// Blocks the signals and opens the descriptor.
    pub fn open() -> io::Result<Self> {
        let mask: SigSet =
            [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT].into_iter().collect();
        mask.thread_block()?;
        Ok(Self(SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// Takes what came.
    pub fn take(&mut self) -> io::Result<Came> {
        let mut came = Came::default();
        while let Some(info) = self.0.read_signal()? {
            came.child |= info.ssi_signo == Signal::SIGCHLD as u32;
            came.stop |= info.ssi_signo == Signal::SIGTERM as u32;
        }
        Ok(came)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Tells that an inbox file came or that the followed one grew. The holder's own writes beside them are no news.
#[derive(Debug)]
pub struct InboxWatch {
    inotify: Inotify,
    directory: PathBuf,
    file: Option<WatchDescriptor>,
}

/// What the inbox's directory says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxNews {
    /// A file came: look for the highest epoch.
    pub new_file: bool,
    /// The followed file grew.
    pub grew: bool,
}

impl InboxWatch {
    /// Watches a worker's directory for inbox files.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(directory, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR)?;
        Ok(Self { inotify, directory: directory.to_owned(), file: None })
    }

    /// Watches the file of this epoch for growth, and no other one any more. Read it once after this.
    pub fn follow(&mut self, epoch: u64) -> io::Result<()> {
        if let Some(old) = self.file.take() {
            // Fails only where the file is gone, and its watch with it.
            let _ = self.inotify.rm_watch(old);
        }
        self.file =
            Some(self.inotify.add_watch(&inbox_path(&self.directory, epoch), AddWatchFlags::IN_MODIFY)?);
        Ok(())
    }

    /// Takes the news.
    pub fn take(&mut self) -> io::Result<InboxNews> {
        let mut news = InboxNews::default();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(news),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for event in events {
                let lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                let inbox = event.name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"inbox."));
                news.new_file |= lost || inbox;
                news.grew |= lost || Some(event.wd) == self.file;
            }
        }
    }
}

impl AsFd for InboxWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
