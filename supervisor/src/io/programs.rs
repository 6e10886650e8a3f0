//! Where our own programs lie: those beside the one that runs, and what another of our processes is started with.

use crate::io::home::on_file;
use holdfast_shared::error::{ApiError, Code};
use std::io;
use std::path::{Path, PathBuf};

/// The runtime's binary beside ours, which slots are filled from.
pub const BUILT_RUNTIME: &str = "holdfast-runtime";
/// The sidecar's binary beside ours.
pub const SIDECAR: &str = "holdfast-sidecar";

/// The program with this name beside the running `holdfast`.
///
/// # Errors
/// `REFUSED` when it is not there.
pub fn beside_us(name: &str) -> Result<PathBuf, ApiError> {
    let own = own_path().map_err(|error| on_file("look for", Path::new("/proc/self/exe"), &error))?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let message = format!("{} is missing: build the whole tree (deploy/up does)", path.display());
    Err(ApiError::new(Code::Refused, message))
}

/// Path of the running program, also when a newer one has replaced its file since.
fn own_path() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map(PathBuf::from).unwrap_or(path))
}

/// The program to start another of our own processes with: this very binary, also when its file was replaced.
pub fn own_program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}
