//! Log files: bounded by copying and truncating, so that writers that append never notice.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
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

/// The message of the last error in a process's log, where its last lines hold one.
pub fn last_error(directory: &Path, name: &str) -> Option<String> {
    const LOOKED_AT_BYTES: u64 = 16 * 1024;
    const MESSAGE_CHARACTERS: usize = 300;
    let mut log = File::open(directory.join(format!("{name}.log"))).ok()?;
    let end = log.metadata().ok()?.len();
    log.seek(io::SeekFrom::Start(end.saturating_sub(LOOKED_AT_BYTES))).ok()?;
    let mut bytes = Vec::new();
    log.take(LOOKED_AT_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_error = line["level"].as_str().is_some_and(|level| level.eq_ignore_ascii_case("error"));
        let word = |name: &str| line[name].as_str().filter(|text| !text.is_empty());
        let words: Vec<&str> = [word("msg"), word("error")].into_iter().flatten().collect();
        is_error.then(|| words.join(": ").chars().take(MESSAGE_CHARACTERS).collect())
    })
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
    fn the_last_error_is_found_behind_what_is_no_line() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(last_error(directory.path(), "sidecar"), None);
        let long = "x".repeat(20 * 1024);
        let text = format!(
            "{long}\n{{\"level\":\"ERROR\",\"msg\":\"one\"}}\n{{\"level\":\"ERROR\",\"msg\":\"two\",\"error\":\"disk\"}}\n{{\"level\":\"INFO\"}}\n{{"
        );
        std::fs::write(directory.path().join("sidecar.log"), text).unwrap();
        assert_eq!(last_error(directory.path(), "sidecar").as_deref(), Some("two: disk"));
    }

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
