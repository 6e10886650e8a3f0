//! Root files below `<home>/root/`: put there, put back, found. What is in use is decided in `promotion`.
//!
//! Each promotion has a directory of its own, whole and durable before `in-use.json` names it; that one file is what
//! changes. Nothing here touches the files that the keeper was started from: they are a package's or a build tree's.

use crate::io::home::{on_file, write_file};
use crate::io::reap::Awaited;
use crate::io::slots::{self, SIDECAR, digest};
use crate::promotion::{Choice, InUse, Root, choose};
use crate::release::check_path;
use holdfast_shared::durable_file::sync_directory;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::read_holder;
use holdfast_shared::release::Manifest;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The operator's program, which is supervisor, keeper and holder too.
pub const OPERATOR: &str = "holdfast";
/// What a root consists of.
const FILES: [&str; 2] = [OPERATOR, SIDECAR];
/// What is in use.
const IN_USE: &str = "in-use.json";

/// What came of placing.
#[derive(Debug)]
pub enum Placed {
    /// They are in use from now on: the program that is to be the supervisor.
    InUse(PathBuf),
    /// They were in use for this attempt before, and were put back.
    Restored,
}

/// What is to be placed.
#[derive(Debug)]
pub struct Order {
    /// The release in its slot.
    pub manifest: Manifest,
    /// The attempt's name.
    pub attempt: String,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// What is in use.
///
/// # Errors
/// `HOME_DAMAGED` when it is there and not readable.
pub fn read(home: &Home) -> Result<InUse, ApiError> {
    let path = home.root().join(IN_USE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(InUse::default()),
        Err(error) => return Err(on_file("read", &path, &error)),
    };
    serde_json::from_slice(&text)
        .map_err(|error| ApiError::new(Code::HomeDamaged, format!("{}: {error}", path.display())))
}

/// Durable when it returns.
///
/// # Errors
/// What the file system says.
pub fn write(home: &Home, in_use: &InUse) -> Result<(), ApiError> {
    let text = serde_json::to_vec_pretty(in_use).unwrap_or_default();
    write_file(&home.root().join(IN_USE), &text)
}

/// A program of these root files.
pub fn program(home: &Home, root: &Root, name: &str) -> PathBuf {
    home.root().join(&root.directory).join(name)
}

/// Whether a program runs from these root files: its path as `/proc` tells it.
pub fn is_from(home: &Home, root: &Root, path: &Path) -> bool {
    // What is removed under who runs it has this behind its name.
    let text = path.to_string_lossy();
    let path = Path::new(text.strip_suffix(" (deleted)").unwrap_or(&text));
    let directory = home.root().canonicalize().map(|below| below.join(&root.directory));
    directory.is_ok_and(|directory| path.parent() == Some(&directory))
}

/// Whether this very process runs from them.
pub fn is_ours(home: &Home, root: &Root) -> bool {
    std::env::current_exe().is_ok_and(|path| is_from(home, root, &path))
}

/// Whether this process runs what was in use before the files on trial: our own program, or the root files before them.
/// What is on trial may have become anything.
pub fn runs_from_earlier(home: &Home, in_use: &InUse, pid: i32) -> bool {
    let program = |process: &str| std::fs::metadata(format!("/proc/{process}/exe")).ok();
    let same = |one: std::fs::Metadata, other: std::fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    let is_base = program(&pid.to_string()).zip(program("self")).is_some_and(|(one, other)| same(one, other));
    let path = std::fs::read_link(format!("/proc/{pid}/exe"));
    is_base || in_use.previous.as_ref().zip(path.ok()).is_some_and(|(root, path)| is_from(home, root, &path))
}

/// The program that the keeper is to start, where it is not its own; changes what is in use where that is due.
/// `base` gives the digest of the keeper's own program; see [`choose`] for the rest.
pub fn to_start(
    home: &Home,
    base: impl FnOnce() -> io::Result<String>,
    now_ms: i64,
    waited_ms: i64,
) -> Option<PathBuf> {
    let mut in_use = read(home).unwrap_or_else(|error| {
        tracing::error!(%error, "root files are not used");
        InUse::default()
    });
    in_use.current.as_ref()?;
    let base = base().inspect_err(|error| tracing::error!(%error, "read our own program")).ok()?;
    loop {
        let root = in_use.current.clone()?;
        let program = program(home, &root, OPERATOR);
        let choice = choose(&in_use, &base, program.is_file(), now_ms, waited_ms);
        let (attempt, release) = (&root.attempt, &root.release);
        let next = match choice {
            Choice::Base => return None,
            Choice::Current => return Some(program),
            Choice::Try => in_use.tried(),
            Choice::Restore => {
                tracing::warn!(attempt, release, "promoted root files were not confirmed; they are put back");
                in_use.restored()
            }
            Choice::Void => {
                tracing::warn!(
                    attempt,
                    release,
                    "holdfast itself is another one than when these root files were promoted; they are void"
                );
                InUse::default()
            }
        };
        if let Err(error) = write(home, &next) {
            tracing::error!(%error, "say which root files are in use");
        }
        if choice == Choice::Try {
            tracing::info!(attempt, release, start = next.starts, "root files on trial");
            return Some(program);
        }
        in_use = next;
    }
}

/// Puts a release's root files in place, on trial, keeping those before. Files that the release does not have are
/// those in use now. Blocks, for as long as the disk takes. Done again for the same attempt, it changes nothing more.
///
/// # Errors
/// In words: a file that is not the one that was verified, a program that this machine does not execute, a disk that
/// refuses. What is in use is as it was then.
pub fn place(home: &Home, order: &Order) -> Result<Placed, ApiError> {
    let before = read(home)?;
    if before.was_restored(&order.attempt) {
        return Ok(Placed::Restored);
    }
    if let Some(root) = before.current.as_ref().filter(|root| root.attempt == order.attempt) {
        return Ok(Placed::InUse(program(home, root, OPERATOR)));
    }
    let root = Root {
        directory: order.attempt.clone(),
        release: order.manifest.version.clone(),
        attempt: order.attempt.clone(),
        base: base_digest(home)
            .map_err(|error| on_file("read", Path::new("the keeper's program"), &error))?,
        digests: BTreeMap::new(),
        renews_sidecar: true,
    };
    let root = fill(home, order, root)?;
    let executed = program(home, &root, OPERATOR);
    check_executes(&executed).map_err(|error| on_file("execute", &executed, &error))?;
    write(home, &before.placed(root, order.now_ms))?;
    Ok(Placed::InUse(executed))
}

/// Puts back what was in use before this attempt's files, if they are; whether they were.
///
/// # Errors
/// What the file system says.
pub fn restore(home: &Home, attempt: &str) -> Result<bool, ApiError> {
    let in_use = read(home)?;
    if !in_use.is_of(attempt) {
        return Ok(false);
    }
    write(home, &in_use.restored())?;
    Ok(true)
}

/// Removes what nothing names any more. Whoever runs from it goes on.
///
/// # Errors
/// What the file system says.
pub fn tidy(home: &Home) -> Result<(), ApiError> {
    let in_use = read(home)?;
    let below = home.root();
    let entries = std::fs::read_dir(&below).map_err(|error| on_file("read", &below, &error))?;
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !in_use.directories().any(|named| named == name) {
            std::fs::remove_dir_all(&path).map_err(|error| on_file("remove", &path, &error))?;
        }
    }
    Ok(())
}

