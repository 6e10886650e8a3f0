//! Slots on disk: filled from the built tree where nothing alive runs from them, checked, read.

use crate::io::home::{on_file, write_file};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::release::{Abilities, Manifest};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::hex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The runtime's binary below a slot.
pub const RUNTIME: &str = "bin/holdfast-runtime";
/// The runtime's binary beside ours, which slots are filled from.
pub const BUILT_RUNTIME: &str = "holdfast-runtime";
/// The sidecar's binary beside ours.
pub const SIDECAR: &str = "holdfast-sidecar";

/// A program that says what it reads and writes does nothing else first.
const ABILITIES: Duration = Duration::from_secs(10);

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
    const PIECE_BYTES: usize = 256 * 1024;
    let mut file = File::open(path)?;
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

/// What is wrong with a slot, as issue codes; empty: nothing.
pub fn issues(home: &Home, slot: Slot) -> Vec<&'static str> {
    let Ok(Some(manifest)) = manifest(home, slot) else { return vec!["missing_manifest"] };
    let mut issues = Vec::new();
    if manifest.slot != slot {
        issues.push("manifest_slot_mismatch");
    }
    if manifest.target != target() {
        issues.push("wrong_target");
    }
    let binary = home.slot(slot).join(RUNTIME);
    match std::fs::symlink_metadata(&binary) {
        Err(_) => issues.push("missing_binary"),
        Ok(metadata) if metadata.is_symlink() => issues.push("symlink_refused"),
        Ok(_) if digest(&binary).ok().as_ref() != manifest.digests.get(RUNTIME) => {
            issues.push("digest_mismatch")
        }
        Ok(_) => {}
    }
    issues
}

/// What was found in the slots, kept for as long as their files are the same: a digest takes as long as a start.
#[derive(Debug, Default)]
pub struct Checks {
    known: [Option<(Stamps, Vec<&'static str>)>; 2],
}

/// Which files were looked at, and in which state; `None` for one that is not there.
type Stamps = [Option<[i64; 7]>; 2];

impl Checks {
    /// As [`issues`].
    pub fn issues(&mut self, home: &Home, slot: Slot) -> &[&'static str] {
        let files = [home.slot(slot).join("manifest.json"), home.slot(slot).join(RUNTIME)];
        let stamps = files.map(|path| stamp(&path));
        let known = &mut self.known[slot as usize];
        if known.as_ref().is_none_or(|(before, _)| *before != stamps) {
            *known = Some((stamps, issues(home, slot)));
        }
        known.as_ref().map_or(&[], |(_, issues)| issues)
    }
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
        let said = abilities_of(&self.path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        said.map_err(|error| {
            let message = format!("{} --abilities: {error}", self.path.display());
            ApiError::new(Code::Refused, message)
        })
    }

    /// Puts it into the slot, unless it is there already. Nothing alive may run from the slot. The manifest goes
    /// first and comes last, so a slot that was left half filled is an empty one.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn fill(&self, home: &Home, slot: Slot) -> Result<(), ApiError> {
        let declares = |manifest: Manifest| !manifest.reads.is_empty();
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
        };
        write_file(&manifest_path, &serde_json::to_vec_pretty(&manifest).unwrap_or_default())
    }
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

fn target() -> String {
    format!("{}-unknown-{}-gnu", std::env::consts::ARCH, std::env::consts::OS)
}

/// Runs a program's `--abilities` and reads what it prints; one that is late is killed.
fn abilities_of(program: &Path) -> io::Result<Vec<u8>> {
    const AT_MOST_BYTES: u64 = 1024 * 1024;
    const LOOK: Duration = Duration::from_millis(1);
    let mut command = Command::new(program);
    command.arg("--abilities").env_clear().stdin(Stdio::null()).stderr(Stdio::null());
    // A file, not a pipe: nothing that the program writes can make either side wait.
    let mut printed = nameless_file()?;
    let mut child = command.stdout(printed.try_clone()?).spawn()?;
    let deadline = Instant::now() + ABILITIES;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(LOOK),
            None => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
        }
    };
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    let mut text = Vec::new();
    printed.seek(io::SeekFrom::Start(0))?;
    printed.take(AT_MOST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn nameless_file() -> io::Result<File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    Ok(File::from(memfd_create(c"holdfast-abilities", MFdFlags::MFD_CLOEXEC)?))
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
        let mut checks = Checks::default();
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
