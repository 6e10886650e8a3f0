//! Where views lie, and where those go that are not used: `views/<slot>` and `views/<slot>.bad-<n>`.

use holdfast_shared::home::Home;
use holdfast_shared::slot::Slot;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Views set aside that are kept of one slot, for whoever wants to know why; older ones are removed.
pub const SET_ASIDE_KEPT: usize = 2;

/// Moves whatever lies at the view's place aside. Nothing there is fine.
///
/// # Errors
/// The system's own.
pub fn set_aside(home: &Home, slot: Slot) -> io::Result<()> {
    let path = home.view(slot);
    if !exists(&path)? {
        return Ok(());
    }
    let before = aside(home, slot)?;
    let number = before.last().map_or(1, |(number, _)| number + 1);
    fs::rename(&path, name(&path, number))?;
    let superfluous = (before.len() + 1).saturating_sub(SET_ASIDE_KEPT);
    before.iter().take(superfluous).try_for_each(|(_, path)| remove(path))
}

/// The file that is there while the view is being opened: damage may end a process in ways that cannot be caught.
pub fn opening(home: &Home, slot: Slot) -> PathBuf {
    home.view(slot).with_file_name(format!("{slot}.opening"))
}

/// Whether something lies there, also a link to nowhere.
pub fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What was set aside of a slot, oldest first.
pub fn aside(home: &Home, slot: Slot) -> io::Result<Vec<(u64, PathBuf)>> {
    let path = home.view(slot);
    let mut found = Vec::new();
    for entry in fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| {
            let number = name.strip_prefix(slot.name())?.strip_prefix(".bad-")?;
            number.parse().ok()
        });
        found.extend(number.map(|number: u64| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}

fn name(path: &Path, number: u64) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".bad-{number}"));
    path.with_file_name(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}
