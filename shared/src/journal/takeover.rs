//! What is decided under the lock, before anything is written.

use super::record::{Activated, Position};
use super::segment::{PreviousEnd, SegmentHeader};
use super::tail::Tail;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Why a take-over must not go on. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody has, or had, an epoch that is not lower: this activation came late.
    #[error("epoch {own} is not fresh: {highest} is in the journal")]
    EpochSeen {
        /// The epoch asked for.
        own: u64,
        /// The highest in the journal.
        highest: u64,
    },
    /// The journal holds a kind that this release must read and does not.
    #[error("the journal holds records of kind {kind}, which this release must understand and does not")]
    MustUnderstand {
        /// The kind.
        kind: String,
    },
    /// There is no journal and this is not the first start.
    #[error("there is no journal, and this is not the first start")]
    Missing,
    /// There is a journal already, although this was said to be the first start.
    #[error("this was said to be the first start, but there is a journal")]
    AlreadyExists,
}

/// Whether a journal may be created, or must be there.
pub fn check_first(first: bool, exists: bool) -> Result<(), Refused> {
    match (first, exists) {
        (true, true) => Err(Refused::AlreadyExists),
        (false, false) => Err(Refused::Missing),
        _ => Ok(()),
    }
}

/// Whether epoch `own` of a release that reads `known` kinds may follow what is in the journal.
pub fn check_successor(
    own: u64,
    highest: u64,
    must_understand: &BTreeSet<String>,
    known: &[&str],
) -> Result<(), Refused> {
    if own <= highest {
        return Err(Refused::EpochSeen { own, highest });
    }
    match must_understand.iter().find(|kind| !known.contains(&kind.as_str())) {
        Some(kind) => Err(Refused::MustUnderstand { kind: kind.clone() }),
        None => Ok(()),
    }
}

/// Header of a journal's very first segment, which brings `activated` as record 1.
pub fn first_header(journal_id: Uuid, activated: &Activated) -> SegmentHeader {
    SegmentHeader {
        journal_id,
        index: 1,
        epoch: activated.epoch,
        base_lsn: 1,
        prev_end: None,
        before: Position::default(),
        synced_lsn: 1,
        must_understand: BTreeSet::new(),
        activated: activated.clone(),
        activated_at: Position { epoch: activated.epoch, lsn: 1 },
    }
}

/// Header of the segment that takes over from `tail`, whose good batches behind its synced mark are brought along
/// and followed by `activated`.
pub fn successor_header(tail: &Tail, activated: &Activated) -> SegmentHeader {
    let activated_at = Position { epoch: activated.epoch, lsn: tail.last.lsn + 1 };
    SegmentHeader {
        epoch: activated.epoch,
        synced_lsn: activated_at.lsn,
        activated: activated.clone(),
        activated_at,
        ..next_header(tail)
    }
}

/// Header of the segment that follows `tail` at a checkpoint; everything in `tail` is synced by then.
pub fn next_header(tail: &Tail) -> SegmentHeader {
    let end = tail.synced;
    SegmentHeader {
        journal_id: tail.header.journal_id,
        index: tail.header.index + 1,
        epoch: tail.header.epoch,
        base_lsn: end.position.lsn + 1,
        prev_end: Some(PreviousEnd { segment: tail.header.index, byte: end.byte, lsn: end.position.lsn }),
        before: end.position,
        synced_lsn: end.position.lsn,
        must_understand: tail.must_understand.clone(),
        activated: tail.activated.clone(),
        activated_at: tail.activated_at,
    }
}
