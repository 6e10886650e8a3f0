//! The journal while this runtime is the active one: taken over, and written.

use super::{Following, JournalError};
use crate::io::view::View;
use crate::record::{KINDS, Record};
use crate::state::State;
use holdfast_shared::journal::{
    Checkpointer, CheckpointerEvent, Folded, Limits, MAX_RECORD_BYTES, NewRecord, RealDisk, Request,
    SubmitError, TakeOver, WriteClass, WriteError, WriterClient, WriterEvent, WriterThread,
};
use holdfast_shared::slot::Slot;
use std::sync::Arc;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Events of the checkpointer that may wait for the loop.
const CHECKPOINT_EVENTS: usize = 16;
/// Events of the writer thread that may wait for the loop; the thread waits past it.
const WRITER_EVENTS: usize = 256;

/// Who takes the journal over.
pub struct Taker<'a> {
    /// The fresh epoch.
    pub epoch: u64,
    /// Create the journal.
    pub first: bool,
    /// This runtime's slot.
    pub slot: Slot,
    /// Its instance.
    pub instance: &'a str,
    /// Its release.
    pub release: &'a str,
    /// Now, unix milliseconds.
    pub now_ms: u64,
    /// A checkpoint is due after so many records.
    pub checkpoint_records: u64,
    /// So many bytes of records may wait for the writer.
    pub queue_bytes: u64,
}

/// The journal, held for writing.
pub struct Writing {
    // Dropped first: without the writer it puts nothing into place.
    checkpointer: Checkpointer,
    thread: WriterThread,
    /// What the thread reports.
    pub events: mpsc::Receiver<WriterEvent>,
    /// What the checkpointer reports.
    pub checkpoints: mpsc::Receiver<CheckpointerEvent>,
    /// The epoch of its records.
    pub epoch: u64,
    /// Records that are longer are refused.
    pub record_bytes_max: usize,
    next_lsn: u64,
}

impl Writing {
    /// Takes the journal over: under its lock, only what is new is read. `Activated` is durable when this answers.
    ///
    /// # Errors
    /// When it may not or cannot be taken over; the lock is given back.
    pub fn take_over(
        following: &mut Following,
        folded: &mut Folded<State>,
        view: Option<&View>,
        taker: &Taker<'_>,
    ) -> Result<Self, JournalError> {
        let (checkpoint_records, queue_bytes) = (taker.checkpoint_records, taker.queue_bytes);
        let limits = Limits { checkpoint_records, queue_bytes, ..Limits::RUNTIME };
        let request = Request {
            epoch: taker.epoch,
            owner: taker.slot.name().to_owned(),
            instance: taker.instance.to_owned(),
            release: taker.release.to_owned(),
            at_ms: taker.now_ms,
            first: taker.first,
            journal_id: Uuid::now_v7(),
            known_kinds: KINDS,
            limits,
        };
        check_readable(folded)?;
        let disk = Arc::new(RealDisk);
        let (writer, taken) = TakeOver::begin_warm(&following.dir, disk, request, &following.follower)?;
        following.fold_to(taken.last, folded, view)?;
        check_readable(folded)?;
        if taken.torn_bytes > 0 {
            tracing::warn!(bytes = taken.torn_bytes, "the journal's torn tail was left behind");
        }
        let (sender, events) = mpsc::channel(WRITER_EVENTS);
        // The loop is gone only when the process ends; then nobody waits for events.
        let on_event = move |event| drop(sender.blocking_send(event));
        let thread = WriterThread::spawn(writer, on_event).map_err(JournalError::Thread)?;
        let (sender, checkpoints) = mpsc::channel(CHECKPOINT_EVENTS);
        let on_event = move |event| drop(sender.blocking_send(event));
        let held = Some(taken.last.lsn);
        let checkpointer = Checkpointer::spawn::<State>(thread.client(), held, on_event);
        let checkpointer = checkpointer.map_err(JournalError::Thread)?;
        let next_lsn = taken.last.lsn + 1;
        let (epoch, record_bytes_max) = (taker.epoch, MAX_RECORD_BYTES);
        Ok(Self { checkpointer, thread, events, checkpoints, epoch, record_bytes_max, next_lsn })
    }

    /// Submits records as one batch and answers the LSN of the first; they are durable when the thread says so.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing was submitted.
    pub fn submit(&mut self, records: &[&Record]) -> Result<u64, SubmitError> {
        let (first, encoded) = (self.next_lsn, records.iter().map(|record| record.encode()));
        let encoded: Vec<NewRecord> = encoded.collect();
        if let Some(long) = encoded.iter().find(|one| one.payload.len() > self.record_bytes_max) {
            let (kind, bytes) = (long.kind.clone().into_owned(), long.payload.len());
            return Err(SubmitError::Unfit(WriteError::RecordTooLarge { kind, bytes }));
        }
        self.next_lsn += encoded.len() as u64;
        self.thread.submit(first, encoded).inspect_err(|_| self.next_lsn = first)?;
        Ok(first)
    }

    /// Lets others change files of the home as long as the journal is held.
    pub fn permit(&self) -> WriterClient {
        self.thread.client()
    }

    /// The name of the next record.
    pub fn next(&self) -> (u64, u64) {
        (self.epoch, self.next_lsn)
    }

    /// The last record that is durable.
    pub fn durable(&self) -> u64 {
        self.thread.durable_lsn()
    }

    /// Whether the disk is too full for new commands.
    pub fn storage_full(&self) -> bool {
        !self.thread.admits(WriteClass::Command)
    }

    /// The attempt that made this runtime active has settled: since its take-over an older release could have had to
    /// follow from before it, and nothing behind was truncated; now it may be.
    pub fn release_truncation(&self) {
        self.checkpointer.hold_truncation(None);
    }

    /// Asks for the lock to be given back; answered by [`WriterEvent::Fenced`] or [`WriterEvent::Failed`].
    pub fn request_fence(&self) {
        // A thread that is gone has said `Failed`.
        let _asked = self.thread.request_fence();
    }
}

fn check_readable(folded: &Folded<State>) -> Result<(), JournalError> {
    match &folded.state.unreadable {
        Some(why) => Err(JournalError::Unreadable(why.clone())),
        None => Ok(()),
    }
}

/// Why the journal was not written: the process ends with it, unanswered.
#[derive(Debug, thiserror::Error)]
#[error("write the journal: {0}")]
pub struct Fatal(#[from] pub WriteError);
