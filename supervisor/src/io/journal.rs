//! The supervisor's own journal: its lock makes one supervisor, its epoch is the generation.

use crate::node_state::{Change, NodeState};
use holdfast_shared::home::Home;
use holdfast_shared::journal::io::checkpointer::checkpoint_inline;
use holdfast_shared::journal::io::lock::{JournalLock, LockError};
use holdfast_shared::journal::{
    Fold, Folded, FollowError, Followed, Limits, LoadError, RealDisk, Record, Request, TakeOver,
    TakeOverError, WriteError, Writer, inspect, open_at_newest_checkpoint,
};
use holdfast_shared::process::{PidFd, start_time};
use nix::sys::signal::Signal;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A predecessor that was killed is dead within this time, whatever it was doing, unless the kernel is stuck.
const PREDECESSOR_DIES: Duration = Duration::from_secs(30);

/// A checkpoint is written after so many records; a switch makes about six.
const CHECKPOINT_RECORDS: u64 = 1_000;

/// Records read at once.
const POLL_RECORDS: usize = 1024;

/// Why the supervisor has no journal.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A predecessor did not die.
    #[error("the supervisor with pid {pid} holds the journal and did not die")]
    Held {
        /// Its number, 0 unknown.
        pid: i32,
    },
    /// The lock file could not be used.
    #[error(transparent)]
    Lock(LockError),
    /// Taking over failed.
    #[error("supervisor journal: {0}")]
    TakeOver(#[from] TakeOverError),
    /// Reading failed.
    #[error("supervisor journal: {0}")]
    Read(#[from] FollowError),
    /// The newest checkpoint is not ours to read.
    #[error("supervisor journal: {0}")]
    Load(#[from] LoadError),
}

/// The open journal and its fold. Dropping it gives the lock back.
pub struct SupervisorJournal {
    writer: Writer,
    folded: Folded<NodeState>,
    id: String,
    /// Records since the last checkpoint.
    since_checkpoint: u64,
    synced_node_offset: u64,
}

impl SupervisorJournal {
    /// Kills whoever has the journal, waits for its lock, takes it over with the next generation and folds it.
    /// Nothing else of the supervisor may be read or sent before this returns.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was written unless taking over itself failed in a write.
    pub fn open(home: &Home, instance: &str, now_ms: u64) -> Result<Self, OpenError> {
        let lock = lock(&home.supervisor_journal(), &RealDisk)?;
        Self::open_locked(home, lock, instance, now_ms)
    }

    /// The same under the lock that an earlier image of this process has kept.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_kept(
        home: &Home,
        descriptor: OwnedFd,
        instance: &str,
        now_ms: u64,
    ) -> Result<Self, OpenError> {
        let lock = JournalLock::adopt(&home.supervisor_journal(), descriptor).map_err(OpenError::Lock)?;
        Self::open_locked(home, lock, instance, now_ms)
    }

    fn open_locked(home: &Home, lock: JournalLock, instance: &str, now_ms: u64) -> Result<Self, OpenError> {
        let directory = home.supervisor_journal();
        let before = inspect(&directory)?;
        let request = Request {
            epoch: before.highest_epoch + 1,
            owner: "supervisor".into(),
            instance: instance.into(),
            release: env!("CARGO_PKG_VERSION").into(),
            at_ms: now_ms,
            first: !before.exists,
            journal_id: uuid::Uuid::new_v4(),
            known_kinds: NodeState::kinds(),
            limits: Limits::SMALL,
        };
        let (writer, taken) = TakeOver::begin_locked(lock, Arc::new(RealDisk), request, None)?;
        let (folded, since_checkpoint) = fold(&directory)?;
        let synced_node_offset = folded.state.node_offset;
        let id = short(&taken.journal_id);
        let mut journal = Self { writer, folded, id, since_checkpoint, synced_node_offset };
        journal.checkpoint_if_due();
        Ok(journal)
    }

    /// The generation: the epoch of this journal.
    pub fn generation(&self) -> u64 {
        self.writer.last().epoch
    }

    /// The journal's id, which is the epoch of channel `node`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The state.
    pub fn state(&self) -> &NodeState {
        &self.folded.state
    }

    /// Journals changes durably, as one batch, and takes them into the state.
    ///
    /// # Errors
    /// After a failed write or sync nothing more may be done by this supervisor: it ends.
    pub fn append(&mut self, changes: Vec<Change>) -> Result<(), WriteError> {
        self.append_later(changes)?;
        self.sync()
    }

    /// Makes everything journaled durable.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.writer.sync()?;
        self.synced_node_offset = self.state().node_offset;
        Ok(())
    }

    /// Offset of the last event of channel `node` that is durable; later ones are told to nobody yet.
    pub fn synced_node_offset(&self) -> u64 {
        self.synced_node_offset
    }

    /// Journals changes as one batch that no power cut may be asked about before [`Self::sync`]: for what only
    /// records something that is durable elsewhere, while browsers are held and a sync is time they wait.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_later(&mut self, changes: Vec<Change>) -> Result<(), WriteError> {
        if changes.is_empty() {
            return Ok(());
        }
        let records: Vec<_> = changes.iter().map(Change::record).collect();
        let range = self.writer.append(&records)?;
        let epoch = self.writer.last().epoch;
        for (lsn, record) in (range.first..).zip(records) {
            let kind = record.kind.into_owned();
            self.folded.apply(Record { epoch, lsn, kind, must_understand: false, payload: record.payload });
            self.since_checkpoint += 1;
        }
        Ok(())
    }

    /// Closes it and keeps its lock, for the program image that replaces this one.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn close_and_keep_lock(self) -> Result<JournalLock, WriteError> {
        self.writer.fence_and_keep_lock().map(|(_, lock)| lock)
    }

    /// Bounds what the next supervisor reads. Takes several syncs: call it when nothing is held. A checkpoint that
    /// cannot be written costs disk until the next one; a writer that failed says so at the next append.
    pub fn checkpoint_if_due(&mut self) {
        if self.since_checkpoint < CHECKPOINT_RECORDS {
            return;
        }
        self.since_checkpoint = 0;
        if let Err(error) = checkpoint_inline(&mut self.writer, &self.folded, None) {
            tracing::warn!(%error, "supervisor journal");
        }
    }
}

