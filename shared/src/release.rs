//! What a release says of itself in `manifest.json`.

use crate::slot::Slot;
use crate::version::Contracts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a runtime's binary says of itself, as JSON on stdout: `holdfast-runtime --abilities`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// See [`Manifest::version`].
    pub version: String,
    /// See [`Manifest::contracts`].
    pub contracts: Contracts,
    /// See [`Manifest::reads`].
    pub reads: Vec<String>,
    /// See [`Manifest::writes`].
    pub writes: Vec<String>,
    /// See [`Manifest::must_understand`].
    pub must_understand: Vec<String>,
}

/// The manifest of the release in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the release, semver.
    pub version: String,
    /// Target triple the binaries are for.
    pub target: String,
    /// The slot this copy was installed in.
    pub slot: Slot,
    /// Versions of protocols and files this release speaks, by name (`control`, `link`, `journal`, ...).
    pub contracts: Contracts,
    /// Record kinds the runtime reads.
    pub reads: Vec<String>,
    /// Record kinds the runtime writes.
    pub writes: Vec<String>,
    /// Those of them without which a release must not become active.
    #[serde(default)]
    pub must_understand: Vec<String>,
    /// SHA-256 of each file, hex, by path below the slot.
    pub digests: BTreeMap<String, String>,
}
