//! A disk of a given size. Blocks are single bytes; a write that does not fit is cut short first.

use holdfast_shared::journal::{Disk, DiskFile, RealDisk};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct Blocks {
    pub capacity: u64,
    /// What others have taken.
    pub taken: u64,
    /// By file: its length and how far it is allocated.
    files: BTreeMap<u64, (u64, u64)>,
    names: BTreeMap<PathBuf, u64>,
    next: u64,
}

impl Blocks {
    fn used(&self) -> u64 {
        self.taken + self.files.values().map(|&(length, allocated)| length.max(allocated)).sum::<u64>()
    }

    pub fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used())
    }

    pub fn bytes_of(&self, path: &Path) -> u64 {
        let file = self.names.get(path).and_then(|id| self.files.get(id));
        file.map_or(0, |&(length, allocated)| length.max(allocated))
    }

    fn grow(&mut self, id: u64, to: u64) -> Result<(), u64> {
        let free = self.free();
        let (length, allocated) = self.files[&id];
        let more = to.saturating_sub(length.max(allocated));
        if more > free { Err(free) } else { Ok(()) }
    }
}

#[derive(Clone)]
pub struct SmallDisk(pub Arc<Mutex<Blocks>>);

impl SmallDisk {
    pub fn new(capacity: u64) -> Self {
        Self(Arc::new(Mutex::new(Blocks { capacity, ..Blocks::default() })))
    }
}

struct SmallFile {
    file: Box<dyn DiskFile>,
    blocks: Arc<Mutex<Blocks>>,
    id: u64,
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(28)
}

impl SmallDisk {
    fn opened(&self, path: &Path, new: bool, file: Box<dyn DiskFile>) -> io::Result<Box<dyn DiskFile>> {
        let mut blocks = self.0.lock().unwrap();
        let known = blocks.names.get(path).copied().filter(|_| !new);
        let id = known.unwrap_or_else(|| {
            blocks.next += 1;
            let (id, length) = (blocks.next, file.length().unwrap());
            if let Some(replaced) = blocks.names.insert(path.to_path_buf(), id) {
                blocks.files.remove(&replaced);
            }
            blocks.files.insert(id, (length, 0));
            id
        });
        drop(blocks);
        Ok(Box::new(SmallFile { file, blocks: self.0.clone(), id }))
    }
}

impl Disk for SmallDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.opened(path, true, RealDisk.create(path)?)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.opened(path, false, RealDisk.open(path)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)?;
        let mut blocks = self.0.lock().unwrap();
        let id = blocks.names.remove(from).unwrap();
        if let Some(replaced) = blocks.names.insert(to.to_path_buf(), id) {
            blocks.files.remove(&replaced);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)?;
        let mut blocks = self.0.lock().unwrap();
        if let Some(id) = blocks.names.remove(path) {
            blocks.files.remove(&id);
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().free())
    }
}

impl DiskFile for SmallFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.length()?;
        let mut blocks = self.blocks.lock().unwrap();
        let fits = match blocks.grow(self.id, length + bytes.len() as u64) {
            Ok(()) => bytes.len(),
            Err(free) => {
                let (_, allocated) = blocks.files[&self.id];
                (allocated.max(length) + free - length).min(bytes.len() as u64) as usize
            }
        };
        if fits == 0 {
            return Err(full());
        }
        let written = self.file.write(&bytes[..fits])?;
        blocks.files.get_mut(&self.id).unwrap().0 = length + written as u64;
        Ok(written)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        let mut blocks = self.blocks.lock().unwrap();
        blocks.grow(self.id, offset + bytes).map_err(|_| full())?;
        let file = blocks.files.get_mut(&self.id).unwrap();
        file.1 = file.1.max(offset + bytes);
        Ok(())
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        if let Some(file) = self.blocks.lock().unwrap().files.get_mut(&self.id) {
            *file = (bytes, 0);
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
