//! Log files: bounded by copying and truncating, so that writers that append never notice.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A log larger than this is rotated.
pub const ROTATE_BYTES: u64 = 16 * 1024 * 1024;
/// Older files kept beside each log: `.1` is the newest.
pub const KEPT: usize = 4;

/// Rotates every log of the directory that has grown past `limit_bytes`. What is written between copy and
/// truncation is lost; logs are no truth.
///
/// # Errors
/// The first that failed; the others are rotated all the same.
pub fn rotate(directory: &Path, limit_bytes: u64) -> io::Result<()> {
    let mut outcome = Ok(());
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        if is_log && std::fs::metadata(&path)?.len() > limit_bytes {
            outcome = outcome.and(rotate_one(&path));
        }
    }
    outcome
}

fn rotate_one(path: &Path) -> io::Result<()> {
    for number in (1..KEPT).rev() {
        match std::fs::rename(older(path, number), older(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut from = File::open(path)?;
    let mut to = File::create(older(path, 1))?;
    let copied = io::copy(&mut from, &mut to);
    // A disk without room for the copy has even less for the log.
    OpenOptions::new().write(true).open(path)?.set_len(0)?;
    copied.map(|_| ())
}

/// The path of an older file of a log.
pub fn older(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn past_the_limit_a_log_is_copied_and_truncated_and_four_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sidecar.log");
        let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        for round in 0..6 {
            writeln!(log, "round {round}").unwrap();
            rotate(directory.path(), 4).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        }
        let text = |number| std::fs::read_to_string(older(&path, number)).unwrap();
        assert_eq!((text(1).as_str(), text(4).as_str()), ("round 5\n", "round 2\n"));
        assert!(!older(&path, 5).exists());
        writeln!(log, "x").unwrap();
        rotate(directory.path(), 4).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
    }
}
