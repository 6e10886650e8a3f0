//! A disk that remembers what it was told, so that the state after a power cut at any moment can be made: what was
//! synced is there; of the rest any 4 KiB pages, and of the directory's changes any beginning.

use holdfast_shared::journal::{Disk, DiskFile, RealDisk};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const PAGE: usize = 4096;

#[derive(Debug, Clone)]
enum Change {
    Create { id: u64, name: PathBuf },
    Write { id: u64, bytes: Vec<u8> },
    SetLen { id: u64, bytes: u64 },
    Sync { id: u64 },
    Rename { from: PathBuf, to: PathBuf },
    Remove { name: PathBuf },
    SyncDir,
}

#[derive(Default)]
pub struct Log {
    /// What was on disk at the beginning, by id.
    start: BTreeMap<u64, (PathBuf, Vec<u8>)>,
    names: BTreeMap<PathBuf, u64>,
    changes: Vec<Change>,
    next: u64,
}

impl Log {
    fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[derive(Clone)]
pub struct CrashDisk(Arc<Mutex<Log>>);

struct CrashFile {
    file: Box<dyn DiskFile>,
    log: Arc<Mutex<Log>>,
    id: u64,
}

fn name(path: &Path) -> PathBuf {
    path.file_name().unwrap().into()
}

/// A file of the image: what is durable, and what was last written.
#[derive(Default, Clone)]
struct Content {
    durable: Vec<u8>,
    newest: Vec<u8>,
}

impl CrashDisk {
    /// Everything in `dir` counts as durable.
    pub fn new(dir: &Path) -> Self {
        let mut log = Log::default();
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            let id = log.new_id();
            let name: PathBuf = entry.file_name().into();
            log.names.insert(name.clone(), id);
            log.start.insert(id, (name, std::fs::read(entry.path()).unwrap()));
        }
        Self(Arc::new(Mutex::new(log)))
    }

    /// How many changes there were.
    pub fn changes(&self) -> usize {
        self.0.lock().unwrap().changes.len()
    }

    /// Makes `dir` what a power cut after the first `changes` may leave. `choose(n)` picks one of n.
    pub fn image(&self, dir: &Path, changes: usize, choose: &mut dyn FnMut(usize) -> usize) {
        let log = self.0.lock().unwrap();
        let mut files: BTreeMap<u64, Content> = BTreeMap::new();
        let mut durable_names: BTreeMap<PathBuf, u64> = BTreeMap::new();
        for (&id, (name, bytes)) in &log.start {
            files.insert(id, Content { durable: bytes.clone(), newest: bytes.clone() });
            durable_names.insert(name.clone(), id);
        }
        let mut pending: Vec<&Change> = Vec::new();
        for change in &log.changes[..changes] {
            match change {
                Change::Write { id, bytes } => {
                    files.entry(*id).or_default().newest.extend_from_slice(bytes);
                }
                Change::SetLen { id, bytes } => {
                    files.entry(*id).or_default().newest.resize(*bytes as usize, 0);
                }
                Change::Sync { id } => {
                    let file = files.entry(*id).or_default();
                    file.durable = file.newest.clone();
                }
                Change::SyncDir => apply(&mut durable_names, std::mem::take(&mut pending)),
                naming => pending.push(naming),
            }
        }
        pending.truncate(choose(pending.len() + 1));
        apply(&mut durable_names, pending);
        std::fs::create_dir_all(dir).unwrap();
        for (name, id) in durable_names {
            let content = files.entry(id).or_default();
            std::fs::write(dir.join(name), after_cut(content, choose)).unwrap();
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, changes: Vec<&Change>) {
    for change in changes {
        match change {
            Change::Create { id, name } => {
                names.insert(name.clone(), *id);
            }
            Change::Rename { from, to } => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Change::Remove { name } => {
                names.remove(name);
            }
            _ => {}
        }
    }
}

/// Any length between what was durable and what was written, and any pages in between; the others are zero.
fn after_cut(content: &Content, choose: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let (durable, newest) = (&content.durable, &content.newest);
    if newest.len() <= durable.len() {
        return durable.clone();
    }
    let length = match choose(3) {
        0 => durable.len(),
        1 => newest.len(),
        _ => durable.len() + choose(newest.len() - durable.len() + 1),
    };
    let mut bytes = newest[..length].to_vec();
    let all_pages = choose(2) == 0;
    for page in (durable.len() / PAGE)..=(length / PAGE) {
        if all_pages || choose(2) == 0 {
            continue;
        }
        let from = (page * PAGE).max(durable.len()).min(length);
        let to = ((page + 1) * PAGE).min(length);
        bytes[from..to].fill(0);
    }
    bytes
}

impl Disk for CrashDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.create(path)?;
        let mut log = self.0.lock().unwrap();
        let id = log.new_id();
        log.names.insert(name(path), id);
        log.changes.push(Change::Create { id, name: name(path) });
        Ok(Box::new(CrashFile { file, log: self.0.clone(), id }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let known = self.0.lock().unwrap().names.get(&name(path)).copied();
        let Some(id) = known else { return self.create(path) };
        Ok(Box::new(CrashFile { file: RealDisk.open(path)?, log: self.0.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)?;
        let mut log = self.0.lock().unwrap();
        let id = log.names.remove(&name(from)).unwrap();
        log.names.insert(name(to), id);
        log.changes.push(Change::Rename { from: name(from), to: name(to) });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)?;
        let mut log = self.0.lock().unwrap();
        log.names.remove(&name(path));
        log.changes.push(Change::Remove { name: name(path) });
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.0.lock().unwrap().changes.push(Change::SyncDir);
        Ok(())
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(dir)
    }
}

impl DiskFile for CrashFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        let change = Change::Write { id: self.id, bytes: bytes[..written].to_vec() };
        self.log.lock().unwrap().changes.push(change);
        Ok(written)
    }

    // The image decides what is durable; the real file need not be.
    fn sync_data(&mut self) -> io::Result<()> {
        self.log.lock().unwrap().changes.push(Change::Sync { id: self.id });
        Ok(())
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn allocate(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        self.file.allocate(offset, bytes)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.log.lock().unwrap().changes.push(Change::SetLen { id: self.id, bytes });
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
