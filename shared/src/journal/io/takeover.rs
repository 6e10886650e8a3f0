//! Taking a journal over: under the lock, all checks, then a segment of one's own.

use super::disk::{Disk, DiskError};
use super::ending::{Read, read_to_the_end};
use super::follower::Follower;
use super::lock::{JournalLock, LockError};
use super::place::{Placed, place_segment};
use super::reserve_file::Reserve;
use super::survey::{self, SurveyError};
use super::writer::{WriteError, Writer};
use crate::journal::batch;
use crate::journal::damage::Damage;
use crate::journal::limits::Limits;
use crate::journal::record::{ACTIVATED, Activated, NewRecord, Position};
use crate::journal::segment;
use crate::journal::takeover::{Refused, check_first, check_successor, first_header, successor_header};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// What a take-over is asked for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Fresh: above every epoch in the journal.
    pub epoch: u64,
    /// The slot, or `supervisor`.
    pub owner: String,
    /// The process.
    pub instance: String,
    /// Its release.
    pub release: String,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// The very first start: create the journal, which must not be there.
    pub first: bool,
    /// The id of a journal that is created; otherwise not looked at.
    pub journal_id: Uuid,
    /// Kinds this release reads.
    pub known_kinds: &'a [&'a str],
    /// What the journal may take.
    pub limits: Limits,
}

/// A take-over that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    /// The journal's id.
    pub journal_id: Uuid,
    /// The last record, which is one's own `Activated`. The next LSN is one more.
    pub last: Position,
    /// The record before it, from a predecessor; (0, 0) in a new journal.
    pub before: Position,
    /// Bytes of batches that were not known to be durable and were brought along.
    pub copied_bytes: u64,
    /// Bytes of torn tail that were left behind.
    pub torn_bytes: u64,
}

/// Why the journal was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// Somebody writes it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It must not be, see there. Nothing was written.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The journal is damaged. Nothing was written.
    #[error(transparent)]
    Corrupt(#[from] Damage),
    /// A newer release wrote here. Nothing was written.
    #[error("{file} has format {found}, this release reads up to {max}")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format this build reads.
        max: u32,
    },
    /// Reading failed. Nothing was written.
    #[error("read {}: {source}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Writing failed: `Activated` may or may not be durable. Settle reads the journal to know.
    #[error("take over: {0}")]
    Write(#[from] WriteError),
}

impl From<SurveyError> for TakeOverError {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Damaged(damage) => Self::Corrupt(damage),
            SurveyError::Newer { file, found, max } => Self::NewerFormat { file, found, max },
            SurveyError::Io { path, source } => Self::Read { path, source },
        }
    }
}

impl From<DiskError> for TakeOverError {
    fn from(error: DiskError) -> Self {
        Self::Write(error.into())
    }
}

/// Taking a journal over.
#[derive(Debug)]
pub struct TakeOver;

impl TakeOver {
    /// Takes the lock and takes over the journal in `dir`. When it returns, `Activated` is durable.
    pub fn begin(
        dir: &Path,
        disk: Arc<dyn Disk>,
        request: Request<'_>,
    ) -> Result<(Writer, TakenOver), TakeOverError> {
        Self::begin_locked(Self::lock(dir, &*disk, request.first)?, disk, request, None)
    }

    /// The same, reading only what `follower` has not read yet. The follower then reads up to [`TakenOver::last`]
    /// with [`Follower::drain_to`].
    pub fn begin_warm(
        dir: &Path,
        disk: Arc<dyn Disk>,
        request: Request<'_>,
        follower: &Follower,
    ) -> Result<(Writer, TakenOver), TakeOverError> {
        Self::begin_locked(Self::lock(dir, &*disk, request.first)?, disk, request, Some(follower))
    }

    /// Takes the lock of the journal in `dir`; at the `first` start makes the directory.
    pub fn lock(dir: &Path, disk: &dyn Disk, first: bool) -> Result<JournalLock, TakeOverError> {
        if !dir.is_dir() {
            check_first(first, false)?;
            make_dir(dir, disk)?;
        }
        Ok(JournalLock::try_acquire(dir)?)
    }

    /// The same under a lock that is already held; it is given back on failure.
    pub fn begin_locked(
        lock: JournalLock,
        disk: Arc<dyn Disk>,
        request: Request<'_>,
        follower: Option<&Follower>,
    ) -> Result<(Writer, TakenOver), TakeOverError> {
        let activated = Activated {
            epoch: request.epoch,
            owner: request.owner,
            instance: request.instance,
            release: request.release,
            at_ms: request.at_ms,
        };
        let chain = survey::survey(lock.dir())?;
        check_first(request.first, chain.is_some())?;
        let read = match chain {
            None => None,
            Some(chain) => {
                let read = read_to_the_end(lock.dir(), &chain, follower)?;
                let must_understand = &read.tail.must_understand;
                check_successor(request.epoch, chain.highest_epoch(), must_understand, request.known_kinds)?;
                Some(read)
            }
        };
        let mut reserve = Reserve::open(&*disk, lock.dir(), &request.limits)?;
        let placed = place(&*disk, lock.dir(), &activated, request.journal_id, read.as_ref(), &mut reserve)?;
        let taken = TakenOver {
            journal_id: placed.tail().header.journal_id,
            last: placed.tail().last,
            before: read.as_ref().map_or(Position::default(), |read| read.tail.last),
            copied_bytes: read.as_ref().map_or(0, |read| read.unsynced.len() as u64),
            torn_bytes: read.as_ref().map_or(0, |read| read.torn_bytes),
        };
        tidy(&*disk, lock.dir(), read.as_ref());
        let writer = Writer::new(lock, disk, request.limits, placed, reserve)?;
        Ok((writer, taken))
    }
}

fn make_dir(dir: &Path, disk: &dyn Disk) -> Result<(), DiskError> {
    let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(dir);
    made.map_err(DiskError::at("create", dir))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk.sync_dir(parent).map_err(DiskError::at("sync", parent))
}

fn place(
    disk: &dyn Disk,
    dir: &Path,
    activated: &Activated,
    journal_id: Uuid,
    read: Option<&Read>,
    reserve: &mut Reserve,
) -> Result<Placed, DiskError> {
    let payload = serde_json::to_vec(activated).expect("Activated is plain data");
    let record = NewRecord::new(ACTIVATED, payload);
    let (header, mut batches, before, synced_lsn) = match read {
        None => (first_header(journal_id, activated), Vec::new(), 0, 0),
        Some(read) => {
            let header = successor_header(&read.tail, activated);
            (header, read.unsynced.clone(), read.tail.last.lsn, read.tail.synced.position.lsn)
        }
    };
    batch::encode(activated.epoch, before + 1, synced_lsn, &[record], &mut batches);
    place_segment(disk, dir, header, &batches, reserve)
}

/// Removes what never came into place, and frees the blocks a killed writer had allocated behind its end. Failing
/// costs a little disk until the next time.
fn tidy(disk: &dyn Disk, dir: &Path, read: Option<&Read>) {
    for name in survey::list(dir).map(|listing| listing.temporary).unwrap_or_default() {
        let _removed = disk.remove(&dir.join(name));
    }
    let Some(read) = read else { return };
    let predecessor = dir.join(segment::file_name(read.tail.header.index));
    let _freed =
        disk.open(&predecessor).and_then(|mut file| file.length().and_then(|bytes| file.set_len(bytes)));
}
