//! A signed release handed to the node: it ends in a named state, and the node serves.

use holdfast_tests::client::Since;
use holdfast_tests::node::{Node, Options, told};
use holdfast_tests::{run, work};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// No waiting for people.
const AT_ONCE: &str = "[supervisor]\ncountdown_ms = 0\nminimum_update_period_ms = 0\n";

/// A node that trusts a new key, and that key.
fn node() -> (Node, PathBuf) {
    let node = Node::up_with(&Options { config: AT_ONCE.into() });
    let out = node.scratch().join("keys");
    std::fs::create_dir(&out).expect("a new directory");
    let out_text = out.display().to_string();
    let made = node.holdfast(&["release", "keygen", "--trust", "--out", &out_text]);
    assert!(made.status.success(), "{}", told(&made));
    (node, out.join("holdfast-release.key"))
}

/// The built tree as a release of this version.
fn pack(node: &Node, key: &Path, version: &str) -> String {
    let bundle = node.scratch().join(format!("{version}.tar.zst")).display().to_string();
    let key = key.display().to_string();
    let packed = node.holdfast(&["release", "pack", "--key", &key, "--version", version, "--out", &bundle]);
    assert!(packed.status.success(), "{}", told(&packed));
    bundle
}

fn newest(node: &Node) -> Value {
    node.json(&["attempts", "--json"])["attempts"][0].clone()
}

#[test]
fn updates_a_signed_release_is_installed_once_and_can_be_rolled_back() {
    run(async {
        let (node, key) = node();
        let client = work::client(&node, &[("node", Since::Now)]);
        client.ready().await;
        let bundle = pack(&node, &key, "9.0.0");
        let updated = node.holdfast_async(&["update", &bundle]).await;
        assert!(updated.status.success(), "{}", told(&updated));
        let attempt = newest(&node);
        assert_eq!((&attempt["state"], &attempt["target_version"]), (&"succeeded".into(), &"9.0.0".into()));
        let (slot, _) = node.active().await;
        assert_eq!(node.json(&["status", "--json"])["active"]["release"], "9.0.0");

        let again = node.holdfast_async(&["update", &bundle]).await;
        assert!(again.status.success(), "{}", told(&again));
        assert_eq!(newest(&node)["failure_reason"], "deduplicated");
        assert_eq!(node.active().await.0, slot);

        let back = node.holdfast_async(&["rollback"]).await;
        assert!(back.status.success(), "{}", told(&back));
        assert_eq!(node.active().await.0, slot.other());
        client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
    });
}

#[test]
fn updates_a_bundle_that_is_not_right_leaves_the_node_as_it_was() {
    run(async {
        let (node, key) = node();
        let before = node.active().await;
        let bundle = pack(&node, &key, "9.0.0");
        let mut bytes = std::fs::read(&bundle).expect("the bundle");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&bundle, bytes).expect("the bundle");
        let refused = node.holdfast_async(&["update", &bundle]).await;
        assert_eq!(refused.status.code(), Some(5), "{}", told(&refused));
        let attempt = newest(&node);
        assert_eq!((&attempt["state"], &attempt["failed_stage"]), (&"failed".into(), &"preparing".into()));
        assert!(attempt["failure_reason"].is_string(), "{attempt}");
        assert_eq!(node.active().await, before);
        node.switch().await.expect("a switch works");
    });
}
