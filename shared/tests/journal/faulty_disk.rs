//! A disk whose nth change fails.

use holdfast_shared::journal::{Disk, DiskFile, RealDisk};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// Fails once, at the nth change (from 1) of any kind; 0 never.
#[derive(Default)]
pub struct Plan {
    changes: AtomicU64,
    pub fail_at: AtomicU64,
    /// A write takes at most so many bytes; 0 is no limit.
    pub short_writes: AtomicUsize,
    pub failed: AtomicU64,
    /// The error; EIO if 0.
    pub errno: AtomicI32,
}

impl Plan {
    fn step(&self) -> io::Result<()> {
        let nth = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        if nth == self.fail_at.load(Ordering::SeqCst) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(match self.errno.load(Ordering::SeqCst) {
                0 => 5,
                errno => errno,
            }));
        }
        Ok(())
    }

    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}

pub struct FaultyDisk(pub Arc<Plan>);

struct FaultyFile(Box<dyn DiskFile>, Arc<Plan>);

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.step()?;
        Ok(Box::new(FaultyFile(RealDisk.create(path)?, self.0.clone())))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.step()?;
        Ok(Box::new(FaultyFile(RealDisk.open(path)?, self.0.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.step()?;
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.step()?;
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(dir)
    }
}

impl DiskFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.step()?;
        let limit = match self.1.short_writes.load(Ordering::SeqCst) {
            0 => bytes.len(),
            limit => bytes.len().min(limit),
        };
        self.0.write(&bytes[..limit])
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.1.step()?;
        self.0.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.1.step()?;
        self.0.sync_all()
    }

    fn allocate(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        self.1.step()?;
        self.0.allocate(offset, bytes)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.1.step()?;
        self.0.set_len(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}
