//! How many files may be open at once.
//!
//! A running turn takes a spool and a watch, a link a socket, and the usual soft limit of 1,024 is from the days of
//! `select`, which nothing here calls.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// Raises the soft limit of open files to the hard one, and answers it.
///
/// # Errors
/// When the system refuses; the limit is as it was.
pub fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_hard_one_afterwards() {
        let hard = raise_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        assert_eq!(raise_limit().unwrap(), hard, "again changes nothing");
    }
}
