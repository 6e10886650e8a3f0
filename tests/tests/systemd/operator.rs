//! An operator of an installed node: a member of its group, with a key and releases in a home directory that the node
//! cannot look into.

use crate::machine::{Machine, SOON};
use crate::package::install;
use holdfast_tests::wait;
use serde_json::Value;

/// Nothing waits for people, or for the last update.
pub const AT_ONCE: &str = "[supervisor]\nminimum_update_period_ms = 0\ncountdown_ms = 0\n";

/// The name of her releases' files, and of what they are packed from.
const HERS: &str = "/home/alice";

/// Installs the package with these settings; alice operates it, and root has trusted her key.
pub fn with_operator(machine: &Machine, settings: &str) {
    install(machine, "HOLDFAST_SYSTEMD_PACKAGE");
    machine.must("useradd -m -G holdfast alice && chmod 700 /home/alice");
    alice(machine, &format!("holdfast release keygen --out {HERS}"));
    apply(machine, settings);
    machine.must(&format!("holdfast release trust {HERS}/holdfast-release.pub"));
}

/// Runs a shell line as alice, which must succeed; its stdout.
pub fn alice(machine: &Machine, line: &str) -> String {
    machine.must(&format!("runuser -u alice -- sh -c '{line}'"))
}

/// These are the node's settings from now on.
pub fn apply(machine: &Machine, settings: &str) {
    std::fs::write(machine.path("/etc/holdfast/holdfast.toml"), settings).expect("its root is ours");
    machine.serves();
    machine.must("systemctl restart holdfast");
    machine.serves();
}

/// A release of what is installed, with something done to the copy (`$tree`) that it is packed from.
pub fn pack(machine: &Machine, version: &str, change: &str) -> String {
    let (tree, bundle) = (format!("{HERS}/tree-{version}"), format!("{HERS}/{version}.tar.zst"));
    alice(
        machine,
        &format!("mkdir {tree} && cp /usr/lib/holdfast/holdfast* {tree} && tree={tree} && {change}"),
    );
    alice(
        machine,
        &format!(
            "holdfast release pack --key {HERS}/holdfast-release.key --version {version} --from {tree} --out {bundle}"
        ),
    );
    machine.must(&format!("chmod 600 {bundle}*"));
    bundle
}

/// Begins an update and waits until it is in this state.
pub fn update_until(machine: &Machine, bundle: &str, state: &str) {
    alice(machine, &format!("setsid holdfast update {bundle} >/dev/null 2>&1 </dev/null &"));
    wait::until_blocking(state, SOON, || {
        machine.status().filter(|status| status["update"]["state"] == state).map(drop)
    });
}

/// The last attempt, once it has ended.
pub fn ended(machine: &Machine) -> Value {
    wait::until_blocking("the attempt has ended", SOON, || {
        let told = machine.run("holdfast attempts --json").stdout;
        let all: Value = serde_json::from_slice(&told).ok()?;
        let attempt = all["attempts"].get(0)?.clone();
        attempt["ended_at"].is_i64().then_some(attempt)
    })
}

/// The version of the release that serves.
pub fn serving(machine: &Machine) -> String {
    wait::until_blocking("a release serves", SOON, || {
        let status = machine.status().filter(|status| status["node"]["ready"] == true)?;
        Some(status["active"]["release"].as_str()?.to_owned())
    })
}
