//! The thread that now and then folds the journal like any follower and writes its state, so that reading and disk
//! stay bounded.

mod counted;
mod encoded;
mod inline;

pub use inline::checkpoint_inline;

use super::checkpoint_files::{install, remove_replaced, write_temporary};
use super::disk::DiskError;
use super::follower::{FollowError, Followed, Follower, open_at_newest_checkpoint};
use super::writer::WriteError;
use super::writer_thread::WriterClient;
use crate::journal::checkpoint::Removal;
use crate::journal::fold::{Fold, Folded, LoadError};
use crate::journal::record::Position;
use counted::Counted;
use encoded::Encoded;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// After a take-over everybody waits to be served, and a large state takes the processor for tens of milliseconds:
/// a checkpoint is begun when that is over, if nobody asks for one before.
const BEGINS_AFTER: Duration = Duration::from_secs(1);
/// Between two tries to write a checkpoint that the disk had no room for, unless one is asked for.
const NO_SPACE_INTERVAL: Duration = Duration::from_secs(2);
/// How often it is looked whether a checkpoint is due; far below the time that a due one takes to fill.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Records folded at a time.
const FOLD_RECORDS: usize = 1024;

/// A checkpoint that came into place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpointed {
    /// The last record in it.
    pub position: Position,
    /// What it replaced, and is gone.
    pub removed: Removal,
}

/// What the checkpointer reports, from its thread.
#[derive(Debug)]
pub enum CheckpointerEvent {
    /// A checkpoint is in place.
    Written(Checkpointed),
    /// The disk is full, reserve included: the checkpoint is tried again.
    NoSpace,
    /// Too much of unknown kind to carry; no checkpoints until a release that knows it is active.
    TooMuchUnknown {
        /// How much there is.
        bytes: u64,
    },
    /// It cannot go on. The last event; the process ends, as after any failed write.
    Failed {
        /// Why.
        error: CheckpointError,
    },
}

