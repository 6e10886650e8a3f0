//! The journal as this runtime sees it: followed while passive, written while active.

use crate::io::view::View;
use crate::record::{Body, KINDS, Record, SPAN_FILED, Unreadable};
use crate::state::State;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::journal::{
    Checkpointer, CheckpointerEvent, Folded, FollowError, Followed, Follower, Limits, LoadError,
    MAX_RECORD_BYTES, NewRecord, Position, RealDisk, Record as JournalRecord, Request, SubmitError, TakeOver,
    TakeOverError, Watch, WriteClass, WriteError, WriterClient, WriterEvent, WriterThread,
    open_at_newest_checkpoint,
};
use holdfast_shared::slot::Slot;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Records folded in one go, so that the loop turns while a long journal is read.
const FOLDED_AT_A_TIME: usize = 2000;
/// Times a follower is begun anew before a take-over gives up: each time a newer checkpoint is there.
const RESTARTS: usize = 4;
/// Events of the checkpointer that may wait for the loop.
const CHECKPOINT_EVENTS: usize = 16;
/// Events of the writer thread that may wait for the loop; the thread waits past it.
const WRITER_EVENTS: usize = 256;

/// The journal cannot be followed or folded.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read.
    #[error("follow the journal: {0}")]
    Follow(#[from] FollowError),
    /// Its checkpoint cannot be read.
    #[error("load the journal's checkpoint: {0}")]
    Load(#[from] LoadError),
    /// It cannot be taken over.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// What was folded is not what is there.
    #[error("the journal changed while it was taken over")]
    Unsettled,
    /// It holds a record of a kind of ours that cannot be read.
    #[error("the journal cannot be understood: {0}")]
    Unreadable(String),
    /// The writer's thread could not be started.
    #[error("start the journal's writer: {0}")]
    Thread(std::io::Error),
}

impl From<&JournalError> for ApiError {
    fn from(error: &JournalError) -> Self {
        let code = match error {
            JournalError::Follow(FollowError::Damaged(_))
            | JournalError::TakeOver(TakeOverError::Corrupt(_)) => Code::HomeDamaged,
            JournalError::Follow(FollowError::Newer { .. })
            | JournalError::TakeOver(TakeOverError::NewerFormat { .. })
            | JournalError::Load(LoadError::Version { .. }) => Code::HomeNewer,
            JournalError::TakeOver(TakeOverError::Refused(_) | TakeOverError::Lock(_))
            | JournalError::Unreadable(_) => Code::Refused,
            _ => Code::InternalError,
        };
        ApiError::new(code, error.to_string())
    }
}

/// Follows the journal.
pub struct Following {
    dir: PathBuf,
    follower: Follower,
    watch: Option<Watch>,
}

/// What a step of following gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be more at once.
    More,
    /// Everything that was there was folded; there may be more by now.
    MetEnd,
    /// Everything there is was folded.
    CaughtUp,
}

impl Following {
    /// Follows from the newest checkpoint, with the state folded up to there. An absent journal is waited for.
    ///
    /// # Errors
    /// When journal or checkpoint cannot be read.
    pub fn open(dir: &Path) -> Result<(Self, Folded<State>), JournalError> {
        let (checkpoint, follower) = open_at_newest_checkpoint(dir)?;
        let folded = Folded::load_or_empty(checkpoint)?;
        Ok((Self { dir: dir.to_owned(), follower, watch: None }, folded))
    }

    /// Follows on from where a state stands, or, if that record is gone, anew with the state in its place.
    ///
    /// # Errors
    /// When journal or checkpoint cannot be read.
    pub fn behind(dir: &Path, folded: &mut Folded<State>) -> Result<Self, JournalError> {
        if let Some(follower) = Follower::open_behind(dir, folded.position)? {
            return Ok(Self { dir: dir.to_owned(), follower, watch: None });
        }
        let (following, anew) = Self::open(dir)?;
        *folded = anew;
        Ok(following)
    }

    /// Folds what has come, so many records at most; the view is told what is its own.
    ///
    /// # Errors
    /// When journal or checkpoint cannot be read.
    pub fn step(&mut self, folded: &mut Folded<State>, view: Option<&View>) -> Result<Step, JournalError> {
        if let Some(watch) = &self.watch {
            // A watch that fails costs time, not truth: the loop looks by itself now and then.
            let _hints = watch.clear();
        }
        match self.follower.poll(FOLDED_AT_A_TIME)? {
            Followed::Records(records) => {
                let met_end = records.len() < FOLDED_AT_A_TIME && !self.follower.has_to_restart();
                records.into_iter().for_each(|record| fold(folded, record, view));
                Ok(if met_end { Step::MetEnd } else { Step::More })
            }
            Followed::UpToDate => {
                if let Some(view) = view {
                    view.reached(folded.position);
                }
                Ok(Step::CaughtUp)
            }
            Followed::Restart => {
                tracing::info!(at = folded.position.lsn, "following the journal anew from its checkpoint");
                self.begin_anew(folded, view)?;
                Ok(Step::More)
            }
        }
    }

    /// A descriptor that is readable when the journal grew; `None` while there is no journal to watch.
    pub fn watch(&mut self) -> Option<OwnedFd> {
        let watch = Watch::new(&self.dir).ok()?;
        let descriptor = watch.as_fd().try_clone_to_owned().ok()?;
        self.watch = Some(watch);
        Some(descriptor)
    }

    /// Whether it is being watched.
    pub fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    fn begin_anew(&mut self, folded: &mut Folded<State>, view: Option<&View>) -> Result<(), JournalError> {
        let (anew, from_checkpoint) = Self::open(&self.dir)?;
        self.follower = anew.follower;
        *folded = from_checkpoint;
        if let Some(view) = view {
            view.skipped();
        }
        Ok(())
    }

    fn fold_to(
        &mut self,
        end: Position,
        folded: &mut Folded<State>,
        view: Option<&View>,
    ) -> Result<(), JournalError> {
        for _ in 0..RESTARTS {
            if self.follower.drain_to(end, |record| fold(folded, record, view))? {
                return Ok(());
            }
            self.begin_anew(folded, view)?;
        }
        Err(JournalError::Unsettled)
    }
}

/// Folds a record and tells the view of what became a file.
fn fold(folded: &mut Folded<State>, record: JournalRecord, view: Option<&View>) {
    if let Some(view) = view
        && let Ok(Some(Record { body: Body::SpanFiled(filed), .. })) = filed(&record)
    {
        view.filed(&filed.task, filed.first);
    }
    folded.apply(record);
}

/// Only the kind that concerns the view is parsed here.
fn filed(record: &JournalRecord) -> Result<Option<Record>, Unreadable> {
    if record.kind == SPAN_FILED { Record::of(record) } else { Ok(None) }
}

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

#[cfg(test)]
mod tests;
