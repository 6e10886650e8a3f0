//! Small files that are either wholly there or not: temporary, fsync, rename, fsync of the directory.
//!
//! The temporary is always a new file: what is there under its name, a link above all, is removed and never written through.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces `path` by a file with these bytes (mode 0600). When this returns, the new file is durable; after
/// any failure or crash either the old one or the new one is there.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    drop(write_open(path, bytes)?);
    Ok(())
}

/// Like [`write`]; returns the file, open for reading and writing.
pub fn write_open(path: &Path, bytes: &[u8]) -> io::Result<File> {
    prepare(path, bytes)?.put()
}

/// Replaces `path` by a file with these bytes (mode 0600), which is returned. Whoever looks finds the old one or the new
/// one, whole; after a power cut it may be empty or gone until it and its directory were synced.
pub fn place(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let temporary = temporary_name(path);
    let placed = made(&temporary, bytes).and_then(|file| std::fs::rename(&temporary, path).map(|()| file));
    placed.inspect_err(|_| {
        // Best effort: what is left behind is overwritten by the next attempt.
        let _ = std::fs::remove_file(&temporary);
    })
}

/// A file that is durable under its temporary name; dropped, it goes.
#[derive(Debug)]
pub struct Prepared {
    path: PathBuf,
    /// `None` once it is in its place.
    temporary: Option<PathBuf>,
    file: File,
}

/// The first part of [`write`], which waits for the disk: nothing has changed yet for who looks for `path`. One at a
/// time for each path.
pub fn prepare(path: &Path, bytes: &[u8]) -> io::Result<Prepared> {
    let temporary = temporary_name(path);
    match make(&temporary, bytes) {
        Ok(file) => Ok(Prepared { path: path.to_owned(), temporary: Some(temporary), file }),
        Err(error) => {
            // Best effort: what is left behind is overwritten by the next attempt.
            let _ = std::fs::remove_file(&temporary);
            Err(error)
        }
    }
}

impl Prepared {
    /// Everybody may read it (0644), from the moment on in which it is in its place.
    pub fn readable_by_all(&self) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(0o644))
    }

    /// The second part: the new file is in its place, durably, when this returns.
    pub fn put(mut self) -> io::Result<File> {
        if let Some(temporary) = &self.temporary {
            std::fs::rename(temporary, &self.path)?;
            self.temporary = None;
        }
        // The parent of a bare name is the empty path, which nobody can open.
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_directory(parent.unwrap_or(Path::new(".")))?;
        self.file.try_clone()
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Best effort, as above.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// Has the disk begin to write what a file holds, without waiting: a sync that follows, of this file or of one beside it,
/// finds it under way. Says nothing about what is durable.
pub fn begin_to_write(file: &File) {
    // SAFETY: names an open file and no memory. What fails here is left to the sync.
    let _begun = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Makes names created, renamed or removed in `directory` durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn make(temporary: &Path, bytes: &[u8]) -> io::Result<File> {
    let file = made(temporary, bytes)?;
    file.sync_all()?;
    Ok(file)
}

fn made(temporary: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = match new_file(temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(temporary)?;
            new_file(temporary)?
        }
        file => file?,
    };
    file.write_all(bytes)?;
    Ok(file)
}

/// `O_EXCL`: a link is not followed, wherever it leads.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_file_replaces_the_old_one_and_leaves_no_temporary() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("marker");
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn everybody_may_read_what_is_to_be_read_by_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("marker");
        let file = prepare(&path, b"new").unwrap();
        file.readable_by_all().unwrap();
        file.put().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn what_is_prepared_and_not_put_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("marker");
        write(&path, b"old").unwrap();
        drop(prepare(&path, b"new").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_placed_is_whole_and_leaves_no_temporary() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("order");
        std::fs::write(&path, b"older and longer").unwrap();
        drop(place(&path, b"new").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let taken = directory.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(place(&taken, b"new").is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_under_the_temporary_name_is_not_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("marker"), directory.path().join("other"));
        std::fs::write(&other, "somebody's").unwrap();
        for target in [other.clone(), directory.path().join("new")] {
            std::os::unix::fs::symlink(&target, directory.path().join("marker.tmp")).unwrap();
            write(&path, b"ours").unwrap();
            assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
        }
        std::fs::write(directory.path().join("marker.tmp"), "left behind, and longer").unwrap();
        write(&path, b"ours").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"ours");
        assert_eq!(std::fs::read(&other).unwrap(), b"somebody's");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failure_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("marker");
        std::fs::create_dir(&path).unwrap();
        assert!(write(&path, b"new").is_err());
        assert!(path.is_dir());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
