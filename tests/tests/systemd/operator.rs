//! An operator of an installed node: a member of its group, with a key and releases in a home directory that the node
//! cannot look into.

use crate::machine::{Machine, SOON};
use crate::package::install;
use holdfast_tests::node::{copy_without_symbols, holdfast, run_to_end, told};
use holdfast_tests::wait;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

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

/// A release of this version in alice's home: this build's runtime, and what `more` puts into its `bin`.
pub fn pack(machine: &Machine, version: &str, more: impl FnOnce(&Path)) -> String {
    pack_with(machine, version, more, None)
}

/// The same with units: those of this tree, but the node's service as `change` makes it.
pub fn pack_units(machine: &Machine, version: &str, change: impl FnOnce(String) -> String) -> String {
    pack_unit(machine, version, "holdfast.service", change)
}

/// The same with another unit changed.
pub fn pack_unit(
    machine: &Machine,
    version: &str,
    name: &str,
    change: impl FnOnce(String) -> String,
) -> String {
    let units = tempfile::tempdir().expect("room below TMPDIR");
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    for unit in holdfast_supervisor::release::UNIT_NAMES {
        std::fs::copy(tree.join(unit), units.path().join(unit)).expect("a unit of this tree");
    }
    let unit = units.path().join(name);
    let text = std::fs::read_to_string(&unit).expect("it was copied");
    std::fs::write(unit, change(text)).expect("a copy");
    pack_with(machine, version, nothing_more, Some(units.path()))
}

fn pack_with(machine: &Machine, version: &str, more: impl FnOnce(&Path), units: Option<&Path>) -> String {
    let scratch = tempfile::tempdir().expect("room below TMPDIR");
    let bin = scratch.path().join("bin");
    std::fs::create_dir(&bin).expect("a new directory");
    copy_without_symbols("holdfast-runtime", &bin.join("holdfast-runtime"));
    more(&bin);
    let bundle = format!("{HERS}/{version}.tar.zst");
    let mut packing = Command::new(holdfast());
    packing.args(["release", "pack", "--version", version, "--key"]);
    packing.arg(machine.path(&format!("{HERS}/holdfast-release.key")));
    packing.arg("--from").arg(scratch.path()).arg("--out").arg(machine.path(&bundle));
    if let Some(units) = units {
        packing.arg("--units").arg(units);
    }
    let packed = run_to_end(packing, SOON);
    assert!(packed.status.success(), "{}", told(&packed));
    machine.must(&format!("chown alice: {bundle}* && chmod 600 {bundle}*"));
    bundle
}

/// Nothing but the runtime.
pub fn nothing_more(_: &Path) {}

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
