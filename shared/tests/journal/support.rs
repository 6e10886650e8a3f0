//! What the tests of the journal share.

use holdfast_shared::journal::{
    Disk, Followed, Follower, Limits, NewRecord, Position, RealDisk, Record, Request, TakeOver,
    TakeOverError, TakenOver, Writer, open_at_newest_checkpoint,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

pub const ID: Uuid = Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0001);
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A directory for one journal.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn journal(&self) -> PathBuf {
        self.0.path().join("journal")
    }
}

pub fn limits() -> Limits {
    Limits { reserve_bytes: 64 << 10, headroom_bytes: 64 << 10, low_space_bytes: 0, ..Limits::SMALL }
}

pub fn request(epoch: u64) -> Request<'static> {
    Request {
        epoch,
        owner: "a".into(),
        instance: format!("rt-a-{epoch:08x}"),
        release: "0.1.0".into(),
        at_ms: 1_000 + epoch,
        first: false,
        journal_id: ID,
        known_kinds: &["add", "sub"],
        limits: limits(),
    }
}

pub fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

pub fn take_over(dir: &Path, epoch: u64) -> Result<(Writer, TakenOver), TakeOverError> {
    TakeOver::begin(dir, real(), Request { first: !dir.exists(), ..request(epoch) })
}

pub fn add(value: u64) -> NewRecord {
    NewRecord::new("add", value.to_string().into_bytes())
}

/// Every record that a follower finds from the newest checkpoint on.
pub fn read_all(dir: &Path) -> Vec<Record> {
    let (_, mut follower) = open_at_newest_checkpoint(dir).unwrap();
    drain(&mut follower)
}

pub fn drain(follower: &mut Follower) -> Vec<Record> {
    let mut records = Vec::new();
    while let Followed::Records(more) = follower.poll(7).unwrap() {
        records.extend(more);
    }
    records
}

pub fn positions(records: &[Record]) -> Vec<Position> {
    records.iter().map(Record::position).collect()
}

/// The newest segment in `dir`.
pub fn newest_segment(dir: &Path) -> PathBuf {
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    names.sort();
    names.pop().unwrap()
}

/// Waits for a level, not for a time.
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !reached() {
        assert!(Instant::now() < deadline, "not reached in time: {what}");
        std::thread::yield_now();
    }
}

/// Copies every file of a journal.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
