//! What this release reads and writes, for its manifest. Pure.

use crate::record::KINDS;
use holdfast_shared::journal::ACTIVATED;
use holdfast_shared::release::Abilities;
use holdfast_shared::version;

/// What the manifest of this release is to say.
pub fn abilities() -> Abilities {
    let own = || KINDS.iter().map(|kind| (*kind).to_owned());
    let all: Vec<String> = std::iter::once(ACTIVATED.to_owned()).chain(own()).collect();
    Abilities {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        contracts: version::contracts(),
        reads: all.clone(),
        writes: all,
        // `Record::encode` marks each of ours.
        must_understand: own().collect(),
    }
}
