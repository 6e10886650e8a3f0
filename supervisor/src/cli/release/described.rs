//! What is said of a bundle: for programs, and in words.

use crate::io::bundle::Verified;
use holdfast_shared::release::{BundleFile, BundleManifest, Part};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn described(manifest: &BundleManifest) -> Value {
    let file = |(path, file): (&String, &BundleFile)| json!({"path": path, "size_bytes": file.size_bytes, "sha256": file.sha256, "part": file.part});
    json!({
        "version": manifest.version, "target": manifest.target,
        "created_at": manifest.created_at, "expires_at": manifest.expires_at,
        "contracts": manifest.contracts, "reads": manifest.reads, "writes": manifest.writes,
        "must_understand": manifest.must_understand,
        "files": manifest.files.iter().map(file).collect::<Vec<Value>>(),
    })
}

pub(super) fn words(manifest: &BundleManifest) -> String {
    let time =
        |at| jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| at.to_string());
    let mut text = format!(
        "version {} for {}, packed {}, expires {}\n",
        manifest.version,
        manifest.target,
        time(manifest.created_at),
        time(manifest.expires_at)
    );
    for (path, file) in &manifest.files {
        let part = match file.part {
            Part::Root => "root",
            Part::Units => "units",
            Part::Runtime => "runtime",
        };
        text.push_str(&format!("  {:<8} {:>12}  {path}\n", part, mib(file.size_bytes)));
    }
    text
}

pub(super) fn verified_words(file: &Path, verified: &Verified, root: &[String]) -> String {
    let root = match root {
        [] => "Supervisor and sidecar are those that are here.".to_owned(),
        changed => format!("Needs a root promotion: {} differ from those here.", changed.join(", ")),
    };
    let key = verified.key_name();
    let size = mib(verified.bundle_bytes());
    format!("{} ({size}) is valid, signed by {key}.\n{}{root}", file.display(), words(verified.manifest()))
}

pub(super) fn mib(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    format!("{:.1} MiB", bytes as f64 / MIB)
}
