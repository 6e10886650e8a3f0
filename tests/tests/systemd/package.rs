//! The Debian package through a node's life: every process killed, unit restarted, package upgraded, removed.

use crate::machine::{HOME, Machine, SOON, prepared};
use crate::watcher::{begin, disconnected, end, goes_on, watch};
use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use holdfast_tests::work::{conversation, sealed};
use holdfast_tests::{run, wait};
use serde_json::{Value, json};

/// `systemd-analyze security` of the units is at most this, in tenths; docs/OPERATING.md says what it is made of.
const EXPOSURE_TENTHS: u32 = 22;

pub fn install(machine: &Machine, variable: &str) {
    let package = prepared(variable);
    machine.bring(&package, "/root");
    let name = package.file_name().expect("a file").to_string_lossy().into_owned();
    machine.must(&format!("dpkg -i /root/{name}"));
}

fn active_runtime(machine: &Machine) -> Role {
    let status = machine.status().expect("answers");
    Role::Runtime(
        Slot::from_name(status["active"]["slot"].as_str().expect("an active runtime")).expect("a or b"),
    )
}

#[test]
fn systemd_the_units_are_right_and_their_exposure_is_bounded() {
    let machine = Machine::boot();
    install(&machine, "HOLDFAST_SYSTEMD_PACKAGE");
    // Its exit code is 0 whatever it finds.
    let found = machine.run("systemd-analyze verify --man=no holdfast.service holdfast.socket holdfast.target holdfast-end.service holdfast-units.service holdfast-units.path");
    assert_eq!(String::from_utf8_lossy(&found.stderr), "");
    for unit in ["holdfast.service", "holdfast-end.service", "holdfast-units.service"] {
        machine.must(&format!(
            "systemd-analyze security --offline=yes --threshold={EXPOSURE_TENTHS} --no-pager /lib/systemd/system/{unit}"
        ));
    }
    machine.serves();
    assert_eq!(machine.state_of("holdfast.target"), "active");
    assert_eq!(machine.state_of("holdfast-units.path"), "active");
    assert_eq!(machine.must("systemctl is-enabled holdfast.target"), "enabled");
    assert_eq!(machine.must("systemctl is-enabled holdfast-units.path"), "enabled");
    // What the sandbox is, seen from outside, for every process of the node.
    let processes = machine.users_processes();
    assert!(processes.len() >= 4, "{processes:?}");
    for pid in processes {
        let status = machine.must(&format!("cat /proc/{pid}/status"));
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!(field("NoNewPrivs:"), Some("1"));
        assert_eq!(field("Seccomp:"), Some("2"));
        for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), Some("0000000000000000"), "{set}");
        }
    }
    // And as doctor lists it for people, members of the group included.
    machine.must("useradd -G holdfast carol");
    for reader in ["root", "carol"] {
        let told = machine.run(&format!("runuser -u {reader} -- holdfast doctor --json")).stdout;
        let told: Value = serde_json::from_slice(&told).expect("JSON");
        let listed = told["restrictions"].as_array().expect("a list");
        assert!(listed.len() >= 4, "{reader}: {told}");
        for one in listed {
            assert_eq!((&one["no_new_privs"], &one["seccomp"]), (&json!(true), &json!("filter")), "{one}");
            assert_eq!(one["effective_capabilities"], json!([]), "{one}");
            assert!(one["uid"].as_u64().is_some_and(|uid| uid > 0), "{one}");
        }
        let checks = told["checks"].as_array().expect("a list");
        let failed: Vec<&Value> = checks.iter().filter(|check| check["state"] == "fail").collect();
        assert!(failed.is_empty(), "{reader}: {failed:?}");
    }
    // Members of the group are operators, nobody else is.
    machine.must("useradd -G holdfast alice && useradd bob");
    machine.must("runuser -u alice -- holdfast status");
    assert!(!machine.run("runuser -u bob -- holdfast status").status.success());
}

#[test]
fn systemd_restart_kills_and_upgrade_close_no_socket_and_end_no_work() {
    let machine = Machine::boot();
    install(&machine, "HOLDFAST_SYSTEMD_PACKAGE");
    machine.serves();
    run(async {
        let client = watch(&machine, "t");
        let turn = begin(&client, "t").await;
        let sidecar = machine.pid_of(Role::Sidecar);
        let runtime = active_runtime(&machine);
        let before = machine.pid_of(runtime);

        let keeper = machine.pid_of(Role::Keeper).expect("a keeper");
        machine.must("systemctl restart holdfast");
        machine.succeeded(Role::Keeper, keeper);
        goes_on(&client, "t").await;
        assert_eq!((machine.pid_of(Role::Sidecar), machine.pid_of(runtime)), (sidecar, before));

        for role in [Role::Keeper, Role::Supervisor] {
            machine.kill(role);
            machine.serves();
            goes_on(&client, "t").await;
        }
        assert_eq!((machine.pid_of(Role::Sidecar), machine.pid_of(runtime)), (sidecar, before));
        machine.must(&format!("kill -KILL {}", machine.pid_of(runtime).expect("a runtime")));
        goes_on(&client, "t").await;
        machine.serves();

        let keeper = machine.pid_of(Role::Keeper).expect("a keeper");
        install(&machine, "HOLDFAST_SYSTEMD_NEWER_PACKAGE");
        machine.succeeded(Role::Keeper, keeper);
        machine.serves();
        goes_on(&client, "t").await;
        machine.must("holdfast switch");
        goes_on(&client, "t").await;
        assert_eq!(machine.pid_of(Role::Sidecar), sidecar);
        assert_eq!(disconnected(&client), 0);

        machine.kill(Role::Sidecar);
        goes_on(&client, "t").await;
        assert_eq!(disconnected(&client), 1);
        end(&machine, &client, "t", &turn).await;
        assert_eq!(disconnected(&client), 1);
    });
}

#[test]
fn systemd_stop_ends_everything_and_removal_keeps_the_data() {
    let machine = Machine::boot();
    install(&machine, "HOLDFAST_SYSTEMD_PACKAGE");
    machine.serves();
    run(async {
        let client = watch(&machine, "t");
        begin(&client, "t").await;
    });
    machine.must("systemctl stop holdfast.target");
    wait::until_blocking("no process of the node is left", SOON, || {
        machine.users_processes().is_empty().then_some(())
    });
    for unit in ["holdfast.service", "holdfast.socket", "holdfast-end.service"] {
        wait::until_blocking(unit, SOON, || (machine.state_of(unit) == "inactive").then_some(()));
    }

    machine.must("systemctl start holdfast.target");
    machine.serves();
    let turn = run(async {
        let client = watch(&machine, "t");
        client.ready().await;
        client
            .wait("the turn that was ended", SOON, |seen| {
                sealed(&seen.channel(&conversation("t")).events, "t1")
            })
            .await;
        begin(&watch(&machine, "u"), "u").await
    });
    assert_eq!(turn, "t1");
    // As people stop it; no connection is to start it again.
    machine.must("holdfast stop");
    assert_eq!(machine.users_processes(), Vec::<i32>::new());
    assert_eq!(machine.state_of("holdfast.socket"), "inactive");

    machine.must("dpkg -r holdfast");
    assert!(machine.path(&format!("{HOME}/home.json")).exists());
    assert!(!machine.path("/usr/lib/holdfast").exists());
    machine.must("dpkg -P holdfast");
    assert!(!machine.path(HOME).exists());
}
