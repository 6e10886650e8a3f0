//! A home with conversations in it, for tests: spools come from the holder's own writer.

use crate::event;
use crate::io::filing::Permit;
use crate::span::{Seal, Span, StopReason};
use holdfast_shared::home::Home;
use holdfast_shared::spool::{Flushed, SpoolWriter, Stream};
use std::fs;
use tempfile::TempDir;

/// A home below a temporary directory.
pub(crate) struct Sample {
    _directory: TempDir,
    /// The home.
    pub home: Home,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        Self { _directory: directory, home }
    }

    /// The spool of a new worker.
    pub(crate) fn spool(&self, worker: &str) -> SpoolWriter {
        let directory = self.home.worker(worker);
        fs::create_dir_all(&directory).unwrap();
        SpoolWriter::create(&directory, "t1").unwrap()
    }

    /// A worker's spool with the records of `texts` and nothing after them.
    pub(crate) fn worker<T: AsRef<[u8]>>(&self, worker: &str, texts: impl IntoIterator<Item = T>) -> u64 {
        let mut spool = self.spool(worker);
        for text in texts {
            spool.output(Stream::Stdout, false, text.as_ref());
            if spool.queued_bytes() > 1 << 20 {
                assert_eq!(spool.flush().unwrap(), Flushed::Done);
            }
        }
        assert_eq!(spool.flush().unwrap(), Flushed::Done);
        spool.outputs()
    }

    /// A span with a worker of its own, whose records are of `bytes` bytes each; with an event in its middle.
    pub(crate) fn open_turn(
        &self,
        conversation: &str,
        first: u64,
        number: u64,
        outputs: u64,
        bytes: usize,
    ) -> Span {
        let (turn, worker) = (format!("t{number}"), format!("{conversation}-{number}"));
        self.worker(&worker, (1..=outputs).map(|seq| format!("{seq:>bytes$}")));
        let mut span = Span::begin(conversation, "e", first, &turn, event::turn_started(&turn, "echo", 1));
        span.worker = Some(worker);
        let queued = format!("t{}", number + 1);
        span.place(outputs / 2, event::turn_queued(&queued, "next", 2)).unwrap();
        span
    }

    /// The same, sealed.
    pub(crate) fn turn(
        &self,
        conversation: &str,
        first: u64,
        number: u64,
        outputs: u64,
        bytes: usize,
    ) -> Span {
        let mut span = self.open_turn(conversation, first, number, outputs, bytes);
        seal(&mut span, outputs);
        span
    }
}

/// Has the journal's lock for ever.
pub(crate) struct Unfenced;

impl Permit for Unfenced {
    fn hold<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        Some(change())
    }
}

/// Seals a span behind so many output records.
pub(crate) fn seal(span: &mut Span, outputs: u64) {
    let seal = Seal::new(StopReason::EndTurn, Some(0), 3, outputs);
    span.seal(event::turn_sealed(&span.turn, &seal), seal).unwrap();
}
