//! Signed releases of the built tree, one for each update.

use holdfast_tests::node::{Node, told};
use std::path::PathBuf;

/// Settings with which an update waits for nobody: what is left of its time is its work and its stability window.
pub const AT_ONCE: &str = "[supervisor]\ncountdown_ms = 0\nminimum_update_period_ms = 0\n";

/// Bundles, from version 1.0.1 on.
pub struct Releases {
    directory: PathBuf,
}

impl Releases {
    /// Makes a key that the node trusts, and packs so many releases with it.
    pub fn pack(node: &Node, count: usize) -> Self {
        let directory = node.scratch().join("releases");
        std::fs::create_dir(&directory).expect("a new directory");
        let out = directory.display().to_string();
        let made = node.holdfast(&["release", "keygen", "--trust", "--out", &out]);
        assert!(made.status.success(), "{}", told(&made));
        let releases = Self { directory };
        let key = releases.directory.join("holdfast-release.key").display().to_string();
        for number in 1..=count {
            let (version, bundle) = (format!("1.0.{number}"), releases.bundle(number));
            let arguments = ["release", "pack", "--key", &key, "--version", &version, "--out", &bundle];
            let packed = node.holdfast(&arguments);
            assert!(packed.status.success(), "{}", told(&packed));
        }
        releases
    }

    fn bundle(&self, number: usize) -> String {
        self.directory.join(format!("{number}.tar.zst")).display().to_string()
    }

    /// Hands one to the node and waits until it has succeeded.
    pub async fn update(&self, node: &Node, number: usize) {
        let updated = node.holdfast_async(&["update", &self.bundle(number)]).await;
        assert!(updated.status.success(), "{}", told(&updated));
    }
}
