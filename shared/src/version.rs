//! Versions of every protocol and file, and how two sides agree on one.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The lowest and highest version a side speaks or reads, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VersionRange {
    /// Lowest version.
    pub min: u32,
    /// Highest version.
    pub max: u32,
}

impl VersionRange {
    /// A range of exactly one version.
    pub const fn only(version: u32) -> Self {
        Self { min: version, max: version }
    }

    /// The highest version both sides speak; `None` where there is none.
    pub fn highest_common(self, other: VersionRange) -> Option<u32> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

/// Versions by the name of the protocol or file, as in a manifest.
pub type Contracts = BTreeMap<String, VersionRange>;

/// What this build speaks and reads.
pub fn contracts() -> Contracts {
    [
        ("control", CONTROL),
        ("link", LINK),
        ("inbox", INBOX),
        ("spool", SPOOL),
        ("journal", JOURNAL),
        ("checkpoint", CHECKPOINT),
    ]
    .map(|(name, range)| (name.to_owned(), range))
    .into()
}

/// Control sockets (HTTP + JSON).
pub const CONTROL: VersionRange = VersionRange::only(1);
/// The link between sidecar and runtime.
pub const LINK: VersionRange = VersionRange::only(1);
/// Inbox files of a worker.
pub const INBOX: VersionRange = VersionRange::only(1);
/// Spool files of a worker.
pub const SPOOL: VersionRange = VersionRange::only(1);
/// Journal segments.
pub const JOURNAL: VersionRange = VersionRange::only(1);
/// Journal checkpoints.
pub const CHECKPOINT: VersionRange = VersionRange::only(1);
/// The home directory as a whole (`home.json`).
pub const HOME: VersionRange = VersionRange::only(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_taken_and_no_overlap_is_none() {
        let old = VersionRange { min: 1, max: 2 };
        let new = VersionRange { min: 2, max: 4 };
        assert_eq!(old.highest_common(new), Some(2));
        assert_eq!(new.highest_common(old), Some(2));
        assert_eq!(old.highest_common(VersionRange::only(3)), None);
    }
}
