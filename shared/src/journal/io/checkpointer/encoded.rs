//! A checkpoint as bytes: the state with all records before the segment that was begun for it, and none behind.

use super::super::writer::Rotated;
use crate::journal::checkpoint::{self, CheckpointHeader};
use crate::journal::fold::{Fold, Folded};
use uuid::Uuid;

/// A checkpoint that is not on disk yet.
pub(super) struct Encoded {
    pub(super) header: CheckpointHeader,
    pub(super) pieces: [Vec<u8>; 3],
}

impl Encoded {
    /// Of `folded`, which ends where `rotated` begins.
    pub(super) fn of<F: Fold>(folded: &Folded<F>, rotated: Rotated, journal_id: Uuid) -> Self {
        let (activated, activated_at) =
            folded.activated.clone().expect("a journal begins with Activated, and it was folded");
        let header = CheckpointHeader {
            journal_id,
            position: rotated.after,
            segment: rotated.segment,
            must_understand: folded.must_understand.clone(),
            activated,
            activated_at,
            fold_version: F::VERSION,
            state_bytes: 0,
            state_crc: 0,
            unknown_bytes: 0,
            unknown_crc: 0,
        };
        let pieces = checkpoint::encode(header.clone(), folded.state.save(), &folded.unknown);
        Self { header, pieces }
    }
}
