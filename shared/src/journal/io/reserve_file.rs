//! The reserve as a file, and writes that go on in its space.

use super::disk::{Disk, DiskError, DiskFile, is_full};
use crate::journal::limits::Limits;
use crate::journal::reserve;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file that keeps disk space back.
pub const RESERVE_FILE: &str = "reserve";

/// Disk space kept back, as a file without content.
pub struct Reserve {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// What is in it.
    pub(super) bytes: u64,
    limits: Limits,
    /// Whether some of it was given up since it was whole.
    pub(super) was_used: bool,
}

impl Reserve {
    /// Opens the reserve as it is.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, limits: &Limits) -> Result<Self, DiskError> {
        let path = dir.join(RESERVE_FILE);
        let file = disk.open(&path).map_err(DiskError::at("open", &path))?;
        let bytes = file.length().map_err(DiskError::at("stat", &path))?;
        Ok(Self { file, path, bytes, limits: *limits, was_used: false })
    }

    /// Makes it whole; a full disk sets `storage_full` and leaves it as it is.
    pub(super) fn establish(&mut self, limits: &Limits, storage_full: &mut bool) -> Result<(), DiskError> {
        if *storage_full {
            return Ok(());
        }
        match self.file.allocate(0, limits.reserve_bytes) {
            Ok(()) => {
                self.was_used = false;
                if self.bytes != limits.reserve_bytes {
                    self.resize(limits.reserve_bytes)?;
                    // Or a power cut could leave a length without blocks behind it.
                    self.file.sync_all().map_err(DiskError::at("sync", &self.path))?;
                }
            }
            Err(error) if is_full(&error) => {
                // What a failed allocation got hold of is given back.
                self.resize(self.bytes)?;
                *storage_full = true;
            }
            Err(error) if cannot(&error) => self.bytes = 0,
            Err(error) => return Err(DiskError::at("allocate", &self.path)(error)),
        }
        Ok(())
    }

    /// Frees a piece for `needed` bytes; false if there was nothing left.
    pub(super) fn give_up(&mut self, needed: u64) -> Result<bool, DiskError> {
        let piece = reserve::piece(needed, self.bytes, &self.limits);
        self.was_used = true;
        if piece == 0 {
            return Ok(false);
        }
        self.resize(self.bytes - piece)?;
        Ok(true)
    }

    fn resize(&mut self, bytes: u64) -> Result<(), DiskError> {
        self.file.set_len(bytes).map_err(DiskError::at("resize", &self.path))?;
        self.bytes = bytes;
        Ok(())
    }
}

/// Writes all of `bytes`; what a full disk cut short goes on in the space of the reserve.
pub(super) fn write_with_reserve(
    file: &mut dyn DiskFile,
    bytes: &[u8],
    reserve: &mut Reserve,
) -> io::Result<()> {
    let mut rest = bytes;
    loop {
        match super::disk::write_all(file, rest) {
            Ok(()) => return Ok(()),
            Err((written, error)) if is_full(&error) => {
                rest = &rest[written..];
                if !reserve.give_up(rest.len() as u64).map_err(|failed| failed.source)? {
                    return Err(error);
                }
            }
            Err((_, error)) => return Err(error),
        }
    }
}

pub(super) fn cannot(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}
