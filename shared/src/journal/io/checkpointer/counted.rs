//! What came since the newest checkpoint, and whether it is enough for the next one. What a checkpoint holds, or was
//! found to be more than one can carry, is not counted again.

use super::super::survey::{self, SurveyError};
use super::super::writer::Rotated;
use super::super::writer_thread::WriterClient;
use super::CheckpointError;
use crate::journal::checkpoint;
use crate::journal::segment;
use std::path::Path;

/// From where on what a next checkpoint would hold is counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// The record before.
    lsn: u64,
    /// The segment that goes on from there,
    segment: u64,
    /// and what of it and those behind it does not count.
    bytes_before: u64,
    /// Up to where it was looked.
    looked_lsn: u64,
}

impl From<Rotated> for Counted {
    /// From the segment on that was begun for a checkpoint.
    fn from(rotated: Rotated) -> Self {
        Self { lsn: rotated.after.lsn, segment: rotated.segment, ..Self::default() }
    }
}

impl Counted {
    /// From the newest checkpoint on that is in place.
    pub(super) fn from_newest(dir: &Path) -> Result<Self, CheckpointError> {
        let listing = survey::list(dir)?;
        let headers = survey::checkpoint_headers(dir, &listing.checkpoints)?;
        let newest = headers.last().map(|newest| (newest.position.lsn, newest.segment));
        let (lsn, segment) = newest.unwrap_or_default();
        Ok(Self { lsn, segment, ..Self::default() })
    }

    /// Whether enough came since the last checkpoint; looked at once for each new record.
    pub(super) fn is_due(&mut self, writer: &WriterClient) -> Result<bool, CheckpointError> {
        let lsn = writer.durable_lsn();
        if lsn == self.looked_lsn {
            return Ok(false);
        }
        self.looked_lsn = lsn;
        let bytes = self.segment_bytes(writer.dir())?.saturating_sub(self.bytes_before);
        Ok(checkpoint::is_due(lsn.saturating_sub(self.lsn), bytes, writer.limits()))
    }

    /// What there is up to this record was not written, and is due no more.
    pub(super) fn pass_over(&mut self, lsn: u64, dir: &Path) -> Result<(), CheckpointError> {
        self.lsn = lsn;
        self.bytes_before = self.segment_bytes(dir)?;
        Ok(())
    }

    fn segment_bytes(&self, dir: &Path) -> Result<u64, CheckpointError> {
        let segments = survey::list(dir)?.segments;
        let counted = segments.into_iter().filter(|&index| index >= self.segment);
        let mut bytes = 0;
        for path in counted.map(|index| dir.join(segment::file_name(index))) {
            bytes += std::fs::metadata(&path).map_err(SurveyError::io(&path))?.len();
        }
        Ok(bytes)
    }
}
