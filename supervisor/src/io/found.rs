//! What a release must be able to deal with, as it is found on this machine.

use super::workers::living_contracts;
use holdfast_shared::home::Home;
use holdfast_shared::journal::inspect;
use holdfast_shared::version::Contracts;
use std::collections::BTreeSet;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Kinds in the journal that must be understood.
    pub journal: BTreeSet<String>,
    /// What the holders of living workers speak.
    pub holders: Vec<Contracts>,
}

/// Looks. A journal that cannot be read now (its writer is at work) is judged by whoever takes it over. Reads files: not
/// for the loop.
pub fn find(home: &Home) -> Found {
    let journal = inspect(&home.journal()).map(|inspection| inspection.must_understand_kinds);
    let journal = journal.unwrap_or_else(|error| {
        tracing::warn!(%error, "read the journal's kinds");
        BTreeSet::new()
    });
    Found { journal, holders: living_contracts(home) }
}
