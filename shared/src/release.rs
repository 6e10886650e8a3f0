//! What a release says of itself in `manifest.json`.

use crate::slot::Slot;
use crate::version::VersionRange;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    pub contracts: BTreeMap<String, VersionRange>,
    /// Record kinds the runtime reads.
    pub reads: Vec<String>,
    /// Record kinds the runtime writes.
    pub writes: Vec<String>,
    /// SHA-256 of each file, hex, by path below the slot.
    pub digests: BTreeMap<String, String>,
}
