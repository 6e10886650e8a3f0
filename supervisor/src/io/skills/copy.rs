//! A skill's directory copied into the home: files, directories, and links that stay inside.

use holdfast_shared::free_space::{MIN_FREE_BYTES, free_bytes, is_enough};
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// Bytes of a skill at most: the largest agents are some hundred megabytes.
const BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Files, directories and links of a skill at most.
const ENTRIES_MAX: usize = 200_000;
/// Directories below each other at most.
const DEPTH_MAX: usize = 64;

/// How much was copied so far.
#[derive(Default)]
struct Copied {
    bytes: u64,
    entries: usize,
}

/// Copies what is below `from` into the new directory `to`. Other users may read it and nobody but the owner may write
/// it: its workers may be another user's.
///
/// # Errors
/// What cannot be copied, by name; what was copied before it stays.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    make_directory(to)?;
    let mut copied = Copied::default();
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        for entry in std::fs::read_dir(from.join(&below)).map_err(named(&from.join(&below)))? {
            let below = below.join(entry?.file_name());
            let path = from.join(&below);
            if copy_one(&path, &below, &to.join(&below), &mut copied).map_err(named(&path))? {
                left.push(below);
            }
        }
    }
    Ok(())
}

/// Copies one entry; whether it is a directory.
fn copy_one(path: &Path, below: &Path, to: &Path, copied: &mut Copied) -> io::Result<bool> {
    let metadata = path.symlink_metadata()?;
    copied.entries += 1;
    if copied.entries > ENTRIES_MAX || below.components().count() > DEPTH_MAX {
        return Err(refused(format!("more than {ENTRIES_MAX} entries, or {DEPTH_MAX} directories deep")));
    }
    if metadata.is_dir() {
        make_directory(to)?;
        return Ok(true);
    }
    if metadata.is_symlink() {
        let target = std::fs::read_link(path)?;
        if !stays_inside(below, &target) {
            return Err(refused(format!("a link out of the skill, to {}", target.display())));
        }
        symlink(target, to)?;
        return Ok(false);
    }
    if !metadata.is_file() {
        return Err(refused("neither a file, nor a directory, nor a link".to_owned()));
    }
    leaves_room(to, metadata.len())?;
    let mode = if metadata.mode() & 0o111 == 0 { 0o644 } else { 0o755 };
    // What is no file any more is not waited for, nor followed.
    let mut options = OpenOptions::new();
    let source = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let mut source = source.take(BYTES_MAX.saturating_sub(copied.bytes).saturating_add(1));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    copied.bytes = copied.bytes.saturating_add(io::copy(&mut source, &mut file)?);
    if copied.bytes > BYTES_MAX {
        return Err(refused(format!("the skill has more than {BYTES_MAX} bytes")));
    }
    Ok(false)
}

/// Running agents do not survive a full disk: one is refused before it is.
fn leaves_room(to: &Path, bytes: u64) -> io::Result<()> {
    let directory = to.parent().unwrap_or(to);
    let free = free_bytes(directory).map_err(named(directory))?;
    match is_enough(free.saturating_sub(bytes), MIN_FREE_BYTES) {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
    }
}

/// Whatever this process's umask says.
fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Whether a link at `below` leads to something below the same root.
fn stays_inside(below: &Path, target: &Path) -> bool {
    let mut depth = below.components().count().saturating_sub(1);
    for step in target.components() {
        match step {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

fn refused(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| match error.raw_os_error() {
        // The number says what to do; it would be lost in a text.
        Some(libc::ENOSPC | libc::EDQUOT) => error,
        _ => io::Error::new(error.kind(), format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_in_words_only() {
        for (below, target, inside) in [
            ("a", "b", true),
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("a/b", "c/../../d", true),
            ("a", "/etc", false),
            ("a", "..", false),
            ("a", "./b/../../c", false),
        ] {
            assert_eq!(stays_inside(Path::new(below), Path::new(target)), inside, "{below} -> {target}");
        }
    }
}
