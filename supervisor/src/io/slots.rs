//! Slots on disk: read, checked, and filled from the built tree ([`Built`]).

mod built;

use crate::io::home::on_file;
use crate::release::{MANIFEST, check_path, no_common_contract};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::release::Manifest;
use holdfast_shared::slot::Slot;
use holdfast_shared::token::hex;
use holdfast_shared::version;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The runtime's binary below a slot.
pub use crate::release::RUNTIME;
pub use built::Built;

/// SHA-256 of a file, hex.
///
/// # Errors
/// What the file system says.
pub fn digest(path: &Path) -> io::Result<String> {
    digest_of(File::open(path)?)
}

/// The same of what is read, from where it stands to its end.
///
/// # Errors
/// What the file system says.
pub fn digest_of(mut file: impl Read) -> io::Result<String> {
    const PIECE_BYTES: usize = 256 * 1024;
    let mut digest = Sha256::new();
    let mut piece = vec![0u8; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&digest.finalize())),
            count => digest.update(&piece[..count]),
        }
    }
}

/// The manifest of a slot; `None` when the slot is empty.
///
/// # Errors
/// `HOME_DAMAGED` when it is there and not readable.
pub fn manifest(home: &Home, slot: Slot) -> Result<Option<Manifest>, ApiError> {
    let path = home.slot(slot).join("manifest.json");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(on_file("read", &path, &error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| ApiError::new(Code::HomeDamaged, format!("{}: {error}", path.display())))
}

/// What is wrong with a slot, as issue codes; empty: nothing. Reads every file that its manifest names.
pub fn issues(home: &Home, slot: Slot) -> Vec<&'static str> {
    let Ok(Some(manifest)) = manifest(home, slot) else { return vec!["missing_manifest"] };
    let mut issues = Vec::new();
    if manifest.slot != slot {
        issues.push("manifest_slot_mismatch");
    }
    if manifest.target != target() {
        issues.push("wrong_target");
    }
    if no_common_contract(&manifest.contracts, &version::contracts()).is_some() {
        issues.push("contract_range_mismatch");
    }
    if !manifest.digests.contains_key(RUNTIME) {
        issues.push("missing_binary");
    }
    for (path, digest) in &manifest.digests {
        match file_issue(&home.slot(slot), path, digest) {
            Some(issue) if !issues.contains(&issue) => issues.push(issue),
            _ => {}
        }
    }
    issues
}

fn file_issue(directory: &Path, below: &str, expected: &str) -> Option<&'static str> {
    if check_path(below.as_bytes()).is_err() {
        return Some("path_outside_slot");
    }
    let mut path = directory.to_owned();
    for component in below.split('/') {
        path.push(component);
        match std::fs::symlink_metadata(&path) {
            Err(_) => return Some("missing_binary"),
            Ok(metadata) if metadata.is_symlink() => return Some("symlink_refused"),
            Ok(_) => {}
        }
    }
    (digest(&path).ok().as_deref() != Some(expected)).then_some("digest_mismatch")
}

/// What was found in the slots, kept for as long as their files are the same: a digest takes as long as a start.
/// Clones know the same.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    known: Arc<Mutex<[Option<Known>; 2]>>,
}

/// A slot's files as they were, and what was wrong with them.
type Known = (Stamps, Vec<&'static str>);

/// Which files were looked at, and in which state; `None` for one that is not there.
type Stamps = Vec<(PathBuf, Option<[i64; 7]>)>;

impl Checks {
    /// As [`issues`].
    pub fn issues(&self, home: &Home, slot: Slot) -> Vec<&'static str> {
        let stamps = stamps(home, slot);
        if let Some((before, issues)) = &self.known()[slot as usize]
            && *before == stamps
        {
            return issues.clone();
        }
        // Not while others wait for what is known: this takes as long as reading the files.
        let issues = issues(home, slot);
        self.known()[slot as usize] = Some((stamps, issues.clone()));
        issues
    }

    fn known(&self) -> MutexGuard<'_, [Option<Known>; 2]> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(home: &Home, slot: Slot) -> Stamps {
    let files = manifest(home, slot).ok().flatten().map(|manifest| manifest.digests).unwrap_or_default();
    let named = files.into_keys().filter(|path| check_path(path.as_bytes()).is_ok());
    let paths = named.chain([MANIFEST.to_owned()]).map(|below| home.slot(slot).join(below));
    paths.map(|path| (path.clone(), stamp(&path))).collect()
}

fn stamp(path: &Path) -> Option<[i64; 7]> {
    let file = std::fs::symlink_metadata(path).ok()?;
    let identity = [file.dev().cast_signed(), file.ino().cast_signed(), file.size().cast_signed()];
    let [device, inode, size] = identity;
    Some([device, inode, size, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()])
}

/// Target triple of this machine, as far as it matters to a program.
pub fn target() -> String {
    format!("{}-unknown-{}-gnu", std::env::consts::ARCH, std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::built::tests::{ABLE, built};
    use super::*;

    #[test]
    fn every_file_of_a_manifest_is_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        built(directory.path(), ABLE).fill(&home, Slot::A).unwrap();
        let whole = manifest(&home, Slot::A).unwrap().unwrap();
        let checks = Checks::default();
        let with = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = whole.clone();
            change(&mut manifest);
            let text = serde_json::to_vec(&manifest).unwrap();
            std::fs::write(home.slot(Slot::A).join(MANIFEST), text).unwrap();
            checks.issues(&home, Slot::A)
        };
        let name = |manifest: &mut Manifest, path: &str| {
            manifest.digests.insert(path.to_owned(), "0".repeat(64));
        };
        assert!(with(&|_| {}).is_empty());
        assert_eq!(with(&|manifest| manifest.slot = Slot::B), ["manifest_slot_mismatch"]);
        assert_eq!(with(&|manifest| manifest.target.clear()), ["wrong_target"]);
        assert_eq!(with(&|manifest| manifest.digests.clear()), ["missing_binary"]);
        assert_eq!(with(&|manifest| name(manifest, "bin/other")), ["missing_binary"]);
        assert_eq!(with(&|manifest| name(manifest, "../../home.json")), ["path_outside_slot"]);
        std::os::unix::fs::symlink("/etc/hostname", home.slot(Slot::A).join("bin/link")).unwrap();
        assert_eq!(with(&|manifest| name(manifest, "bin/link")), ["symlink_refused"]);
        let future = version::VersionRange::only(99);
        let newer = |manifest: &mut Manifest| {
            let _ = manifest.contracts.insert("link".to_owned(), future);
        };
        assert_eq!(with(&newer), ["contract_range_mismatch"]);
    }
}
