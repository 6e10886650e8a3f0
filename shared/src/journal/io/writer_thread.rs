//! The thread that owns lock and descriptors. Whoever submits never waits for the disk.

mod group_commit;

use super::disk::Disk;
use super::fit;
use super::gate::Gate;
use super::writer::{Rotated, WriteError, Writer};
use crate::journal::limits::{Limits, MAX_QUEUED_GROUPS};
use crate::journal::record::{NewRecord, Position};
use crate::journal::reserve::{self, WriteClass};
use group_commit::Work;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Groups never fill the queue so far that the checkpointer or a fence would have to wait for a place in it: each of
/// them asks for one thing at a time.
const ASKED_AT_ONCE: usize = 8;

/// What the thread reports, from the thread.
#[derive(Debug)]
pub enum WriterEvent {
    /// Every record up to here is durable: answers may leave.
    Durable {
        /// The last durable record.
        lsn: u64,
    },
    /// Commands are refused with `STORAGE_FULL` from here on.
    StorageFull,
    /// Commands are admitted again.
    StorageFreed,
    /// Asked for by [`WriterThread::request_fence`]: everything is durable, the lock is given back. The last event.
    Fenced {
        /// The last record.
        end: Position,
    },
    /// A write or sync failed. Nothing that is not reported durable may be answered; the process ends. The last
    /// event.
    Failed {
        /// Why.
        error: WriteError,
    },
}

/// Why a group was not taken. It can be submitted again unless the writer is gone.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full: refuse commands until something became durable.
    #[error("the journal's queue is full")]
    Full(Vec<NewRecord>),
    /// The records do not fit.
    #[error(transparent)]
    Unfit(WriteError),
    /// The writer has failed or was fenced.
    #[error("the journal's writer is gone")]
    Gone,
}

/// The writer is gone without having been fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal's writer failed, its last records may or may not be durable")]
pub struct FenceError;

struct Group {
    first_lsn: u64,
    records: Vec<NewRecord>,
    bytes: u64,
}

enum Message {
    Group(Group),
    Rotate(SyncSender<Rotated>),
    UseReserve(u64, SyncSender<bool>),
    Fence(SyncSender<Position>),
}

/// What both sides see.
#[derive(Debug, Default)]
struct Shared {
    queued_groups: AtomicUsize,
    queued_bytes: AtomicU64,
    durable_lsn: AtomicU64,
    storage_full: AtomicBool,
}

impl Shared {
    fn add(&self, bytes: u64) {
        self.queued_groups.fetch_add(1, Ordering::AcqRel);
        self.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    fn take(&self, groups: usize, bytes: u64) {
        self.queued_groups.fetch_sub(groups, Ordering::AcqRel);
        self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// Handle of a journal's writer thread. Dropping it ends the thread after what is queued was written.
#[derive(Debug)]
pub struct WriterThread {
    client: WriterClient,
    thread: Option<JoinHandle<()>>,
}

/// What the checkpointer asks of the writer.
#[derive(Clone)]
pub struct WriterClient {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    gate: Arc<Gate>,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    limits: Limits,
}

impl std::fmt::Debug for WriterClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterClient").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl WriterClient {
    /// The journal's limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The disk that the writer writes to.
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// The journal's directory.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// The last durable record.
    pub fn durable_lsn(&self) -> u64 {
        self.shared.durable_lsn.load(Ordering::Acquire)
    }

    /// Begins a new segment behind everything that is queued; `None` if the writer is gone.
    pub fn rotate(&self) -> Option<Rotated> {
        let (reply, answer) = sync_channel(1);
        self.queue.send(Message::Rotate(reply)).ok()?;
        answer.recv().ok()
    }

    /// Gives up so much of the reserve; false if there was none left or the writer is gone.
    pub fn use_reserve(&self, bytes: u64) -> bool {
        let (reply, answer) = sync_channel(1);
        self.queue.send(Message::UseReserve(bytes, reply)).is_ok() && answer.recv().unwrap_or(false)
    }

    /// Runs `change` while the lock is held, and keeps it held until then; `None` if it is not any more.
    pub fn with_lock<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        self.gate.pass(change)
    }
}

impl WriterThread {
    /// Starts the thread. `on_event` is called from it, in order.
    pub fn spawn(
        writer: Writer,
        on_event: impl FnMut(WriterEvent) + Send + 'static,
    ) -> std::io::Result<WriterThread> {
        let (queue, messages) = sync_channel(MAX_QUEUED_GROUPS + ASKED_AT_ONCE);
        let shared = Arc::new(Shared::default());
        shared.durable_lsn.store(writer.synced().lsn, Ordering::Release);
        shared.storage_full.store(writer.storage_full(), Ordering::Release);
        let limits = *writer.limits();
        let (gate, dir) = (writer.gate(), writer.dir().to_path_buf());
        let disk = writer.disk();
        let client = WriterClient { queue, shared: shared.clone(), gate, dir, disk, limits };
        let work = Work::new(writer, messages, shared, on_event);
        let thread = std::thread::Builder::new().name("journal-writer".into()).spawn(move || work.run())?;
        Ok(WriterThread { client, thread: Some(thread) })
    }

