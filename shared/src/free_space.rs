//! Room on a disk, looked at before work is given to who cannot stand its end: with a full disk agents stop answering for
//! good, even after there is room again.

use crate::error::{ApiError, Code};
use std::io;
use std::path::Path;

/// Default of the least that has to be free before a worker is started or prompted: an agent writes its own state, the
/// spool a turn, and a build its results.
pub const MIN_FREE_BYTES: u64 = 128 * 1024 * 1024;

/// Bytes that this user may still write on the disk of a path.
///
/// # Errors
/// What the file system says.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = nix::sys::statvfs::statvfs(path)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// Whether so much is enough; a `min` of 0 asks for nothing.
pub fn is_enough(free: u64, min: u64) -> bool {
    min == 0 || free >= min
}

/// Looks at the disk of each path.
///
/// # Errors
/// `STORAGE_FULL`, which is retryable, naming the first path where less than `min` bytes are free. A disk that does not
/// say how much is free stops nothing.
pub fn check(paths: &[&Path], min: u64) -> Result<(), ApiError> {
    let full = |path: &&&Path| free_bytes(path).is_ok_and(|free| !is_enough(free, min));
    let Some(path) = paths.iter().find(full) else { return Ok(()) };
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let message = format!(
        "{}: {} MiB are free; no work is begun with less than {} MiB, since agents do not survive a full disk",
        path.display(),
        mib(free_bytes(path).unwrap_or(0)),
        mib(min)
    );
    Err(ApiError::new(Code::StorageFull, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_least_is_not_enough_and_nothing_asked_for_is_always_there() {
        assert!(is_enough(5, 5) && is_enough(0, 0) && !is_enough(4, 5));
    }

    #[test]
    fn a_disk_without_room_is_named_and_one_that_says_nothing_stops_nothing() {
        let here = tempfile::tempdir().unwrap();
        let gone = here.path().join("gone");
        assert_eq!(check(&[here.path(), &gone], 1), Ok(()));
        assert_eq!(check(&[here.path()], 0), Ok(()));
        let full = check(&[&gone, here.path()], u64::MAX).unwrap_err();
        assert!(full.code == Code::StorageFull && full.retryable);
        assert!(full.message.starts_with(here.path().to_str().unwrap()), "{}", full.message);
    }
}
