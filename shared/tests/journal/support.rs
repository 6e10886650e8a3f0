//! What the tests of the journal share.

use holdfast_shared::journal::{
    Disk, Fold, Folded, Followed, Follower, Limits, LoadError, NewRecord, Position, RealDisk, Record,
    Request, TakeOver, TakeOverError, TakenOver, Writer, open_at_newest_checkpoint,
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

/// A fold that notices every record, its place and its order.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Sum {
    pub total: i128,
    pub records: u64,
    pub order: u32,
}

impl Fold for Sum {
    const VERSION: u32 = 1;

    fn empty() -> Self {
        Self::default()
    }

    fn apply(&mut self, record: &Record) {
        self.records += 1;
        let seen = format!("{} {} {} {} ", self.order, record.epoch, record.lsn, record.kind);
        self.order = crc32c::crc32c_append(crc32c::crc32c(seen.as_bytes()), &record.payload);
        let value: i128 = std::str::from_utf8(&record.payload).unwrap().parse().unwrap_or(0);
        self.total += if record.kind == "sub" { -value } else { value };
    }

    fn save(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap()
    }

    fn load(version: u32, bytes: &[u8]) -> Result<Self, LoadError> {
        if version > Self::VERSION {
            return Err(LoadError::Version { found: version, newest: Self::VERSION });
        }
        serde_json::from_slice(bytes)
            .map_err(|error| LoadError::Malformed { version, reason: error.to_string() })
    }

    fn kinds() -> &'static [&'static str] {
        &["add", "sub"]
    }
}

/// The fold of a whole journal, from its newest checkpoint on.
pub fn fold<F: Fold>(dir: &Path) -> Folded<F> {
    let (data, mut follower) = open_at_newest_checkpoint(dir).unwrap();
    let mut folded = Folded::load_or_empty(data).unwrap();
    for record in drain(&mut follower) {
        folded.apply(record);
    }
    folded
}

/// Name and content of every file but the lock and the reserve.
pub fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("lock") && !path.ends_with("reserve"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}