    /// Queues `records`, the first of which the caller has numbered `first_lsn`: one group, in one batch, never
    /// divided. Does not wait.
    pub fn submit(&self, first_lsn: u64, records: Vec<NewRecord>) -> Result<(), SubmitError> {
        let bytes = fit::check(&records).map_err(SubmitError::Unfit)? as u64;
        if !self.has_room(bytes) {
            return Err(SubmitError::Full(records));
        }
        self.client.shared.add(bytes);
        let sent = self.client.queue.try_send(Message::Group(Group { first_lsn, records, bytes }));
        sent.map_err(|failed| {
            self.client.shared.take(1, bytes);
            match failed {
                TrySendError::Full(Message::Group(group)) => SubmitError::Full(group.records),
                _ => SubmitError::Gone,
            }
        })
    }

    /// Whether a group of so many bytes would be taken now. One group is always taken by an empty queue.
    pub fn has_room(&self, bytes: u64) -> bool {
        let shared = &self.client.shared;
        let queued = shared.queued_bytes.load(Ordering::Acquire);
        let has_place = shared.queued_groups.load(Ordering::Acquire) < MAX_QUEUED_GROUPS;
        queued == 0 || has_place && queued + bytes <= self.client.limits.queue_bytes
    }

    /// Whether a write of `class` may be begun now.
    pub fn admits(&self, class: WriteClass) -> bool {
        reserve::admits(class, self.storage_full())
    }

    /// Whether commands are refused with `STORAGE_FULL`.
    pub fn storage_full(&self) -> bool {
        self.client.shared.storage_full.load(Ordering::Acquire)
    }

    /// The last durable record.
    pub fn durable_lsn(&self) -> u64 {
        self.client.durable_lsn()
    }

    /// For the checkpointer.
    pub fn client(&self) -> WriterClient {
        self.client.clone()
    }

    /// Asks for the lock to be given back once what is queued is durable; answered by [`WriterEvent::Fenced`] or
    /// [`WriterEvent::Failed`]. Does not wait.
    pub fn request_fence(&self) -> Result<(), FenceError> {
        let (reply, _) = sync_channel(1);
        self.client.queue.try_send(Message::Fence(reply)).map_err(|_| FenceError)
    }

    /// The same, and waits for it. Returns the last record of the journal.
    pub fn fence(mut self) -> Result<Position, FenceError> {
        let (reply, answer) = sync_channel(1);
        self.client.queue.send(Message::Fence(reply)).map_err(|_| FenceError)?;
        let end = answer.recv().map_err(|_| FenceError);
        if let Some(thread) = self.thread.take() {
            // A panic of the callback has ended the thread, and with it the lock; the answer says the rest.
            let _ended = thread.join();
        }
        end
    }
}