/// The program of the living process of a role, as `/proc` names it.
///
/// # Errors
/// When nobody lives in the role, or it cannot be told.
pub fn running(home: &Home, role: Role) -> io::Result<PathBuf> {
    let living = read_holder(home, role)?.ok_or(io::ErrorKind::NotFound)?;
    Ok(PathBuf::from(format!("/proc/{}/exe", living.pid)))
}

/// Digest of the program that the keeper runs from; without a keeper, of our own.
fn base_digest(home: &Home) -> io::Result<String> {
    digest(&running(home, Role::Keeper).unwrap_or_else(|_| PathBuf::from("/proc/self/exe")))
}

fn fill(home: &Home, order: &Order, mut root: Root) -> Result<Root, ApiError> {
    let directory = home.root().join(&root.directory);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(on_file("remove", &directory, &error));
        }
        _ => {}
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.map_err(|error| on_file("create", &directory, &error))?;
    for name in FILES {
        let (from, expected) = source(home, &order.manifest, name)?;
        let to = directory.join(name);
        copy(&from, &to).map_err(|error| on_file("write", &to, &error))?;
        let found = digest(&to).map_err(|error| on_file("read", &to, &error))?;
        if expected.is_some_and(|expected| expected != found) {
            let message = format!("{} is not the file that was verified", from.display());
            return Err(ApiError::new(Code::Refused, message));
        }
        root.digests.insert(name.to_owned(), found);
    }
    let synced = [&directory, &home.root(), home.path()].into_iter().try_for_each(sync_directory);
    synced.map_err(|error| on_file("sync", &directory, &error))?;
    let serves = running(home, Role::Sidecar).and_then(|path| digest(&path)).ok();
    root.renews_sidecar = serves.as_ref() != root.digests.get(SIDECAR);
    Ok(root)
}

