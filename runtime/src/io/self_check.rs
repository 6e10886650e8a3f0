//! `--self-check`: whether this release could serve this home, asked before it ever becomes a candidate. It reads the
//! journal as a follower does and writes nothing.

use super::journal::{Following, JournalError, Step};
use crate::record::KINDS;
use crate::state::State;
use holdfast_shared::home::Home;
use holdfast_shared::journal::{ACTIVATED, Fold, LoadError};
use serde::Serialize;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SelfCheck {
    /// This release.
    pub release: String,
    /// Epoch of the last record read; 0: there is no journal yet.
    pub epoch: u64,
    /// Its LSN.
    pub lsn: u64,
    /// Records that are kept aside for releases that know more.
    pub unknown_records: usize,
}

/// Why this release cannot serve this home.
#[derive(Debug, thiserror::Error)]
pub enum SelfCheckError {
    /// The journal or its checkpoint.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A kind that must be understood and is not known.
    #[error(
        "the journal holds record kind {kind}, which must be understood and is not known to this release"
    )]
    NotUnderstood {
        /// It.
        kind: String,
    },
    /// What this release would write as a checkpoint it could not read again.
    #[error("a checkpoint of this journal could not be read again: {0}")]
    Checkpoint(#[from] LoadError),
    /// It would read another state than it wrote.
    #[error("a checkpoint of this journal would not be read as it was written")]
    CheckpointDiffers,
}

/// Folds the whole journal, and a checkpoint of it once more.
///
/// # Errors
/// See [`SelfCheckError`].
pub fn self_check(home: &Home) -> Result<SelfCheck, SelfCheckError> {
    let (mut following, mut folded) = Following::open(&home.journal())?;
    while following.step(&mut folded, None)? == Step::More {}
    if let Some(reason) = folded.state.unreadable {
        return Err(JournalError::Unreadable(reason).into());
    }
    let known = |kind: &String| kind == ACTIVATED || KINDS.contains(&kind.as_str());
    if let Some(kind) = folded.must_understand.iter().find(|kind| !known(kind)) {
        return Err(SelfCheckError::NotUnderstood { kind: kind.clone() });
    }
    let saved = folded.state.save();
    if State::load(State::VERSION, &saved)?.save() != saved {
        return Err(SelfCheckError::CheckpointDiffers);
    }
    Ok(SelfCheck {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: folded.position.epoch,
        lsn: folded.position.lsn,
        unknown_records: folded.unknown.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::journal::{Limits, NewRecord, RealDisk, Request, TakeOver};
    use std::sync::Arc;

    /// A home whose journal has a record of this kind.
    fn home_with(kind: &str, payload: &[u8], must_understand: bool) -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let request = Request {
            epoch: 1,
            owner: "a".into(),
            instance: "rt-a-test".into(),
            release: "test".into(),
            at_ms: 1,
            first: true,
            journal_id: uuid::Uuid::new_v4(),
            known_kinds: KINDS,
            limits: Limits::SMALL,
        };
        let (mut writer, _) = TakeOver::begin(&home.journal(), Arc::new(RealDisk), request).unwrap();
        let record = NewRecord { kind: kind.to_owned().into(), must_understand, payload: payload.to_vec() };
        writer.append(&[record]).unwrap();
        writer.sync().unwrap();
        (directory, home)
    }

    #[test]
    fn a_home_without_a_journal_and_one_with_what_may_be_skipped_are_fine() {
        let directory = tempfile::tempdir().unwrap();
        let empty = self_check(&Home::new(directory.path().join("none"))).unwrap();
        assert_eq!((empty.epoch, empty.lsn), (0, 0));
        let (_directory, home) = home_with("future.note", b"{}", false);
        let checked = self_check(&home).unwrap();
        assert_eq!((checked.epoch, checked.unknown_records), (1, 1));
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_named() {
        let (_directory, home) = home_with("future.rule", b"{}", true);
        let error = self_check(&home).unwrap_err();
        assert!(matches!(&error, SelfCheckError::NotUnderstood { kind } if kind == "future.rule"), "{error}");
        let (_directory, home) = home_with(KINDS[0], b"not json", true);
        let error = self_check(&home).unwrap_err();
        assert!(matches!(error, SelfCheckError::Journal(JournalError::Unreadable(_))), "{error}");
    }
}
