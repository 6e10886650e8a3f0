//! What fits a batch: checked before anything of it is queued or written.

use super::writer::WriteError;
use crate::journal::batch;
use crate::journal::limits::{MAX_BATCH_BYTES, MAX_RECORD_BYTES};
use crate::journal::record::{NewRecord, kind_is_valid};

/// Checks number, kinds and sizes of `records`, which are to be written as one; answers their bytes.
pub(super) fn check(records: &[NewRecord]) -> Result<usize, WriteError> {
    if records.is_empty() {
        return Err(WriteError::Empty);
    }
    records.iter().try_for_each(check_record)?;
    let bytes = records.iter().map(batch::record_bytes).sum();
    if bytes > MAX_BATCH_BYTES { Err(WriteError::BatchTooLarge { bytes }) } else { Ok(bytes) }
}

/// Checks kind and size of one record.
fn check_record(record: &NewRecord) -> Result<(), WriteError> {
    if !kind_is_valid(&record.kind) {
        return Err(WriteError::BadKind { kind: record.kind.to_string() });
    }
    if record.payload.len() > MAX_RECORD_BYTES {
        let (kind, bytes) = (record.kind.to_string(), record.payload.len());
        return Err(WriteError::RecordTooLarge { kind, bytes });
    }
    Ok(())
}
