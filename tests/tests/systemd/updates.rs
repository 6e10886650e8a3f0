//! Signed releases on an installed node: handed over by an operator, taken back, promoted; and a machine, or a
//! supervisor, that fails in the middle.

use crate::machine::{HOME, Machine, SOON};
use crate::operator::{
    AT_ONCE, alice, apply, ended, nothing_more, pack, serving, update_until, with_operator,
};
use crate::watcher::{begin, disconnected, end, goes_on, watch};
use holdfast_shared::home::Role;
use holdfast_tests::node::copy_without_symbols;
use holdfast_tests::{run, wait};
use std::io::{Read, Write};

/// Unpacked within a second or two, of which a look takes a few hundredths.
const BALLAST_BYTES: u64 = 100_000_000;

fn supervisor_is_promoted(machine: &Machine) -> bool {
    let pid = machine.pid_of(Role::Supervisor).unwrap_or_default();
    let program = machine.run(&format!("readlink /proc/{pid}/exe"));
    String::from_utf8_lossy(&program.stdout).starts_with(&format!("{HOME}/root/"))
}

#[test]
fn systemd_an_operator_updates_goes_back_and_promotes_and_no_socket_closes() {
    let machine = Machine::boot();
    with_operator(&machine, AT_ONCE);
    let installed = serving(&machine);
    let bundle = pack(&machine, "9.0.0", nothing_more);
    run(async {
        let client = watch(&machine, "t");
        let turn = begin(&client, "t").await;
        let sidecar = machine.pid_of(Role::Sidecar);

        alice(&machine, &format!("holdfast update {bundle}"));
        assert_eq!(serving(&machine), "9.0.0");
        goes_on(&client, "t").await;
        alice(&machine, "holdfast rollback");
        assert_eq!(serving(&machine), installed);
        goes_on(&client, "t").await;

        let other = pack(&machine, "9.1.0", |bin| {
            copy_without_symbols("holdfast", &bin.join("holdfast"));
            let other = std::fs::OpenOptions::new().append(true).open(bin.join("holdfast"));
            other.and_then(|mut other| other.write_all(b"another")).expect("a copy");
        });
        alice(&machine, &format!("holdfast update {other}"));
        let before = machine.pid_of(Role::Supervisor);
        alice(&machine, "holdfast promote");
        assert!(supervisor_is_promoted(&machine));
        assert_eq!(machine.pid_of(Role::Supervisor), before);
        assert_eq!(ended(&machine)["state"], "succeeded");
        assert_eq!(serving(&machine), "9.1.0");
        goes_on(&client, "t").await;

        let keeper = machine.pid_of(Role::Keeper).expect("a keeper");
        machine.must("systemctl restart holdfast");
        machine.succeeded(Role::Keeper, keeper);
        machine.serves();
        assert!(supervisor_is_promoted(&machine), "the next keeper starts it, too");
        goes_on(&client, "t").await;
        assert_eq!((machine.pid_of(Role::Sidecar), disconnected(&client)), (sidecar, 0));
        end(&machine, &client, "t", &turn).await;
        assert_eq!(disconnected(&client), 0);
    });
}

#[test]
fn systemd_a_reboot_in_the_countdown_and_a_power_cut_in_probation_end_the_update() {
    let mut machine = Machine::boot();
    with_operator(&machine, "[supervisor]\nminimum_update_period_ms = 0\ncountdown_ms = 15000\n");
    let bundle = pack(&machine, "9.0.0", nothing_more);
    update_until(&machine, &bundle, "countdown");
    machine.reboot();
    machine.serves();
    assert_eq!(ended(&machine)["state"], "succeeded");
    assert_eq!(serving(&machine), "9.0.0");

    apply(&machine, AT_ONCE);
    let bundle = pack(&machine, "9.1.0", nothing_more);
    update_until(&machine, &bundle, "probation");
    machine.cut_power();
    machine.serves();
    assert_eq!(ended(&machine)["state"], "succeeded");
    assert_eq!(serving(&machine), "9.1.0");
}

#[test]
fn systemd_a_power_cut_while_a_release_is_prepared_ends_the_update() {
    let mut machine = Machine::boot();
    with_operator(&machine, AT_ONCE);
    // So that there is a time to cut it: what is unpacked is not done at once.
    let bundle = pack(&machine, "9.0.0", |bin| {
        let random = std::fs::File::open("/dev/urandom").expect("a source of bytes that do not shrink");
        let mut ballast = std::fs::File::create(bin.join("ballast")).expect("a new file");
        std::io::copy(&mut random.take(BALLAST_BYTES), &mut ballast).expect("room");
    });
    update_until(&machine, &bundle, "preparing");
    machine.cut_power();
    machine.serves();
    let attempt = ended(&machine);
    assert_eq!(attempt["state"], "succeeded", "{attempt}");
    assert_eq!(serving(&machine), "9.0.0");
}

#[test]
fn systemd_a_supervisor_that_hangs_is_replaced_and_no_socket_closes() {
    let machine = Machine::boot();
    with_operator(&machine, AT_ONCE);
    // As in the unit, only sooner.
    let sooner = machine.path("/etc/systemd/system/holdfast.service.d");
    std::fs::create_dir_all(&sooner).expect("its root is ours");
    std::fs::write(sooner.join("sooner.conf"), "[Service]\nWatchdogSec=5\n").expect("its root is ours");
    machine.must("systemctl daemon-reload && systemctl restart holdfast");
    machine.serves();
    run(async {
        let client = watch(&machine, "t");
        let turn = begin(&client, "t").await;
        let (keeper, supervisor) = (machine.pid_of(Role::Keeper), machine.pid_of(Role::Supervisor));
        let supervisor = supervisor.expect("a supervisor");
        machine.must(&format!("kill -STOP {supervisor}"));
        goes_on(&client, "t").await;
        machine.succeeded(Role::Keeper, keeper.expect("a keeper"));
        machine.succeeded(Role::Supervisor, supervisor);
        machine.serves();
        wait::until_blocking("what hung is gone", SOON, || {
            (!machine.users_processes().contains(&supervisor)).then_some(())
        });
        goes_on(&client, "t").await;
        machine.must("holdfast switch");
        end(&machine, &client, "t", &turn).await;
        assert_eq!(disconnected(&client), 0);
    });
}
