//! The thread that owns lock and descriptors. Whoever submits never waits for the disk.

use super::disk::Disk;
use super::writer::{Gate, Rotated, WriteError, Writer, check_records};
use crate::journal::batch::record_bytes;
use crate::journal::limits::{Limits, MAX_BATCH_BYTES, MAX_QUEUED_GROUPS};
use crate::journal::record::{NewRecord, Position};
use crate::journal::reserve::{self, WriteClass};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often free space is looked at.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);

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
        let work = Work { writer, messages, shared, on_event, looked: Instant::now(), first: None };
        let thread = std::thread::Builder::new().name("journal-writer".into()).spawn(move || work.run())?;
        Ok(WriterThread { client, thread: Some(thread) })
    }

    /// Queues `records`, the first of which the caller has numbered `first_lsn`: one group, in one batch, never
    /// divided. Does not wait.
    pub fn submit(&self, first_lsn: u64, records: Vec<NewRecord>) -> Result<(), SubmitError> {
        let bytes: usize = records.iter().map(record_bytes).sum();
        if records.is_empty() {
            return Err(SubmitError::Unfit(WriteError::Empty));
        }
        check_records(&records).map_err(SubmitError::Unfit)?;
        if bytes > MAX_BATCH_BYTES {
            return Err(SubmitError::Unfit(WriteError::BatchTooLarge { bytes }));
        }
        let bytes = bytes as u64;
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

struct Work<F> {
    writer: Writer,
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    on_event: F,
    looked: Instant,
    /// Taken from the queue but not yet looked at.
    first: Option<Message>,
}

/// How a turn of the loop ended.
enum Turn {
    Go,
    Fence(SyncSender<Position>),
    Over,
}

impl<F: FnMut(WriterEvent)> Work<F> {
    fn run(mut self) {
        loop {
            match self.turn() {
                Ok(Turn::Go) => {}
                Ok(Turn::Over) => return,
                Ok(Turn::Fence(reply)) => return self.fence(&reply),
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Waits for work, and does all that has come as one batch.
    fn turn(&mut self) -> Result<Turn, WriteError> {
        let message = match self.first.take() {
            Some(message) => message,
            None => match self.messages.recv_timeout(SPACE_INTERVAL) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => return self.look_at_space().map(|()| Turn::Go),
                Err(RecvTimeoutError::Disconnected) => return Ok(Turn::Over),
            },
        };
        match message {
            Message::Group(group) => self.write(group)?,
            Message::Rotate(reply) => {
                let rotated = self.writer.rotate()?;
                // Who asked may be gone.
                let _told = reply.try_send(rotated);
            }
            Message::UseReserve(bytes, reply) => {
                let _told = reply.try_send(self.writer.use_reserve(bytes)?);
            }
            Message::Fence(reply) => return Ok(Turn::Fence(reply)),
        }
        self.tell_space();
        if self.looked.elapsed() >= SPACE_INTERVAL {
            self.look_at_space()?;
        }
        Ok(Turn::Go)
    }

    fn write(&mut self, group: Group) -> Result<(), WriteError> {
        let (records, groups, bytes) = self.gather(group)?;
        self.writer.append(&records)?;
        self.shared.take(groups, bytes);
        let lsn = self.writer.sync()?.lsn;
        self.shared.durable_lsn.store(lsn, Ordering::Release);
        (self.on_event)(WriterEvent::Durable { lsn });
        Ok(())
    }

    /// Everything that is queued now and fits one batch.
    fn gather(&mut self, group: Group) -> Result<(Vec<NewRecord>, usize, u64), WriteError> {
        self.check_order(&group, 0)?;
        let (mut records, mut groups, mut bytes) = (group.records, 1, group.bytes);
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Group(next) if bytes + next.bytes <= MAX_BATCH_BYTES as u64 => {
                    self.check_order(&next, records.len() as u64)?;
                    records.extend(next.records);
                    groups += 1;
                    bytes += next.bytes;
                }
                other => {
                    self.first = Some(other);
                    break;
                }
            }
        }
        Ok((records, groups, bytes))
    }

    fn check_order(&self, group: &Group, gathered: u64) -> Result<(), WriteError> {
        let next = self.writer.next_lsn() + gathered;
        if group.first_lsn == next {
            return Ok(());
        }
        Err(WriteError::OutOfOrder { submitted: group.first_lsn, next })
    }

    fn look_at_space(&mut self) -> Result<(), WriteError> {
        self.looked = Instant::now();
        self.writer.look_at_space()?;
        self.tell_space();
        Ok(())
    }

    fn tell_space(&mut self) {
        let full = self.writer.storage_full();
        if self.shared.storage_full.swap(full, Ordering::AcqRel) != full {
            (self.on_event)(if full { WriterEvent::StorageFull } else { WriterEvent::StorageFreed });
        }
    }

    fn fence(self, reply: &SyncSender<Position>) {
        let Work { writer, messages, mut on_event, .. } = self;
        match writer.fence() {
            Ok(end) => {
                drop(messages);
                on_event(WriterEvent::Fenced { end });
                let _told = reply.try_send(end);
            }
            Err(error) => on_event(WriterEvent::Failed { error }),
        }
    }

    /// Descriptors and lock go before anybody is told.
    fn fail(self, error: WriteError) {
        let Work { writer, messages, mut on_event, .. } = self;
        drop(writer);
        drop(messages);
        on_event(WriterEvent::Failed { error });
    }
}
