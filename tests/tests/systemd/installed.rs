//! `deploy/install` and `deploy/uninstall`, and a machine that goes down in the middle of a turn.

use crate::machine::{HOME, Machine, SOON};
use crate::watcher::{begin, goes_on, watch};
use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use holdfast_tests::client::text_of;
use holdfast_tests::node::{binaries, told};
use holdfast_tests::run;
use holdfast_tests::work::{conversation, seal_of};
use std::path::Path;

/// What is copied into the machine, beside the programs.
const SCRIPTS: [&str; 4] = ["install", "uninstall", "layout", "holdfast.toml"];

fn bring_the_tree(machine: &Machine) {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for script in SCRIPTS {
        machine.bring(&tree.join("deploy").join(script), "/root/tree/deploy");
    }
    for unit in std::fs::read_dir(tree.join("systemd")).expect("the units").flatten() {
        machine.bring(&unit.path(), "/root/tree/systemd");
    }
    for program in ["holdfast", "holdfast-sidecar", "holdfast-runtime"] {
        machine.bring(&binaries().join(program), "/root/tree/target/release");
    }
}

/// The machine goes down in the middle of a turn; what was seen of it and what was accepted behind it is there after.
fn survives(machine: &mut Machine, task: &str, goes_down: impl FnOnce(&mut Machine)) {
    let (turn, seen, queued) = run(async {
        let client = watch(machine, task);
        let turn = begin(&client, task).await;
        let queued = holdfast_tests::work::prompt(&client, task, "echo queued before", true).await;
        goes_on(&client, task).await;
        let text = client.observed(|seen| text_of(&seen.channel(&conversation(task)).events, &turn));
        (turn, text, queued.expect("accepted"))
    });
    goes_down(machine);
    machine.serves();
    run(async {
        let client = watch(machine, task);
        client.ready().await;
        let channel = conversation(task);
        client
            .wait("both turns sealed", SOON, |observed| {
                let events = &observed.channel(&channel).events;
                seal_of(events, &turn).is_some() && seal_of(events, &queued).is_some()
            })
            .await;
        client.observed(|observed| {
            let events = &observed.channel(&channel).events;
            let seal = seal_of(events, &turn).expect("waited for");
            assert_eq!(seal["stop_reason"], "interrupted", "{seal}");
            assert!(text_of(events, &turn).starts_with(&seen), "what was shown is kept");
            assert_eq!(text_of(events, &queued), "queued before\n");
            assert_eq!(observed.complaints(), Vec::<String>::new());
        });
    });
}

#[test]
fn systemd_reboot_and_power_cut_in_the_middle_of_a_turn_lose_nothing() {
    let mut machine = Machine::boot();
    bring_the_tree(&machine);
    machine.must("/root/tree/deploy/install --dry-run");
    assert!(!machine.path("/usr/local/lib/holdfast").exists());
    machine.must("/root/tree/deploy/install");
    machine.serves();
    survives(&mut machine, "rebooted", Machine::reboot);
    survives(&mut machine, "cut", Machine::cut_power);
}

#[test]
fn systemd_installing_again_upgrades_and_uninstalling_keeps_the_data() {
    let machine = Machine::boot();
    bring_the_tree(&machine);
    machine.must("/root/tree/deploy/install");
    machine.serves();
    std::fs::write(machine.path("/etc/holdfast/holdfast.toml"), "standby = \"warm\"\n")
        .expect("its root is ours");
    run(async {
        let client = watch(&machine, "t");
        begin(&client, "t").await;
        let keeper = machine.pid_of(Role::Keeper).expect("a keeper");
        machine.must("/root/tree/deploy/install");
        machine.succeeded(Role::Keeper, keeper);
        goes_on(&client, "t").await;
        assert_eq!(crate::watcher::disconnected(&client), 0);
    });
    // The settings of /etc are the node's.
    holdfast_tests::wait::until_blocking("a warm standby", SOON, || {
        Slot::BOTH.iter().all(|slot| machine.pid_of(Role::Runtime(*slot)).is_some()).then_some(())
    });

    machine.must("/root/tree/deploy/uninstall");
    assert_eq!(machine.users_processes(), Vec::<i32>::new());
    assert!(machine.path(&format!("{HOME}/home.json")).exists());
    assert!(!machine.path("/usr/local/lib/holdfast").exists());
    assert!(!machine.run("command -v holdfast").status.success());
    let again = machine.run("/root/tree/deploy/uninstall --purge");
    assert!(again.status.success(), "{}", told(&again));
    assert!(!machine.path(HOME).exists() && !machine.path("/etc/holdfast").exists());
}