/// Why no checkpoint was written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The journal could not be followed.
    #[error("checkpoint: {0}")]
    Follow(#[from] FollowError),
    /// The newest checkpoint could not be read by this release.
    #[error("checkpoint: {0}")]
    Load(#[from] LoadError),
    /// The checkpoint could not be written.
    #[error("checkpoint: {0}")]
    Disk(#[from] DiskError),
    /// No segment could be begun.
    #[error("checkpoint: {0}")]
    Write(#[from] WriteError),
    /// The state is not the journal's: there are records it has not taken.
    #[error("checkpoint: the state ends at {folded}, the journal at {journal}")]
    Behind {
        /// Where the state ends.
        folded: u64,
        /// Where the journal ends.
        journal: u64,
    },
    /// Too much of unknown kind to carry.
    #[error("checkpoint: {bytes} bytes of records of unknown kind are more than a checkpoint carries")]
    TooMuchUnknown {
        /// How much there is.
        bytes: u64,
    },
    /// The fold panicked.
    #[error("checkpoint: the fold panicked")]
    Panicked,
}

/// Handle of the checkpointer. Dropping it ends the thread; a fence need not wait for that, because without the
/// lock it puts nothing into place.
#[derive(Debug)]
pub struct Checkpointer {
    held: Arc<Mutex<Option<u64>>>,
    control: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    /// Starts checkpointing the writer's journal, folded as `F`. `on_event` is called from the thread. With `held` nothing after
    /// that LSN is removed until [`Self::hold_truncation`] says otherwise.
    pub fn spawn<F: Fold>(
        writer: WriterClient,
        held: Option<u64>,
        mut on_event: impl FnMut(CheckpointerEvent) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (control, asked) = sync_channel(1);
        let held = Arc::new(Mutex::new(held));
        let shared = held.clone();
        let body = move || {
            let outcome =
                catch_unwind(AssertUnwindSafe(|| run::<F>(&writer, &shared, &asked, &mut on_event)));
            if let Err(error) = outcome.unwrap_or(Err(CheckpointError::Panicked)) {
                on_event(CheckpointerEvent::Failed { error });
            }
        };
        let thread = std::thread::Builder::new().name("journal-checkpoint".into()).spawn(body)?;
        Ok(Self { held, control, thread })
    }

    /// While an update attempt is not settled: nothing that follows `from_lsn` is removed, nor the newest checkpoint
    /// from which it can be reached. `None` ends that.
    pub fn hold_truncation(&self, from_lsn: Option<u64>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = from_lsn;
    }

    /// Asks for a checkpoint now, due or not, unless nothing came since the last one. Does not wait.
    pub fn checkpoint_now(&self) {
        // One that is asked for already will do.
        let _asked = self.control.try_send(());
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        drop(self.control);
        let _ended = self.thread.join();
    }
}

struct Run<'a> {
    writer: &'a WriterClient,
    held: &'a Mutex<Option<u64>>,
    counted: Counted,
    too_much_told: bool,
}

fn run<F: Fold>(
    writer: &WriterClient,
    held: &Mutex<Option<u64>>,
    asked: &Receiver<()>,
    on_event: &mut dyn FnMut(CheckpointerEvent),
) -> Result<(), CheckpointError> {
    let mut now = match asked.recv_timeout(BEGINS_AFTER) {
        Ok(()) => true,
        Err(RecvTimeoutError::Timeout) => false,
        Err(RecvTimeoutError::Disconnected) => return Ok(()),
    };
    let mut run = Run { writer, held, counted: Counted::from_newest(writer.dir())?, too_much_told: false };
    // Kept until the disk has room for it.
    let mut unwritten: Option<Box<Encoded>> = None;
    let mut full_since: Option<Instant> = None;
    loop {
        if unwritten.is_none() && (run.counted.is_due(writer)? || now) {
            match run.begin::<F>(on_event)? {
                Begun::Due(due) => unwritten = Some(due),
                Begun::NotNow => {}
                Begun::WriterGone => return Ok(()),
            }
        }
        let waits = full_since.is_some_and(|since| since.elapsed() < NO_SPACE_INTERVAL) && !now;
        if let Some(due) = unwritten.take_if(|_| !waits) {
            match run.write(&due)? {
                Wrote::Done(done) => {
                    full_since = None;
                    on_event(CheckpointerEvent::Written(done));
                }
                Wrote::NoSpace => {
                    if full_since.replace(Instant::now()).is_none() {
                        on_event(CheckpointerEvent::NoSpace);
                    }
                    unwritten = Some(due);
                }
                Wrote::WriterGone => return Ok(()),
            }
        }
        now = match asked.recv_timeout(LOOK_INTERVAL) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
    }
}

enum Begun {
    Due(Box<Encoded>),
    NotNow,
    WriterGone,
}

enum Wrote {
    Done(Checkpointed),
    NoSpace,
    WriterGone,
}

impl Run<'_> {
    /// Folds the state of everything there is, has a segment begun and folds exactly up to it. The state lives only
    /// as long as that: between two checkpoints it would cost the memory of a second one, and the time to load and
    /// to drop it around each switch.
    fn begin<F: Fold>(
        &mut self,
        on_event: &mut dyn FnMut(CheckpointerEvent),
    ) -> Result<Begun, CheckpointError> {
        let (data, mut follower) = open_at_newest_checkpoint(self.writer.dir())?;
        if self.writer.durable_lsn() == follower.position().lsn {
            return Ok(Begun::NotNow);
        }
        let mut folded = Folded::<F>::load_or_empty(data)?;
        if !fold_on(&mut follower, &mut folded)? {
            return self.not_now();
        }
        let bytes = folded.unknown_bytes;
        if bytes > self.writer.limits().unknown_bytes {
            if !std::mem::replace(&mut self.too_much_told, true) {
                on_event(CheckpointerEvent::TooMuchUnknown { bytes });
            }
            self.counted.pass_over(folded.position.lsn, self.writer.dir())?;
            return Ok(Begun::NotNow);
        }
        let Some(rotated) = self.writer.rotate() else { return Ok(Begun::WriterGone) };
        let whole = follower.drain_to(rotated.after, |record| folded.apply(record))?;
        if !whole || folded.position != rotated.after {
            // The lock was lost meanwhile, and with it what the segment was begun for.
            return self.not_now();
        }
        self.counted = Counted::from(rotated);
        let journal_id = follower.tail().map_or(Uuid::nil(), |tail| tail.header.journal_id);
        Ok(Begun::Due(Box::new(Encoded::of(&folded, rotated, journal_id))))
    }

    /// Something else was faster: looked at again with the next turn.
    fn not_now(&mut self) -> Result<Begun, CheckpointError> {
        self.counted = Counted::from_newest(self.writer.dir())?;
        Ok(Begun::NotNow)
    }

    fn write(&self, due: &Encoded) -> Result<Wrote, CheckpointError> {
        let (disk, dir) = (self.writer.disk(), self.writer.dir());
        let on_full = |bytes| self.writer.use_reserve(bytes);
        let temporary = match write_temporary(disk, dir, &due.header, &due.pieces, on_full) {
            Err(error) if error.is_full() => return Ok(Wrote::NoSpace),
            written => written?,
        };
        let placed = self.writer.with_lock(|| {
            install(disk, dir, &temporary, due.header.position.lsn)?;
            let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
            Ok::<_, CheckpointError>(remove_replaced(disk, dir, held)?)
        });
        match placed {
            Some(removed) => {
                Ok(Wrote::Done(Checkpointed { position: due.header.position, removed: removed? }))
            }
            None => Ok(Wrote::WriterGone),
        }
    }
}

/// Takes everything there is; false if it has to be begun anew.
fn fold_on<F: Fold>(follower: &mut Follower, folded: &mut Folded<F>) -> Result<bool, CheckpointError> {
    loop {
        match follower.poll(FOLD_RECORDS)? {
            Followed::Records(records) => records.into_iter().for_each(|record| folded.apply(record)),
            Followed::UpToDate => return Ok(true),
            Followed::Restart => return Ok(false),
        }
    }
}
