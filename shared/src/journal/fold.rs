//! State is a fold: live path, recovery and checkpoints run the same `apply`.

use super::checkpoint::CheckpointData;
use super::record::{ACTIVATED, Activated, Position, Record};
use std::collections::BTreeSet;

/// A state made from records and nothing else.
pub trait Fold: Sized {
    /// Version of what [`Fold::save`] writes.
    const VERSION: u32;

    /// The state before the first record.
    fn empty() -> Self;

    /// Takes the next record; called only with kinds in [`Fold::kinds`] and with [`ACTIVATED`].
    fn apply(&mut self, record: &Record);

    /// The whole state, for a checkpoint.
    fn save(&self) -> Vec<u8>;

    /// A state that [`Fold::save`] of `version` gave.
    fn load(version: u32, bytes: &[u8]) -> Result<Self, LoadError>;

    /// The kinds this fold reads. Others are kept aside, verbatim.
    fn kinds() -> &'static [&'static str];
}

/// A saved state cannot be read by this release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Of a version it does not read.
    #[error("saved state has version {found}, this release reads up to {newest}")]
    Version {
        /// The version found.
        found: u32,
        /// The newest this fold reads.
        newest: u32,
    },
    /// Of a known version, but it does not parse.
    #[error("saved state of version {version} does not parse: {reason}")]
    Malformed {
        /// Its version.
        version: u32,
        /// The parser's words.
        reason: String,
    },
}

/// A fold and what the journal itself knows: where it stands, and what it carries for releases that know more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded<F> {
    /// The state.
    pub state: F,
    /// Records of kinds that `F` does not know, in order.
    pub unknown: Vec<Record>,
    /// Bytes of those.
    pub unknown_bytes: u64,
    /// The last record taken.
    pub position: Position,
    /// Every must-understand kind up to there.
    pub must_understand: BTreeSet<String>,
    /// The newest `Activated` up to there, and its place.
    pub activated: Option<(Activated, Position)>,
}

impl<F: Fold> Folded<F> {
    /// Before the first record.
    pub fn empty() -> Self {
        Self {
            state: F::empty(),
            unknown: Vec::new(),
            unknown_bytes: 0,
            position: Position::default(),
            must_understand: BTreeSet::new(),
            activated: None,
        }
    }

    /// From a checkpoint. Kept records whose kind this release knows come back to the fold here.
    pub fn load(data: CheckpointData) -> Result<Self, LoadError> {
        let header = data.header;
        let mut folded = Self {
            state: F::load(header.fold_version, &data.state)?,
            unknown: Vec::new(),
            unknown_bytes: 0,
            position: header.position,
            must_understand: header.must_understand,
            activated: Some((header.activated, header.activated_at)),
        };
        for record in data.unknown {
            folded.route(record);
        }
        Ok(folded)
    }

    /// From a checkpoint if there is one.
    pub fn load_or_empty(data: Option<CheckpointData>) -> Result<Self, LoadError> {
        data.map_or_else(|| Ok(Self::empty()), Self::load)
    }

    /// Takes the next record, as a follower gave it.
    pub fn apply(&mut self, record: Record) {
        self.position = record.position();
        if record.must_understand && !self.must_understand.contains(&record.kind) {
            self.must_understand.insert(record.kind.clone());
        }
        if record.kind == ACTIVATED
            && let Ok(activated) = serde_json::from_slice(&record.payload)
        {
            self.activated = Some((activated, record.position()));
        }
        self.route(record);
    }

    fn route(&mut self, record: Record) {
        if record.kind == ACTIVATED || F::kinds().contains(&record.kind.as_str()) {
            self.state.apply(&record);
        } else {
            self.unknown_bytes += (record.payload.len() + record.kind.len()) as u64;
            self.unknown.push(record);
        }
    }
}
