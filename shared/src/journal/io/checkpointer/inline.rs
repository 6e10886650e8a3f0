//! A checkpoint written by whoever has the writer, who waits for it: no thread, and no second fold.

use super::super::checkpoint_files::{install, remove_replaced, write_temporary};
use super::super::disk::Disk;
use super::super::writer::Writer;
use super::encoded::Encoded;
use super::{CheckpointError, Checkpointed};
use crate::journal::fold::{Fold, Folded};
use std::sync::Arc;

/// Writes a checkpoint of `folded`, which must have taken every record of `writer`, at once: for a journal that is
/// small enough not to need a thread for it. Nothing that follows `held` is removed.
pub fn checkpoint_inline<F: Fold>(
    writer: &mut Writer,
    folded: &Folded<F>,
    held: Option<u64>,
) -> Result<Checkpointed, CheckpointError> {
    if folded.position != writer.last() {
        let (folded, journal) = (folded.position.lsn, writer.last().lsn);
        return Err(CheckpointError::Behind { folded, journal });
    }
    let bytes = folded.unknown_bytes;
    if bytes > writer.limits().unknown_bytes {
        return Err(CheckpointError::TooMuchUnknown { bytes });
    }
    let rotated = writer.rotate()?;
    let encoded = Encoded::of(folded, rotated, writer.journal_id());
    let disk: Arc<dyn Disk> = writer.disk();
    let dir = writer.dir().to_path_buf();
    let dir = dir.as_path();
    let mut reserve_failed = None;
    let on_full = |bytes| {
        writer.use_reserve(bytes).unwrap_or_else(|error| {
            reserve_failed = Some(error);
            false
        })
    };
    let temporary = write_temporary(&*disk, dir, &encoded.header, &encoded.pieces, on_full);
    if let Some(error) = reserve_failed {
        return Err(error.into());
    }
    install(&*disk, dir, &temporary?, encoded.header.position.lsn)?;
    let removed = remove_replaced(&*disk, dir, held)?;
    Ok(Checkpointed { position: encoded.header.position, removed })
}
