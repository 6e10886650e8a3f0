//! Committed files that tests write: matrices and diagrams of state machines.

use std::path::Path;

/// Compares `content` with the committed file at `path_from_workspace_root`; with HOLDFAST_BLESS=1 writes it.
///
/// # Panics
/// When they differ, naming the file and the first line that does; when it cannot be read or written.
#[track_caller]
pub fn blessed(path_from_workspace_root: &str, content: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
    let path = root.join(path_from_workspace_root);
    if std::env::var_os("HOLDFAST_BLESS").is_some_and(|value| value == "1") {
        let directory = path.parent().unwrap_or(root);
        let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, content));
        return written.unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    }
    let committed =
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    if committed == content {
        return;
    }
    let differs = committed.lines().zip(content.lines()).position(|(was, is)| was != is);
    let line = differs.unwrap_or_else(|| committed.lines().count().min(content.lines().count()));
    panic!(
        "{} differs from what the test printed, first at line {}:\n  committed: {:?}\n  printed:   {:?}\nLook at the \
         difference, then write it with HOLDFAST_BLESS=1",
        path.display(),
        line + 1,
        committed.lines().nth(line),
        content.lines().nth(line),
    );
}
