//! The directory a bundle is unpacked into, beside the slots, and the step that puts it into a slot's place.

use crate::release::{BundleError, MANIFEST, PathFault, check_path};
use holdfast_shared::durable_file;
use holdfast_shared::home::Home;
use holdfast_shared::release::Manifest;
use holdfast_shared::slot::Slot;
use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat2};
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Begins the name of a directory that is being filled.
const STAGING: &str = ".staging-";
/// Begins the name of a slot's directory that was set aside, where two names cannot be exchanged.
const OLD: &str = ".old-";

/// The directory. Dropped, it goes, with whatever is in it then: half a release, or the slot's old one.
#[derive(Debug)]
pub struct Staging {
    slots: PathBuf,
    path: PathBuf,
    directories: BTreeSet<PathBuf>,
}

impl Staging {
    /// Removes what killed predecessors left and makes a new directory. Only the holder of the lease does this.
    /// `unique` keeps it apart from the same attempt's directory of before, which may still be about to be dropped.
    pub fn begin(home: &Home, attempt: &str, unique: &str) -> Result<Self, BundleError> {
        let slots = home.slots();
        let name = format!("{STAGING}{attempt}.{unique}");
        if attempt.contains('/') || check_path(name.as_bytes()).is_err() {
            return Err(BundleError::PathRefused { path: name, fault: PathFault::Character });
        }
        clean(&slots).map_err(BundleError::writing("clean", &slots))?;
        let path = slots.join(name);
        make_directory(&path)?;
        Ok(Self { slots, directories: BTreeSet::from([path.clone()]), path })
    }

    /// Refuses when less than this is free.
    pub fn demand_space(&self, needed: u64) -> Result<(), BundleError> {
        let stat = nix::sys::statvfs::statvfs(&self.path).map_err(io::Error::from);
        let stat = stat.map_err(BundleError::writing("look at the space of", &self.slots))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free >= needed {
            return Ok(());
        }
        Err(BundleError::StorageFull { path: self.slots.display().to_string(), needed, free })
    }

    /// A new file below it, at a path that was checked.
    pub fn create(&mut self, below: &str) -> Result<(File, PathBuf), BundleError> {
        let path = self.path.join(below);
        for directory in Path::new(below).ancestors().skip(1).collect::<Vec<&Path>>().into_iter().rev() {
            let directory = self.path.join(directory);
            if self.directories.insert(directory.clone()) {
                make_directory(&directory)?;
            }
        }
        let mode = if below.starts_with("bin/") { 0o700 } else { 0o600 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        Ok((file.map_err(BundleError::writing("create", &path))?, path))
    }

    /// Writes the slot's manifest, last of all files, and makes every name durable.
    pub fn finish(&mut self, manifest: &Manifest) -> Result<(), BundleError> {
        let (mut file, path) = self.create(MANIFEST)?;
        let text = serde_json::to_vec_pretty(manifest).unwrap_or_default();
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        written.map_err(BundleError::writing("write", &path))?;
        self.directories.iter().try_for_each(|directory| {
            durable_file::sync_directory(directory).map_err(BundleError::writing("sync", directory))
        })
    }

    /// Puts it into the slot's place; what was there is in this directory's place afterwards.
    pub fn place(&self, slot: Slot) -> Result<(), BundleError> {
        let to = self.slots.join(slot.name());
        let placed = match to.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::rename(&self.path, &to),
            Err(error) => Err(error),
            Ok(_) => match exchange(&self.path, &to) {
                // Not every file system can: then there is a moment in which the slot is empty.
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => self.set_aside_and_rename(&to),
                exchanged => exchanged.map_err(io::Error::from),
            },
        };
        let placed = placed.and_then(|()| durable_file::sync_directory(&self.slots));
        placed.map_err(BundleError::writing("replace", &to))
    }

    fn set_aside_and_rename(&self, to: &Path) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().replace(STAGING, OLD);
        let old = self.slots.join(name);
        std::fs::rename(to, &old)?;
        if let Err(error) = std::fs::rename(&self.path, to) {
            // Back again; if that fails too the slot is empty and says so.
            let _ = std::fs::rename(&old, to);
            return Err(error);
        }
        std::fs::rename(&old, &self.path)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Best effort: what stays is removed by the next staging.
        let _ = std::fs::remove_dir_all(&self.path);
        let _ = durable_file::sync_directory(&self.slots);
    }
}

fn exchange(one: &Path, other: &Path) -> nix::Result<()> {
    let here = nix::fcntl::AT_FDCWD;
    renameat2(here, one, here, other, RenameFlags::RENAME_EXCHANGE)
}

fn make_directory(path: &Path) -> Result<(), BundleError> {
    DirBuilder::new().mode(0o700).create(path).map_err(BundleError::writing("create", path))
}

fn clean(slots: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(slots)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(STAGING) || name.starts_with(OLD) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
