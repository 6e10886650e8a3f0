//! Slots on disk: filled from the built tree where nothing alive runs from them, checked, read.

use crate::io::home::{on_file, write_file};
use crate::io::preflight::abilities;
use crate::release::{MANIFEST, check_path, no_common_contract};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::release::{Abilities, Manifest};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::hex;
use holdfast_shared::version;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The runtime's binary below a slot.
pub use crate::release::RUNTIME;
/// The runtime's binary beside ours, which slots are filled from.
pub const BUILT_RUNTIME: &str = "holdfast-runtime";
/// The sidecar's binary beside ours.
pub const SIDECAR: &str = "holdfast-sidecar";

/// The program with this name beside the running `holdfast`.
///
/// # Errors
/// `REFUSED` when it is not there.
pub fn beside_us(name: &str) -> Result<PathBuf, ApiError> {
    let own = own_path().map_err(|error| on_file("look for", Path::new("/proc/self/exe"), &error))?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let message = format!("{} is missing: build the whole tree (deploy/up does)", path.display());
    Err(ApiError::new(Code::Refused, message))
}

/// Path of the running program, also when a newer one has replaced its file since.
fn own_path() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map(PathBuf::from).unwrap_or(path))
}

/// The program to start another of our own processes with: this very binary, also when its file was replaced.
pub fn own_program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

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
pub fn has_signed_release(home: &Home, slot: Slot) -> bool {
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

/// Target triple of this machine, as far as it matters to a program.
pub fn target() -> String {
    format!("{}-unknown-{}-gnu", std::env::consts::ARCH, std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that prints this when it is asked for its abilities.
    fn built(directory: &Path, prints: &str) -> Built {
        let path = directory.join("built");
        std::fs::write(&path, format!("#!/bin/sh\n[ \"$1\" = --abilities ] && echo '{prints}'\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Built { digest: digest(&path).unwrap(), path }
    }

    const ABLE: &str = r#"{"version": "7.0.0", "contracts": {"link": {"min": 1, "max": 2}}, "reads": ["a", "b"],
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
