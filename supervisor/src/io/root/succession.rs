//! `root/keeper.json`: how the promoted keeper's starts went, and which keeper it followed. Only keepers write it, under
//! their role's lock.

use super::running;
use crate::io::home::write_file;
use crate::io::slots::digest;
use crate::promotion::successor::{Base, Succession};
use holdfast_shared::error::ApiError;
use holdfast_shared::home::{Home, Role};
use std::io;
use std::path::{Path, PathBuf};

/// Its name.
const KEEPER: &str = "keeper.json";

/// How it stands. What is not there, or not readable, is as if nothing had been promoted.
pub fn read(home: &Home) -> Succession {
    let text = std::fs::read(home.root().join(KEEPER)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Durable when it returns.
///
/// # Errors
/// What the file system says.
pub fn write(home: &Home, succession: &Succession) -> Result<(), ApiError> {
    write_file(&home.root().join(KEEPER), &serde_json::to_vec_pretty(succession).unwrap_or_default())
}

/// The keeper that the node was installed with: the one that runs, or the one that it has followed. Without a keeper it is
/// our own program.
///
/// # Errors
/// When a program cannot be read.
pub fn base_digest(home: &Home) -> io::Result<String> {
    let Ok(keeper) = running(home, Role::Keeper) else { return digest(Path::new("/proc/self/exe")) };
    if is_promoted(home, &keeper) {
        let Base { digest, .. } = read(home).base;
        if !digest.is_empty() {
            return Ok(digest);
        }
    }
    digest(&keeper)
}

/// Whether the keeper that lives is a promoted one.
pub fn keeper_is_promoted(home: &Home) -> bool {
    running(home, Role::Keeper).is_ok_and(|program| is_promoted(home, &program))
}

/// Whether a link as `/proc/PID/exe` leads to root files of any promotion.
fn is_promoted(home: &Home, link: &Path) -> bool {
    let below: io::Result<PathBuf> = home.root().canonicalize();
    std::fs::read_link(link).is_ok_and(|program| below.is_ok_and(|below| program.starts_with(below)))
}