/// What the journal in a directory says, read without its lock and without writing anything.
///
/// # Errors
/// When it cannot be read.
pub fn read(directory: &Path) -> Result<NodeState, OpenError> {
    Ok(fold(directory)?.0.state)
}

fn lock(directory: &Path, disk: &RealDisk) -> Result<JournalLock, OpenError> {
    let deadline = Instant::now() + PREDECESSOR_DIES;
    loop {
        let held = match TakeOver::lock(directory, disk, !directory.is_dir()) {
            Ok(lock) => return Ok(lock),
            Err(TakeOverError::Lock(LockError::Locked { holder })) => holder,
            Err(TakeOverError::Lock(error)) => return Err(OpenError::Lock(error)),
            Err(error) => return Err(error.into()),
        };
        if Instant::now() >= deadline {
            return Err(OpenError::Held { pid: held.map_or(0, |holder| holder.pid) });
        }
        let living = held.and_then(|holder| {
            let pidfd = PidFd::open(holder.pid).ok()?;
            (start_time(holder.pid).ok()? == holder.start_ticks).then_some(pidfd)
        });
        match living {
            Some(pidfd) => {
                tracing::warn!(pid = pidfd.pid(), "another supervisor has the journal; it is killed");
                let _ = pidfd.send_signal(Signal::SIGKILL);
                pidfd.wait_dead(deadline.saturating_duration_since(Instant::now()));
            }
            // It has the lock and has not written who it is, or has just gone: a moment, then look again.
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The fold of everything, and how many records of it are behind the newest checkpoint.
fn fold(directory: &Path) -> Result<(Folded<NodeState>, u64), OpenError> {
    let (checkpoint, mut follower) = open_at_newest_checkpoint(directory)?;
    let mut folded = Folded::load_or_empty(checkpoint)?;
    let checkpointed = folded.position.lsn;
    loop {
        match follower.poll(POLL_RECORDS)? {
            Followed::Records(records) => records.into_iter().for_each(|record| folded.apply(record)),
            Followed::UpToDate => return Ok((folded.clone(), folded.position.lsn - checkpointed)),
            Followed::Restart => return fold(directory),
        }
    }
}

/// The first 8 hex digits name a journal well enough, and are what browsers see as the channel's epoch.
fn short(id: &uuid::Uuid) -> String {
    id.simple().to_string().chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_state::Epoch;
    use holdfast_shared::slot::Slot;

    #[test]
    fn after_a_thousand_records_a_checkpoint_bounds_what_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let mut journal = SupervisorJournal::open(&home, "sv-test", 1).unwrap();
        for epoch in 1..=CHECKPOINT_RECORDS {
            journal.append(vec![Change::Switching(Epoch { slot: Slot::A, epoch })]).unwrap();
        }
        journal.checkpoint_if_due();
        drop(journal);
        let journal = SupervisorJournal::open(&home, "sv-test", 1).unwrap();
        assert_eq!(journal.state().highest_epoch, CHECKPOINT_RECORDS);
        assert!(journal.since_checkpoint < 10, "{}", journal.since_checkpoint);
    }

    #[test]
    fn a_kept_lock_opens_the_next_generation() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let journal = SupervisorJournal::open(&home, "sv-test", 1).unwrap();
        let kept = journal.close_and_keep_lock().unwrap().hand_over_exec().unwrap();
        assert!(JournalLock::try_acquire(&home.supervisor_journal()).is_err());
        let journal = SupervisorJournal::open_kept(&home, kept, "sv-test", 1).unwrap();
        assert_eq!(journal.generation(), 2);
    }

    #[test]
    fn each_start_raises_the_generation_and_finds_the_state() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let mut id = String::new();
        for generation in 1..=3 {
            let mut journal = SupervisorJournal::open(&home, "sv-test", 1).unwrap();
            assert_eq!(journal.generation(), generation);
            assert_eq!(journal.state().highest_epoch, generation - 1);
            assert!(id.is_empty() || id == journal.id());
            id = journal.id().to_owned();
            journal.append(vec![Change::Switching(Epoch { slot: Slot::A, epoch: generation })]).unwrap();
            assert_eq!(journal.state().highest_epoch, generation);
        }
    }
}
