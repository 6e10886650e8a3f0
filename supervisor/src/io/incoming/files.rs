//! The files of a bundle that is handed over: their names, and whoever adds to one alone.

use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Ending of a bundle that is whole.
const WHOLE: &str = ".tar.zst";
/// Ending of one that is not.
const PART: &str = ".part";
/// Characters of a digest.
const DIGEST: usize = 64;

pub(super) fn paths(home: &Home, sha256: &str) -> (PathBuf, PathBuf) {
    let below = home.incoming();
    (below.join(format!("{sha256}{WHOLE}")), below.join(format!("{sha256}{PART}")))
}

/// The digest in a file's name.
pub(super) fn digest_in(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let digest = name.get(..DIGEST)?;
    check_digest(digest).is_ok().then(|| digest.to_owned())
}

/// It becomes a file's name.
pub(super) fn check_digest(text: &str) -> Result<(), ApiError> {
    match text.len() == DIGEST && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        true => Ok(()),
        false => Err(ApiError::new(Code::InvalidRequest, "sha256 is 64 lower case hexadecimal digits")),
    }
}

/// Held alone: a piece is whole before the next one comes.
pub(super) fn open_part(part: &Path, create: bool) -> io::Result<Flock<File>> {
    let mut options = OpenOptions::new();
    loop {
        let file = options.append(true).create(create).mode(0o600).open(part)?;
        let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))?;
        // Whoever had the lock may have put this very file in its place, or removed it: then nothing is added to it.
        match std::fs::metadata(part) {
            Ok(there) if is_same(&file.metadata()?, &there) => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

pub(super) fn touch(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.set_modified(SystemTime::now())
}
