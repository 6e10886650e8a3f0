//! Checkpoints on disk: reading the newest good one, putting one into place, removing what it replaces.

use super::disk::{Disk, DiskError, is_full, write_all};
use super::survey::{self, SurveyError, TEMPORARY};
use crate::journal::checkpoint::{self, BadCheckpoint, CheckpointData, CheckpointHeader, Kept, Removal};
use crate::journal::segment;
use std::io;
use std::path::{Path, PathBuf};

/// The newest checkpoint in `dir` that checks; a damaged one is passed over for the one before it.
pub fn newest_checkpoint(dir: &Path) -> Result<Option<CheckpointData>, SurveyError> {
    for lsn in survey::list(dir)?.checkpoints.into_iter().rev() {
        let name = checkpoint::file_name(lsn);
        let path = dir.join(&name);
        let bytes = std::fs::read(&path).map_err(SurveyError::io(&path))?;
        match checkpoint::decode(&bytes) {
            Ok(data) => return Ok(Some(data)),
            Err(BadCheckpoint::Newer { found }) => {
                return Err(SurveyError::Newer { file: name, found, max: crate::journal::READS.1 });
            }
            Err(BadCheckpoint::Damaged) => {}
        }
    }
    Ok(None)
}

/// Writes a checkpoint under a temporary name and syncs it. `on_full` may make room once for the bytes it is given.
pub fn write_temporary(
    disk: &dyn Disk,
    dir: &Path,
    header: &CheckpointHeader,
    pieces: &[Vec<u8>; 3],
    on_full: impl FnOnce(u64) -> bool,
) -> Result<PathBuf, DiskError> {
    let temporary = dir.join(header.file_name() + TEMPORARY);
    let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
    match write_pieces(disk, &temporary, pieces) {
        Err(error) if error.is_full() && on_full(bytes) => write_pieces(disk, &temporary, pieces)?,
        done => done?,
    }
    Ok(temporary)
}

fn write_pieces(disk: &dyn Disk, path: &Path, pieces: &[Vec<u8>; 3]) -> Result<(), DiskError> {
    let mut file = disk.create(path).map_err(DiskError::at("create", path))?;
    for piece in pieces {
        if let Err((_, error)) = write_all(&mut *file, piece) {
            if is_full(&error) {
                let _freed = disk.remove(path);
            }
            return Err(DiskError::at("write", path)(error));
        }
    }
    file.sync_all().map_err(DiskError::at("sync", path))
}

/// Renames a checkpoint into place, durably.
pub fn install(disk: &dyn Disk, dir: &Path, temporary: &Path, lsn: u64) -> Result<(), DiskError> {
    let path = dir.join(checkpoint::file_name(lsn));
    disk.rename(temporary, &path).map_err(DiskError::at("rename", &path))?;
    disk.sync_dir(dir).map_err(DiskError::at("sync", dir))
}

/// Removes what the checkpoints in `dir` have replaced, oldest first, except what `held` keeps. Returns what went.
pub fn remove_replaced(disk: &dyn Disk, dir: &Path, held: Option<u64>) -> Result<Removal, SurveyError> {
    let listing = survey::list(dir)?;
    let headers = survey::checkpoint_headers(dir, &listing.checkpoints)?;
    let kept: Vec<Kept> =
        headers.iter().map(|header| Kept { lsn: header.position.lsn, segment: header.segment }).collect();
    let removal = checkpoint::removable(&kept, held);
    let segments = listing.segments.iter().filter(|&&index| index < removal.segments_below);
    let segments = segments.map(|&index| segment::file_name(index));
    let checkpoints = removal.checkpoints.iter().map(|&lsn| checkpoint::file_name(lsn));
    for name in segments.chain(checkpoints) {
        let path = dir.join(name);
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SurveyError::io(&path)(error));
            }
            _ => {}
        }
    }
    Ok(removal)
}
