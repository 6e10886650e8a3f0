//! Whether a wish is one of root's too: keys that only root writes, the bundle copied and verified again, its units.

use super::Places;
use crate::io::bundle::{self, TrustedKeys, keys};
use crate::io::slots;
use crate::io::units::taken;
use crate::release::{BundleError, Limits, Rules};
use crate::units::{Wish, with_programs};
use holdfast_shared::version::Contracts;
use semver::Version;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Where the bundle is copied to; removed at each end.
const WORK: &str = "work";
/// Bits of a mode by which others than the owner may write.
const WRITES_OF_OTHERS: u32 = 0o022;

/// A refusal: code and words.
type Refusal = (String, String);

fn refusal(code: &str, words: impl ToString) -> Refusal {
    (code.to_owned(), words.to_string())
}

fn refused(error: BundleError) -> Refusal {
    refusal(error.code(), error)
}

/// What a run that was killed has left of its copy.
pub(super) fn clear(places: &Places) {
    let _ = std::fs::remove_dir_all(places.state.join(WORK));
}

/// The units of the wish's bundle, as they are to be here, once everything about it was found right.
pub(super) fn wanted(
    places: &Places,
    wish: &Wish,
    now_ms: i64,
) -> Result<BTreeMap<&'static str, String>, Refusal> {
    let trusted = trusted(places)?;
    let removed: Vec<String> = super::files::read(&places.state.join(super::REMOVED)).unwrap_or_default();
    if removed.contains(&wish.sha256) {
        return Err(refusal("bundle_removed", "a package that came after this bundle has removed its units"));
    }
    let work = places.state.join(WORK);
    clear(places);
    let made = DirBuilder::new().mode(0o700).create(&work);
    made.map_err(|error| refusal("bundle_not_taken", error))?;
    let found = verified(places, wish, &work, &trusted, now_ms);
    clear(places);
    found
}

fn verified(
    places: &Places,
    wish: &Wish,
    work: &Path,
    trusted: &TrustedKeys,
    now_ms: i64,
) -> Result<BTreeMap<&'static str, String>, Refusal> {
    let limits = Limits::default();
    let copy = taken::bundle(&places.home, wish, work, limits.bundle_bytes)
        .map_err(|error| refusal("bundle_not_taken", error))?;
    let rules = Rules {
        now_ms,
        target: slots::target(),
        // What is installed does not speak with what the bundle brings: the node's own programs do, and have judged it.
        contracts: Contracts::new(),
        // The node's user must not bring an old unit back; root may, by hand.
        allow_downgrade: false,
        limits,
    };
    let verified = bundle::verify(&copy, trusted, &rules).map_err(refused)?;
    not_older_than_installed(places, &verified.manifest().version)?;
    let units = bundle::units(&verified).map_err(refused)?;
    if units.is_empty() {
        return Err(refusal("bundle_without_units", "the bundle has no units"));
    }
    // Before anything is placed, as for a slot.
    keys::remember(&places.keys, verified.key(), &verified.manifest().version).map_err(refused)?;
    Ok(units.into_iter().map(|(name, text)| (name, with_programs(&text, &places.programs))).collect())
}

/// The package's units are in effect here, and nothing older follows them: its sandbox may be weaker. No key that has seen
/// no release yet says so by itself.
fn not_older_than_installed(places: &Places, version: &str) -> Result<(), Refusal> {
    let older = match (Version::parse(version), Version::parse(&places.version)) {
        (Ok(version), Ok(installed)) => version.cmp_precedence(&installed).is_lt(),
        _ => true,
    };
    match older {
        true => Err(refusal(
            "bundle_downgrade",
            format!("version {version} is older than what is installed, {}", places.version),
        )),
        false => Ok(()),
    }
}

/// The keys, where nobody but root can have put them.
fn trusted(places: &Places) -> Result<TrustedKeys, Refusal> {
    let missing = || {
        refusal(
            "units_key_missing",
            format!("no key in {}: `holdfast release trust PUB --units` by root", places.keys.display()),
        )
    };
    let entries = match std::fs::read_dir(&places.keys) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        entries => entries.map_err(|error| refusal("trusted_key_unreadable", error))?,
    };
    for path in entries.flatten().map(|entry| entry.path()).chain([places.keys.clone()]) {
        let there =
            std::fs::symlink_metadata(&path).map_err(|error| refusal("trusted_key_unreadable", error))?;
        if there.is_symlink() {
            let words = format!("{} is a link: put the file itself there", path.display());
            return Err(refusal("units_key_is_a_link", words));
        }
        if there.uid() != places.owner || there.mode() & WRITES_OF_OTHERS != 0 {
            let words = format!("{} can be written by others than root", path.display());
            return Err(refusal("units_key_not_roots", words));
        }
    }
    let trusted = TrustedKeys::load(&places.keys).map_err(refused)?;
    if trusted.keys().is_empty() { Err(missing()) } else { Ok(trusted) }
}
