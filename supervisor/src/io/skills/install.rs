//! Installing and removing skills: one at a time, each wholly or not at all.

use super::{copy::copy, lease, read_index, read_manifest, tasks_with, validate};
use crate::io::home::{on_file, write_file};
use crate::io::task_user;
use crate::skill::{MANIFEST, check_name, digest};
use holdfast_shared::durable_file::sync_directory;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::skill::Index;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};
use serde_json::{Value, json};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The name of what is copied and not yet in its place; no skill has it.
const NEW: &str = ".new";
/// Held while skills are changed.
const LOCK: &str = ".lock";

/// Installs the skill in this directory, or puts another one in the place of the one with its name. Takes as long as the
/// disk: not for the loop.
///
/// # Errors
/// `INVALID_REQUEST` with all that is wrong with it; `BUSY` while a worker of the skill lives or another change is under
/// way; `STORAGE_FULL`.
pub fn install(home: &Home, directory: &Path) -> Result<Value, ApiError> {
    if !directory.is_absolute() {
        return Err(ApiError::new(Code::InvalidRequest, "directory: is no absolute path"));
    }
    let (manifest, text) = validate(directory)?;
    if let Some(user) = &manifest.user {
        task_user::find(user)?;
    }
    let _lock = lock(home)?;
    refuse_while_it_runs(home, &manifest.name)?;
    let (new, place) = (home.skills().join(NEW), home.skills().join(&manifest.name));
    copy(directory, &new).map_err(|error| {
        remove_aside(&new);
        not_copied(&new, &error)
    })?;
    // What was judged is what is installed, also when the directory changes meanwhile.
    let copied = read_manifest(&new.join(MANIFEST)).map_err(|error| on_file("read", &new, &error))?;
    if copied != text {
        return Err(ApiError::new(
            Code::Busy,
            format!("{} changes while it is installed", directory.display()),
        ));
    }
    sync_all(&new).map_err(|error| on_file("sync", &new, &error))?;
    let mut index = read_index(home)?;
    let installed = manifest.installed(digest(text.as_bytes()));
    let replaced = index.skills.insert(manifest.name.clone(), installed);
    // The copy may have taken minutes; from here on until the files and the list are new no worker is started.
    let free = lease::exclude(home);
    let free = free.and_then(|lease| refuse_while_it_runs(home, &manifest.name).map(|()| lease));
    let lease = free.inspect_err(|_| remove_aside(&new))?;
    put(&new, &place).map_err(|error| on_file("put in place", &place, &error))?;
    write_index(home, &index)?;
    drop(lease);
    remove_aside(&new);
    tracing::info!(skill = manifest.name, version = manifest.version, "installed");
    Ok(json!({
        "name": manifest.name, "version": manifest.version, "protocol": manifest.protocol,
        "replaced": replaced.map(|replaced| replaced.version),
    }))
}

/// Removes an installed skill with its files. Not for the loop.
///
/// # Errors
/// `INVALID_REQUEST` where there is none of this name; `BUSY` while a worker of it lives.
pub fn remove(home: &Home, name: &str) -> Result<Value, ApiError> {
    check_name(name).map_err(|why| ApiError::new(Code::InvalidRequest, why))?;
    let _lock = lock(home)?;
    let mut index = read_index(home)?;
    let Some(removed) = index.skills.remove(name) else {
        return Err(ApiError::new(Code::InvalidRequest, format!("skill {name:?} is not installed")));
    };
    let lease = lease::exclude(home)?;
    refuse_while_it_runs(home, name)?;
    // What is not in the list is not run, whatever lies there.
    write_index(home, &index)?;
    drop(lease);
    let (place, aside) = (home.skills().join(name), home.skills().join(NEW));
    match std::fs::rename(&place, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(on_file("remove", &place, &error));
        }
        _ => remove_aside(&aside),
    }
    tracing::info!(skill = name, version = removed.version, "removed");
    Ok(json!({"name": name, "version": removed.version, "removed": true}))
}

/// Takes the lock, and clears what an interrupted change has left.
fn lock(home: &Home) -> Result<Flock<File>, ApiError> {
    let directory = home.skills();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|error| on_file("create", &directory, &error))?;
    let path = directory.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| on_file("open", &path, &error))?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| ApiError::new(Code::Busy, "another skill is being installed or removed"))?;
    remove_aside(&directory.join(NEW));
    Ok(lock)
}

/// Whether a skill is being changed now.
pub(super) fn is_changing(home: &Home) -> bool {
    let Ok(file) = File::open(home.skills().join(LOCK)) else { return false };
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, nix::Error::EWOULDBLOCK)))
}

/// An agent loads parts of itself when it needs them: they must not be another version's, or gone.
fn refuse_while_it_runs(home: &Home, name: &str) -> Result<(), ApiError> {
    let tasks = tasks_with(home, name).map_err(|error| on_file("read", &home.workers(), &error))?;
    if tasks.is_empty() {
        return Ok(());
    }
    let message = format!(
        "skill {name:?} has running workers in: {}; `holdfast task stop` ends a task's, it is resumed when it is opened",
        tasks.join(", ")
    );
    Err(ApiError::new(Code::Busy, message).with_details(json!({"tasks": tasks})))
}

/// Puts the new directory in its place; an old one is at `new` then.
fn put(new: &Path, place: &Path) -> io::Result<()> {
    let exchanged = renameat2(AT_FDCWD, new, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE);
    match exchanged {
        Ok(()) => {}
        Err(nix::Error::ENOENT) => std::fs::rename(new, place)?,
        // A file system that cannot exchange: what is interrupted here is said as missing, and installed again.
        Err(nix::Error::EINVAL | nix::Error::ENOSYS) => {
            if place.exists() {
                std::fs::remove_dir_all(place)?;
            }
            std::fs::rename(new, place)?;
        }
        Err(error) => return Err(error.into()),
    }
    sync_directory(place.parent().unwrap_or(place))
}

/// Makes a whole tree durable: one call for its file system instead of one for each file.
fn sync_all(directory: &Path) -> io::Result<()> {
    let directory = File::open(directory)?;
    Ok(nix::unistd::syncfs(&directory)?)
}

fn write_index(home: &Home, index: &Index) -> Result<(), ApiError> {
    let text = serde_json::to_vec_pretty(index).unwrap_or_default();
    write_file(&home.skill_index(), &text)
}

fn remove_aside(path: &Path) {
    if path.symlink_metadata().is_err() {
        return;
    }
    // Directories that their maker may not write cannot be emptied otherwise.
    let _ = std::fs::set_permissions(path, PermissionsExt::from_mode(0o700));
    if let Err(error) = std::fs::remove_dir_all(path) {
        tracing::warn!(%error, path = %path.display(), "left behind");
    }
}

fn not_copied(new: &Path, error: &io::Error) -> ApiError {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            ApiError::new(Code::InvalidRequest, error.to_string())
        }
        _ => on_file("copy to", new, error),
    }
}
