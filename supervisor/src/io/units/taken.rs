//! What root takes of the node's home: files by descriptor, every name on the way without following a link, into a
//! directory of root's own. Who owns the home may put anything there at any time, and gains nothing by it.

use super::WISH;
use crate::io::bundle::{SIGNATURE_BYTES, signature_path};
use crate::release::Limits;
use crate::units::Wish;
use holdfast_shared::free_space::free_bytes;
use holdfast_shared::home::Home;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a wish at most.
const WISH_BYTES: u64 = 4096;

/// The wish in the home; `None`: there is none, or it is none.
///
/// # Errors
/// What the system says.
pub fn wish(home: &Home) -> io::Result<Option<Wish>> {
    let file = match plain(home, "run", WISH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(WISH_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice::<Wish>(&text).ok().filter(Wish::is_well_formed))
}

/// Copies the bundle of a wish and its signature into a directory that is ours; the copy's path.
///
/// # Errors
/// Not there, no plain file, larger than this, or what the system says.
pub fn bundle(home: &Home, wish: &Wish, into: &Path, bundle_bytes: u64) -> io::Result<PathBuf> {
    let name = format!("{}.tar.zst", wish.sha256);
    let copy = into.join("bundle.tar.zst");
    for (name, to, limit) in [
        (name.clone(), copy.clone(), bundle_bytes),
        (format!("{name}.minisig"), signature_path(&copy), SIGNATURE_BYTES),
    ] {
        let source = plain(home, "incoming", &name)?;
        demand_room(into, source.metadata()?.len().min(limit))?;
        let mut source = source.take(limit + 1);
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        if io::copy(&mut source, &mut out)? > limit {
            return Err(io::Error::other(format!("{name} is too large")));
        }
    }
    Ok(copy)
}

/// The disk is the node's too, which is not to be the one that finds it full.
fn demand_room(into: &Path, bytes: u64) -> io::Result<()> {
    match free_bytes(into)? >= bytes.saturating_add(Limits::default().reserve_bytes) {
        true => Ok(()),
        false => Err(io::Error::from(io::ErrorKind::StorageFull)),
    }
}

/// A plain file below the home's directory of this name.
fn plain(home: &Home, directory: &str, name: &str) -> io::Result<File> {
    let no_link = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directories = no_link | OFlag::O_DIRECTORY | OFlag::O_RDONLY;
    let home: OwnedFd = open(home.path(), directories, Mode::empty())?;
    let directory = openat(&home, directory, directories, Mode::empty())?;
    // A FIFO is not waited for.
    let file = openat(&directory, name, no_link | OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())?;
    let file = File::from(file);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(format!("{name} is no plain file"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("home"));
        std::fs::create_dir_all(home.run()).unwrap();
        std::fs::create_dir_all(home.incoming()).unwrap();
        std::fs::write(directory.path().join("secret"), "root's").unwrap();
        (directory, home)
    }

    fn asked() -> Wish {
        Wish { attempt: "at-1".into(), since: 1, sha256: "ab".repeat(32) }
    }

    #[test]
    fn a_wish_is_read_and_what_is_none_is_not() {
        let (_directory, home) = home();
        assert_eq!(wish(&home).unwrap(), None);
        super::super::wish(&home, &asked()).unwrap();
        assert_eq!(wish(&home).unwrap(), Some(asked()));
        std::fs::write(home.run().join(WISH), r#"{"attempt": "../x", "since": 1, "sha256": "y"}"#).unwrap();
        assert_eq!(wish(&home).unwrap(), None);
    }

    #[test]
    fn links_on_any_part_of_the_way_and_what_is_no_file_are_not_taken() {
        let (directory, home) = home();
        let (ours, name) = (directory.path().join("ours"), format!("{}.tar.zst", asked().sha256));
        std::fs::create_dir(&ours).unwrap();
        let bundle = home.incoming().join(&name);
        let take = || {
            let _ = std::fs::remove_dir_all(&ours);
            std::fs::create_dir(&ours).unwrap();
            super::bundle(&home, &asked(), &ours, 100)
        };
        std::fs::write(signature_path(&bundle), "signed").unwrap();
        symlink(directory.path().join("secret"), &bundle).unwrap();
        assert!(take().is_err());
        std::fs::remove_file(&bundle).unwrap();
        std::fs::create_dir(&bundle).unwrap();
        assert!(take().is_err());
        std::fs::remove_dir(&bundle).unwrap();
        std::fs::write(&bundle, [0; 101]).unwrap();
        assert!(take().unwrap_err().to_string().contains("too large"));
        std::fs::write(&bundle, "a bundle").unwrap();
        assert_eq!(std::fs::read(take().unwrap()).unwrap(), b"a bundle");
        // The directory is exchanged for a link to one with the same name in it.
        let elsewhere = directory.path().join("elsewhere");
        std::fs::rename(home.incoming(), &elsewhere).unwrap();
        symlink(&elsewhere, home.incoming()).unwrap();
        assert!(take().is_err());
        symlink(directory.path().join("secret"), home.run().join(WISH)).unwrap();
        assert!(wish(&home).is_err());
    }
}