/// Where a file comes from, and its digest where the release has it.
fn source(home: &Home, manifest: &Manifest, name: &str) -> Result<(PathBuf, Option<String>), ApiError> {
    let is_it = |path: &&String| path.rsplit('/').next() == Some(name) && check_path(path.as_bytes()).is_ok();
    Ok(match manifest.root.iter().find(is_it) {
        Some(path) => (home.slot(manifest.slot).join(path), manifest.digests.get(path).cloned()),
        None => (slots::beside_us(name)?, None),
    })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(from)?;
    let mut out: File = OpenOptions::new().write(true).create_new(true).mode(0o700).open(to)?;
    io::copy(&mut source, &mut out)?;
    out.sync_all()
}

/// Whether the kernel executes it at all; what it then does is its trial's. It is ended at once.
fn check_executes(program: &Path) -> io::Result<()> {
    /// A process that is forked meanwhile has our descriptor of the file until its own exec: the file is busy.
    const BUSY_AT_MOST: usize = 200;
    const AGAIN: Duration = Duration::from_millis(5);
    let mut command = Command::new(program);
    command.arg("--version").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..BUSY_AT_MOST {
        match Awaited::spawn(&mut command) {
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => std::thread::sleep(AGAIN),
            spawned => return spawned.map(drop),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ETXTBSY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promotion::TRIAL_MS;
    use holdfast_shared::slot::Slot;
    use std::os::unix::fs::PermissionsExt;

    /// A home whose slot b has a release with these root files.
    fn home_with(operator: &str, sidecar: &str) -> (tempfile::TempDir, Home, Manifest) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("home"));
        let bin = home.slot(Slot::B).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(home.run()).unwrap();
        let mut manifest = Manifest {
            version: "2.0.0".into(),
            target: slots::target(),
            slot: Slot::B,
            contracts: Default::default(),
            reads: Vec::new(),
            writes: Vec::new(),
            must_understand: Vec::new(),
            digests: BTreeMap::new(),
            root: Vec::new(),
            signed_by: None,
        };
        for (name, text) in [(OPERATOR, operator), (SIDECAR, sidecar)] {
            let path = bin.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
            manifest.digests.insert(format!("bin/{name}"), digest(&path).unwrap());
            manifest.root.push(format!("bin/{name}"));
        }
        (directory, home, manifest)
    }

    fn order(manifest: &Manifest, attempt: &str) -> Order {
        Order { manifest: manifest.clone(), attempt: attempt.into(), now_ms: 1_000 }
    }

    fn base() -> io::Result<String> {
        digest(Path::new("/proc/self/exe"))
    }

    #[test]
    fn what_is_placed_is_tried_three_times_and_then_put_back() {
        let (_directory, home, manifest) = home_with("#!/bin/sh\nexit 1\n", "s");
        assert_eq!(to_start(&home, base, 1_000, 0), None);
        let Placed::InUse(program) = place(&home, &order(&manifest, "at-7")).unwrap() else {
            panic!("restored")
        };
        assert_eq!(std::fs::read_to_string(&program).unwrap(), "#!/bin/sh\nexit 1\n");
        assert!(matches!(place(&home, &order(&manifest, "at-7")).unwrap(), Placed::InUse(_)));
        // The first start is the supervisor's own.
        assert_eq!(to_start(&home, base, 1_000, 0), Some(program.clone()));
        assert_eq!(to_start(&home, base, 1_000, 0), Some(program.clone()));
        assert_eq!(to_start(&home, base, 1_000, 0), None);
        assert!(read(&home).unwrap().was_restored("at-7"));
        assert!(matches!(place(&home, &order(&manifest, "at-7")).unwrap(), Placed::Restored));
        tidy(&home).unwrap();
        assert!(!program.exists());
    }

    #[test]
    fn what_is_confirmed_stays_until_the_keeper_is_another_one() {
        let (_directory, home, manifest) = home_with("#!/bin/sh\n", "s");
        let Placed::InUse(program) = place(&home, &order(&manifest, "at-7")).unwrap() else {
            panic!("restored")
        };
        write(&home, &read(&home).unwrap().confirmed()).unwrap();
        tidy(&home).unwrap();
        for _ in 0..9 {
            assert_eq!(to_start(&home, base, 1_000 + TRIAL_MS, 0), Some(program.clone()));
        }
        assert_eq!(to_start(&home, || Ok("newer".to_owned()), 1_000, 0), None);
        assert_eq!(read(&home).unwrap(), InUse::default());
    }

    #[test]
    fn a_second_one_that_is_not_confirmed_brings_back_the_first() {
        let (_directory, home, manifest) = home_with("#!/bin/sh\n", "s");
        let Placed::InUse(first) = place(&home, &order(&manifest, "at-1")).unwrap() else {
            panic!("restored")
        };
        write(&home, &read(&home).unwrap().confirmed()).unwrap();
        place(&home, &order(&manifest, "at-2")).unwrap();
        assert_eq!(to_start(&home, base, 1_000 + TRIAL_MS, 0), Some(first));
        assert!(restore(&home, "at-1").unwrap());
        assert!(!restore(&home, "at-1").unwrap());
        assert_eq!(to_start(&home, base, 1_000, 0), None);
    }

    #[test]
    fn what_was_not_verified_or_does_not_execute_is_not_placed() {
        let (_directory, home, mut manifest) = home_with("no program", "s");
        let refused = place(&home, &order(&manifest, "at-1")).unwrap_err();
        assert!(refused.message.contains("execute"), "{}", refused.message);
        manifest.digests.insert("bin/holdfast".into(), "0".repeat(64));
        let refused = place(&home, &order(&manifest, "at-1")).unwrap_err();
        assert!(refused.message.contains("verified"), "{}", refused.message);
        assert_eq!(read(&home).unwrap(), InUse::default());
    }

    #[test]
    fn damage_is_the_base() {
        let (_directory, home, _) = home_with("#!/bin/sh\n", "s");
        std::fs::create_dir_all(home.root()).unwrap();
        std::fs::write(home.root().join(IN_USE), "{").unwrap();
        assert_eq!(to_start(&home, base, 1_000, 0), None);
        assert_eq!(read(&home).unwrap_err().code, Code::HomeDamaged);
    }
}
