//! The built programs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo put the binaries: HOLDFAST_BIN_DIR, else beside the test that runs.
pub fn binaries() -> PathBuf {
    if let Some(directory) = std::env::var_os("HOLDFAST_BIN_DIR") {
        return PathBuf::from(directory);
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let directory = own.parent().expect("a file has a directory");
    if directory.ends_with("deps") {
        directory.parent().expect("deps lies in a profile").into()
    } else {
        directory.into()
    }
}

/// The `holdfast` binary.
///
/// # Panics
/// When it is not built.
pub fn holdfast() -> PathBuf {
    let path = binaries().join("holdfast");
    assert!(path.exists(), "{} is not built: cargo build --release --workspace", path.display());
    path
}

/// Copies a built program, without what debuggers read where that can be taken out: a release of it is packed, handed
/// over and unpacked in a fraction of the time.
///
/// # Panics
/// When it is not built, or cannot be copied.
pub fn copy_without_symbols(name: &str, to: &Path) {
    let from = binaries().join(name);
    let stripped = Command::new("strip").args(["--strip-debug", "-o"]).arg(to).arg(&from).output();
    if !stripped.is_ok_and(|output| output.status.success()) {
        std::fs::copy(&from, to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    }
}
