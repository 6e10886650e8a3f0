//! Whether a release may become active here: what manifests say, known before anything is committed (DESIGN.md 3).
//!
//! Pure.

use holdfast_shared::release::Manifest;
use holdfast_shared::version::{Contracts, VersionRange};
use std::collections::BTreeSet;

/// Why a release is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Its manifest says nothing about record kinds.
    #[error("its manifest does not say which record kinds it reads; prepare the slot anew")]
    Undeclared,
    /// The journal holds, or the active writes, what it must not skip.
    #[error("it does not read record kind {kind}, which {source_of} and which must be understood")]
    NotRead {
        /// The kind.
        kind: String,
        /// `the journal holds` or `the active release writes`.
        source_of: &'static str,
    },
    /// It speaks no version of a protocol or file that a living process speaks.
    #[error("it speaks {} of {name}, {with} speaks {} to {}", range(.own), .other.min, .other.max)]
    NoCommonVersion {
        /// The protocol or file.
        name: String,
        /// Its own range; `None` where it knows no such thing.
        own: Option<VersionRange>,
        /// Who speaks another.
        with: &'static str,
        /// That one's range.
        other: VersionRange,
    },
}

/// Everything that a candidate must be able to deal with.
#[derive(Clone, Copy, Debug)]
pub struct Demands<'a> {
    /// Kinds in the journal that must be understood.
    pub journal: &'a BTreeSet<String>,
    /// The active release.
    pub active: Option<&'a Manifest>,
    /// What other living processes speak, by who they are.
    pub living: &'a [(&'static str, Contracts)],
}

/// The first obstacle; `None`: the release may become active.
pub fn obstacle(candidate: &Manifest, demands: Demands<'_>) -> Option<Obstacle> {
    if candidate.reads.is_empty() {
        return Some(Obstacle::Undeclared);
    }
    let in_journal = demands.journal.iter().map(|kind| (kind, "the journal holds"));
    let by_active = demands.active.into_iter().flat_map(|active| &active.must_understand);
    let by_active = by_active.map(|kind| (kind, "the active release writes"));
    if let Some((kind, source_of)) =
        in_journal.chain(by_active).find(|(kind, _)| !candidate.reads.contains(kind))
    {
        return Some(Obstacle::NotRead { kind: kind.clone(), source_of });
    }
    let active = demands.active.map(|active| ("the active release", &active.contracts));
    let living = demands.living.iter().map(|(who, contracts)| (*who, contracts));
    active.into_iter().chain(living).find_map(|(with, contracts)| no_common(candidate, with, contracts))
}

fn no_common(candidate: &Manifest, with: &'static str, others: &Contracts) -> Option<Obstacle> {
    others.iter().find_map(|(name, other)| {
        let own = candidate.contracts.get(name).copied();
        let common = own.and_then(|own| own.highest_common(*other));
        common.is_none().then(|| Obstacle::NoCommonVersion { name: name.clone(), own, with, other: *other })
    })
}

fn range(own: &Option<VersionRange>) -> String {
    own.map_or_else(|| "no version".to_owned(), |own| format!("{} to {}", own.min, own.max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::slot::Slot;
    use holdfast_shared::version;

    fn manifest(reads: &[&str], must_understand: &[&str]) -> Manifest {
        let words = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<String>>();
        Manifest {
            version: "1.0.0".into(),
            target: String::new(),
            slot: Slot::A,
            contracts: version::contracts(),
            reads: words(reads),
            writes: words(reads),
            must_understand: words(must_understand),
            digests: Default::default(),
            root: vec![],
            units: Vec::new(),
            signed_by: None,
        }
    }

    fn check(candidate: &Manifest, active: &Manifest, journal: &[&str]) -> Option<Obstacle> {
        let journal = journal.iter().map(|kind| (*kind).to_owned()).collect();
        let living = [("the supervisor", version::contracts())];
        obstacle(candidate, Demands { journal: &journal, active: Some(active), living: &living })
    }

    #[test]
    fn a_release_reads_what_the_journal_holds_and_what_the_active_writes() {
        let active = manifest(&["a", "b", "hint"], &["a", "b"]);
        assert_eq!(check(&manifest(&["a", "b", "c"], &["c"]), &active, &["a"]), None);
        assert_eq!(check(&manifest(&[], &[]), &active, &[]), Some(Obstacle::Undeclared));
        let older = check(&manifest(&["a"], &["a"]), &active, &["a"]);
        assert!(older.unwrap().to_string().contains("kind b, which the active release writes"));
        let older = check(&manifest(&["a", "b"], &[]), &active, &["long.gone"]);
        assert!(older.unwrap().to_string().contains("kind long.gone, which the journal holds"));
    }

    #[test]
    fn a_running_workers_holder_of_another_release_counts_too() {
        let one = manifest(&["a"], &[]);
        let holder = [("spool".to_owned(), VersionRange::only(7))].into();
        let living = [("a running worker's holder", holder)];
        let journal = BTreeSet::new();
        let found = obstacle(&one, Demands { journal: &journal, active: None, living: &living });
        assert!(found.unwrap().to_string().contains("a running worker's holder speaks 7 to 7"));
    }

    #[test]
    fn every_protocol_has_a_version_in_common_with_whoever_lives() {
        let active = manifest(&["a"], &[]);
        for name in version::contracts().into_keys() {
            let mut newer = active.clone();
            newer.contracts.insert(name.clone(), VersionRange::only(900));
            let Some(Obstacle::NoCommonVersion { name: found, .. }) = check(&newer, &active, &[]) else {
                panic!("{name} is not compared");
            };
            assert_eq!(found, name);
            newer.contracts.remove(&name);
            assert!(check(&newer, &active, &[]).is_some(), "{name} may not be missing");
        }
    }
}
