//! A worker that the test plays: its holder's files.

#![allow(clippy::unwrap_used)]

use holdfast_shared::home::Home;
use holdfast_shared::inbox::{InboxReader, highest_epoch};
use holdfast_shared::spool::{Control, Flushed, SpoolWriter, Stream};
use holdfast_shared::supervisor_control::SpawnWorker;
use holdfast_shared::worker::{EndedBy, Exit, ExitStatus, Started};

/// A worker that the test plays: its holder's files.
pub struct Played {
    pub writer: SpoolWriter,
    pub directory: std::path::PathBuf,
    pub order: SpawnWorker,
}

impl Played {
    pub fn start(home: &Home, order: SpawnWorker) -> Self {
        let directory = home.worker(&order.spawn_id);
        let writer = SpoolWriter::create(&directory, &order.turn).unwrap();
        // No process has this number, so none can be taken for what a lost worker left behind.
        let boot_id = holdfast_shared::process::boot_id().unwrap();
        let started = Started {
            pid: i32::MAX,
            start_time: u64::MAX,
            boot_id,
            holder_pid: i32::MAX,
            contracts: Default::default(),
        };
        started.write(&directory, &writer).unwrap();
        Self { writer, directory, order }
    }

    pub fn say(&mut self, text: &str) {
        self.writer.output(Stream::Stdout, false, text.as_bytes());
        assert_eq!(self.writer.flush().unwrap(), Flushed::Done);
    }

    pub fn say_error(&mut self, text: &str) {
        self.writer.output(Stream::Stderr, false, text.as_bytes());
        assert_eq!(self.writer.flush().unwrap(), Flushed::Done);
    }

    /// Whether it is told to end, in the inbox of which epoch.
    pub fn told_to_end(&self) -> Option<u64> {
        let epoch = highest_epoch(&self.directory).unwrap()?;
        InboxReader::open(&self.directory, epoch).unwrap().peek().unwrap().map(|_| epoch)
    }

    pub fn exit(mut self, code: i32, ended_by: EndedBy) {
        let exit = Exit { status: ExitStatus::Code(code), final_seq: self.writer.outputs(), ended_by };
        self.writer.control(&Control::Exit(exit));
        assert_eq!(self.writer.flush().unwrap(), Flushed::Done);
        assert_eq!(self.writer.sync().unwrap(), Flushed::Done);
    }
}
