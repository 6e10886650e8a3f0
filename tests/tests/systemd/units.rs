//! Units that come in a signed release: placed by root where it has the key, put back where the node is not ready with
//! them, removed by a newer package.

use crate::machine::{Machine, SOON};
use crate::operator::{AT_ONCE, alice, ended, pack_unit, pack_units, serving, with_operator};
use crate::package::install;
use crate::watcher::{begin, disconnected, end, goes_on, watch};
use holdfast_shared::home::Role;
use holdfast_tests::node::told;
use holdfast_tests::{run, wait};
use serde_json::Value;

/// Where a bundle's unit is once it is placed.
const PLACED: &str = "/etc/systemd/system/holdfast.service";

fn property(machine: &Machine, name: &str) -> String {
    machine.must(&format!("systemctl show holdfast.service --property={name} --value"))
}

fn trust_for_units(machine: &Machine) {
    machine.must("holdfast release trust --units /home/alice/holdfast-release.pub");
}

/// Updates to the bundle and promotes it, which is to fail for this reason; its message.
fn is_not_promoted(machine: &Machine, bundle: &str, reason: &str) -> String {
    alice(machine, &format!("holdfast update {bundle}"));
    let promoted = machine.run("runuser -u alice -- holdfast promote");
    assert_eq!(promoted.status.code(), Some(5), "{}", told(&promoted));
    let attempt: Value = ended(machine);
    assert_eq!(
        (&attempt["state"], &attempt["failure_reason"]),
        (&"failed".into(), &reason.into()),
        "{attempt}"
    );
    machine.serves();
    attempt["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn systemd_units_of_a_release_are_placed_with_roots_key_and_removed_by_a_newer_package() {
    let machine = Machine::boot();
    with_operator(&machine, AT_ONCE);
    run(async {
        let client = watch(&machine, "t");
        let turn = begin(&client, "t").await;
        let sidecar = machine.pid_of(Role::Sidecar);
        let refused =
            pack_units(&machine, "9.0.0", |text| text.replace("Description=", "Description=Refused "));
        let why = is_not_promoted(&machine, &refused, "root_units_refused");
        assert!(why.contains("units_key_missing"), "{why}");
        assert!(!machine.path(PLACED).exists());
        goes_on(&client, "t").await;

        // With the key the same release goes on.
        trust_for_units(&machine);
        alice(&machine, &format!("holdfast update {refused}"));
        alice(&machine, "holdfast promote");
        assert_eq!(ended(&machine)["state"], "succeeded");
        assert!(property(&machine, "Description").starts_with("Refused "));
        assert_eq!(serving(&machine), "9.0.0");
        goes_on(&client, "t").await;

        let bundle = pack_units(&machine, "9.1.0", |text| {
            let text = text.replace("Description=", "Description=Newer ");
            text.replace("[Service]\n", "[Service]\nEnvironment=HOLDFAST_OF=9.1.0\n")
        });
        alice(&machine, &format!("holdfast update {bundle}"));
        let keeper = machine.pid_of(Role::Keeper).expect("a keeper");
        alice(&machine, "holdfast promote");
        assert_eq!(ended(&machine)["state"], "succeeded");
        assert_eq!(property(&machine, "FragmentPath"), PLACED);
        assert_eq!(property(&machine, "Environment"), "HOLDFAST_OF=9.1.0");
        assert!(property(&machine, "Description").starts_with("Newer "));
        machine.succeeded(Role::Keeper, keeper);
        machine.serves();
        assert_eq!(serving(&machine), "9.1.0");
        goes_on(&client, "t").await;

        let keeper = machine.pid_of(Role::Keeper).expect("a keeper");
        install(&machine, "HOLDFAST_SYSTEMD_NEWER_PACKAGE");
        machine.succeeded(Role::Keeper, keeper);
        machine.serves();
        assert!(!machine.path(PLACED).exists());
        assert_eq!(property(&machine, "Environment"), "");
        assert_eq!(machine.pid_of(Role::Sidecar), sidecar);
        end(&machine, &client, "t", &turn).await;
        assert_eq!(disconnected(&client), 0);
    });
}

#[test]
fn systemd_units_that_do_not_start_or_are_interrupted_are_put_back() {
    let mut machine = Machine::boot();
    with_operator(&machine, AT_ONCE);
    trust_for_units(&machine);
    let before = property(&machine, "FragmentPath");
    run(async {
        let client = watch(&machine, "t");
        let turn = begin(&client, "t").await;
        let broken = pack_units(&machine, "9.0.0", |text| text.replace("/holdfast keep", "/nothing keep"));
        let why = is_not_promoted(&machine, &broken, "root_units_restored");
        assert!(why.contains("unit_not_ready"), "{why}");
        assert!(!machine.path(PLACED).exists());
        assert_eq!(property(&machine, "FragmentPath"), before);
        assert_eq!(serving(&machine), "9.0.0");
        end(&machine, &client, "t", &turn).await;
        assert_eq!(disconnected(&client), 0);
    });

    // What systemd would find broken at the next boot only.
    let socket = pack_unit(&machine, "9.0.1", "holdfast.socket", |text| {
        text.replace("ListenStream=", "X-ListenStream=")
    });
    let why = is_not_promoted(&machine, &socket, "root_units_restored");
    assert!(why.contains("holdfast.socket is bad-setting"), "{why}");
    assert!(!machine.path("/etc/systemd/system/holdfast.socket").exists());

    // Root's service is killed while the node does not become ready.
    let attempt = hangs(&mut machine, "9.1.0", |machine| {
        machine.must("systemctl kill --signal=KILL holdfast-units.service");
    });
    assert_eq!(attempt["failure_reason"], "root_units_restored", "{attempt}");

    // The power fails there.
    let attempt = hangs(&mut machine, "9.2.0", Machine::cut_power);
    assert_eq!(attempt["failure_reason"], "root_units_restored", "{attempt}");
    assert_eq!(property(&machine, "FragmentPath"), before);
}

/// Promotes a release whose node's unit never becomes ready; what happens while it is placed; how the attempt ended.
fn hangs(machine: &mut Machine, version: &str, happens: impl FnOnce(&mut Machine)) -> Value {
    let bundle = pack_units(machine, version, |text| {
        text.replace(
            "ExecStart=/usr/lib/holdfast/holdfast keep --home /var/lib/holdfast",
            "ExecStart=/bin/sleep 1000",
        )
    });
    alice(machine, &format!("holdfast update {bundle}"));
    alice(machine, "setsid holdfast promote >/dev/null 2>&1 </dev/null &");
    wait::until_blocking("the new unit is placed", SOON, || machine.path(PLACED).exists().then_some(()));
    happens(machine);
    // A run that was killed is tried again after 10 s.
    wait::until_blocking("the previous units", 2 * SOON, || {
        (!machine.path(PLACED).exists() && !machine.path("/var/lib/holdfast-units/remembered.json").exists())
            .then_some(())
    });
    machine.serves();
    ended(machine)
}
