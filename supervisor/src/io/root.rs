//! Root files below `<home>/root/`: put there, put back, found. What is in use is decided in `promotion`.
//!
//! Each promotion has a directory of its own, whole and durable before `in-use.json` names it; that one file is what
//! changes. Nothing here touches the files that the keeper was started from: they are a package's or a build tree's.

mod place;
pub mod succession;

pub use place::{Order, Placed, place};

use crate::io::home::{on_file, write_file};
use crate::promotion::{Choice, InUse, Root, choose};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::read_holder;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The operator's program, which is supervisor, keeper and holder too.
pub const OPERATOR: &str = "holdfast";
/// One at a time places or tidies: what is placed has no name in `in-use.json` until it is whole.
static CHANGES: Mutex<()> = Mutex::new(());
/// What is in use.
const IN_USE: &str = "in-use.json";

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

/// Whether this process runs what was in use before the files on trial: the installed program, which is at `base`, or the
/// root files before them. What is on trial may have become anything.
pub fn runs_from_earlier(home: &Home, in_use: &InUse, base: &Path, pid: i32) -> bool {
    let Ok(path) = std::fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    let text = path.to_string_lossy();
    Path::new(text.strip_suffix(" (deleted)").unwrap_or(&text)) == base
        || in_use.previous.as_ref().is_some_and(|root| is_from(home, root, &path))
}

/// The program that the keeper is to start, where it is not its own; changes what is in use where that is due.
/// `base` gives the digest of the keeper that the node was installed with; see [`choose`] for the rest.
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
    let base = base().inspect_err(|error| tracing::error!(%error, "read the installed program")).ok()?;
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

/// Leaves root files whose program the kernel does not execute (any more: a disk, a library or a mount has changed) for
/// what was in use before them, confirmed or not; whether it did. What is short for a moment (memory, processes,
/// descriptors) is no reason.
pub fn leave(home: &Home, unusable: &Path) -> bool {
    let in_use = read(home).unwrap_or_default();
    let Some(root) = in_use.current.clone().filter(|root| program(home, root, OPERATOR) == unusable) else {
        return false;
    };
    let Err(error) = place::check_executes(unusable) else { return false };
    if !is_for_good(&error) {
        return false;
    }
    let (attempt, release) = (&root.attempt, &root.release);
    tracing::error!(%error, attempt, release, "promoted root files cannot be executed; the previous ones are used");
    write(home, &in_use.restored()).inspect_err(|error| tracing::error!(%error, "leave root files")).is_ok()
}

fn is_for_good(error: &io::Error) -> bool {
    let lasting = [
        libc::ENOEXEC,
        libc::ENOENT,
        libc::EACCES,
        libc::EPERM,
        libc::ENOTDIR,
        libc::ELOOP,
        libc::EINVAL,
        libc::ELIBBAD,
    ];
    error.raw_os_error().is_some_and(|code| lasting.contains(&code))
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
    let _alone = changes();
    tidy_alone(home)
}

fn changes() -> MutexGuard<'static, ()> {
    CHANGES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tidy_alone(home: &Home) -> Result<(), ApiError> {
    let in_use = read(home)?;
    let below = home.root();
    let entries = match std::fs::read_dir(&below) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| on_file("read", &below, &error))?,
    };
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

#[cfg(test)]
mod tests;
