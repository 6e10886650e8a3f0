//! Segments put into place: whole and durable, or not at all.

use super::disk::{Disk, DiskError, DiskFile};
use super::reserve_file::{Reserve, write_with_reserve};
use super::survey::TEMPORARY;
use crate::journal::batch;
use crate::journal::segment::{self, SegmentHeader};
use crate::journal::tail::Tail;
use std::path::Path;

/// A segment that has come into place.
pub(crate) struct Placed {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) tail: Tail,
}

impl Placed {
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }
}

/// Writes a segment under a temporary name, syncs it, renames it and syncs the directory: it is there whole, and
/// durable, or not at all. `batches` are what it brings along.
pub(crate) fn place_segment(
    disk: &dyn Disk,
    dir: &Path,
    header: SegmentHeader,
    batches: &[u8],
    reserve: &mut Reserve,
) -> Result<Placed, DiskError> {
    let path = dir.join(segment::file_name(header.index));
    let temporary = dir.join(segment::file_name(header.index) + TEMPORARY);
    let encoded = segment::encode(&header);
    let tail = tail_of(header, encoded.len() as u64, batches);
    let content = [&encoded[..], batches].concat();
    let mut file = disk.create(&temporary).map_err(DiskError::at("create", &temporary))?;
    write_with_reserve(&mut *file, &content, reserve).map_err(DiskError::at("write", &temporary))?;
    file.sync_all().map_err(DiskError::at("sync", &temporary))?;
    disk.rename(&temporary, &path).map_err(DiskError::at("rename", &path))?;
    disk.sync_dir(dir).map_err(DiskError::at("sync", dir))?;
    Ok(Placed { file, tail })
}

fn tail_of(header: SegmentHeader, first_batch: u64, batches: &[u8]) -> Tail {
    let mut tail = Tail::begin(header, first_batch);
    let mut rest = batches;
    while let batch::Found::Batch(header, body) = batch::find(rest) {
        tail.admit(&header, &body).expect("copied batches were admitted before, and Activated follows them");
        rest = &rest[header.total_bytes()..];
    }
    tail
}
