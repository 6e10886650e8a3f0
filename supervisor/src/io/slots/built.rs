//! A slot filled from the built tree, where nothing alive runs from it.

use super::{RUNTIME, digest, issues, manifest, target};
use crate::io::home::{on_file, write_file};
use crate::io::preflight::abilities;
use crate::io::programs::{BUILT_RUNTIME, beside_us};
use holdfast_shared::error::ApiError;
use holdfast_shared::home::Home;
use holdfast_shared::release::{Abilities, Manifest};
use holdfast_shared::slot::Slot;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The runtime of the built tree.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its binary.
    pub path: PathBuf,
    /// Its digest.
    pub digest: String,
}

impl Built {
    /// The runtime beside us.
    ///
    /// # Errors
    /// `REFUSED` when it was not built.
    pub fn find() -> Result<Self, ApiError> {
        let path = beside_us(BUILT_RUNTIME)?;
        let digest = digest(&path).map_err(|error| on_file("read", &path, &error))?;
        Ok(Self { path, digest })
    }

    /// Whether this is what the slot has.
    pub fn is_in(&self, home: &Home, slot: Slot) -> bool {
        let in_slot = manifest(home, slot).ok().flatten();
        in_slot.is_some_and(|manifest| manifest.digests.get(RUNTIME) == Some(&self.digest))
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// `REFUSED` when it does not say so in time.
    fn abilities(&self) -> Result<Abilities, ApiError> {
        abilities(&self.path)
    }

    /// Puts it into the slot, unless it is there already, or a signed release is: a restart does not undo an update.
    /// Nothing alive may run from the slot. The manifest goes first and comes last, so a slot that was left half
    /// filled is an empty one.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn fill(&self, home: &Home, slot: Slot) -> Result<(), ApiError> {
        let declares = |manifest: Manifest| !manifest.reads.is_empty();
        if has_signed_release(home, slot) {
            return Ok(());
        }
        if self.is_in(home, slot)
            && manifest(home, slot).ok().flatten().is_some_and(declares)
            && home.slot(slot).join(RUNTIME).is_file()
        {
            return Ok(());
        }
        let Abilities { version, contracts, reads, writes, must_understand } = self.abilities()?;
        let manifest_path = home.slot(slot).join("manifest.json");
        match std::fs::remove_file(&manifest_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(on_file("remove", &manifest_path, &error));
            }
            _ => {}
        }
        let to = home.slot(slot).join(RUNTIME);
        copy(&self.path, &to).map_err(|error| on_file("write", &to, &error))?;
        let manifest = Manifest {
            version,
            target: target(),
            slot,
            contracts,
            reads,
            writes,
            must_understand,
            digests: BTreeMap::from([(RUNTIME.to_owned(), self.digest.clone())]),
            root: Vec::new(),
            units: Vec::new(),
            signed_by: None,
        };
        write_file(&manifest_path, &serde_json::to_vec_pretty(&manifest).unwrap_or_default())
    }
}

/// Whether the slot has a release that came in a bundle, whole.
fn has_signed_release(home: &Home, slot: Slot) -> bool {
    let signed = manifest(home, slot).ok().flatten().is_some_and(|manifest| manifest.signed_by.is_some());
    signed && issues(home, slot).is_empty()
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let directory = to.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = to.with_extension("new");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).open(&temporary)?;
    io::copy(&mut File::open(from)?, &mut out)?;
    out.flush()?;
    out.sync_all()?;
    drop(out);
    std::fs::rename(&temporary, to)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::io::slots::Checks;
    use crate::release::MANIFEST;
    use holdfast_shared::error::Code;

    /// A program that prints this when it is asked for its abilities.
    pub fn built(directory: &Path, prints: &str) -> Built {
        let path = directory.join("built");
        std::fs::write(&path, format!("#!/bin/sh\n[ \"$1\" = --abilities ] && echo '{prints}'\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Built { digest: digest(&path).unwrap(), path }
    }

    pub const ABLE: &str = r#"{"version": "7.0.0", "contracts": {"link": {"min": 1, "max": 2}}, "reads": ["a", "b"],
        "writes": ["a"], "must_understand": ["a"]}"#;

    #[test]
    fn an_empty_slot_is_filled_a_full_one_left_and_damage_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let built = built(directory.path(), ABLE);
        let checks = Checks::default();
        assert_eq!(checks.issues(&home, Slot::A), ["missing_manifest"]);
        built.fill(&home, Slot::A).unwrap();
        assert!(checks.issues(&home, Slot::A).is_empty());
        std::fs::write(home.slot(Slot::A).join(RUNTIME), b"other").unwrap();
        assert_eq!(checks.issues(&home, Slot::A), ["digest_mismatch"]);
        std::fs::remove_file(home.slot(Slot::A).join(RUNTIME)).unwrap();
        assert_eq!(checks.issues(&home, Slot::A), ["missing_binary"]);
        built.fill(&home, Slot::A).unwrap();
        assert!(checks.issues(&home, Slot::A).is_empty());
    }

    #[test]
    fn a_signed_release_is_not_filled_over_unless_it_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let first = built(directory.path(), ABLE);
        first.fill(&home, Slot::A).unwrap();
        let mut signed = manifest(&home, Slot::A).unwrap().unwrap();
        signed.signed_by = Some("a key".to_owned());
        let text = serde_json::to_vec(&signed).unwrap();
        std::fs::write(home.slot(Slot::A).join(MANIFEST), text).unwrap();
        let second = built(directory.path(), &ABLE.replace("7.0.0", "8.0.0"));
        second.fill(&home, Slot::A).unwrap();
        assert_eq!(manifest(&home, Slot::A).unwrap().unwrap().version, "7.0.0");
        std::fs::write(home.slot(Slot::A).join(RUNTIME), b"other").unwrap();
        second.fill(&home, Slot::A).unwrap();
        assert_eq!(manifest(&home, Slot::A).unwrap().unwrap().version, "8.0.0");
    }

    #[test]
    fn a_manifest_says_what_the_program_says_of_itself() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        built(directory.path(), ABLE).fill(&home, Slot::B).unwrap();
        let filled = manifest(&home, Slot::B).unwrap().unwrap();
        assert_eq!((filled.version.as_str(), filled.slot), ("7.0.0", Slot::B));
        assert_eq!(
            (filled.reads, filled.writes, filled.must_understand),
            (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned()], vec!["a".to_owned()])
        );
        assert_eq!(filled.contracts["link"].max, 2);
        let refused = built(directory.path(), "nothing").fill(&home, Slot::A).unwrap_err();
        assert_eq!(refused.code, Code::Refused);
        assert_eq!(issues(&home, Slot::A), ["missing_manifest"]);
    }
}
