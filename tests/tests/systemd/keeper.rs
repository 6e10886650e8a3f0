//! A promoted keeper under systemd: the same main process, and the installed one again when it does not live.

use crate::machine::{HOME, Machine, SOON};
use crate::operator::{AT_ONCE, alice, pack, with_operator};
use crate::watcher::{begin, disconnected, end, goes_on, watch};
use holdfast_shared::home::Role;
use holdfast_tests::faults::KEEPER_FAULTS;
use holdfast_tests::node::copy_without_symbols;
use holdfast_tests::{run, wait};
use std::io::Write;
use std::time::Duration;

/// Three starts, each until systemd misses its WATCHDOG, 10 s between them, on a machine that does other things too.
const GIVES_UP: Duration = Duration::from_secs(180);
/// In place of the unit's 60 s.
const WATCHDOG_SECONDS: u32 = 5;
/// Beyond the 10 s that are enough where systemd waits for no WATCHDOG.
const LONGER_WATCHDOG_SECONDS: u32 = 15;

fn release(machine: &Machine, version: &str, program: &str, end: &str) {
    let bundle = pack(machine, version, |bin| {
        copy_without_symbols(program, &bin.join("holdfast"));
        let file = std::fs::OpenOptions::new().append(true).open(bin.join("holdfast"));
        file.and_then(|mut file| file.write_all(end.as_bytes())).expect("a copy");
    });
    alice(machine, &format!("holdfast update {bundle}"));
    alice(machine, "holdfast promote");
}

fn keeper_is_promoted(machine: &Machine) -> bool {
    let pid = machine.pid_of(Role::Keeper).unwrap_or_default();
    let program = machine.run(&format!("readlink /proc/{pid}/exe"));
    String::from_utf8_lossy(&program.stdout).starts_with(&format!("{HOME}/root/"))
}

fn main_pid(machine: &Machine) -> Option<i32> {
    machine.must("systemctl show holdfast.service --property=MainPID --value").parse().ok()
}

fn with_watchdog(machine: &Machine, seconds: u32) {
    let directory = machine.path("/etc/systemd/system/holdfast.service.d");
    std::fs::create_dir_all(&directory).expect("its root is ours");
    let text = format!("[Service]\nWatchdogSec={seconds}\n");
    std::fs::write(directory.join("sooner.conf"), text).expect("its root is ours");
    machine.must("systemctl daemon-reload && systemctl restart holdfast");
    machine.serves();
}

#[test]
fn systemd_a_promoted_keeper_is_the_same_main_process_and_a_restart_brings_it_again() {
    let machine = Machine::boot();
    with_operator(&machine, AT_ONCE);
    with_watchdog(&machine, WATCHDOG_SECONDS);
    run(async {
        let client = watch(&machine, "t");
        let turn = begin(&client, "t").await;
        let (keeper, sidecar) = (machine.pid_of(Role::Keeper), machine.pid_of(Role::Sidecar));
        release(&machine, "9.0.0", "holdfast", "another");
        let shown = |machine: &Machine| {
            wait::until_blocking("a promoted keeper that has shown itself", SOON, || {
                let status = machine.status()?;
                (keeper_is_promoted(machine) && status["keeper"]["has_shown_itself"] == true).then_some(())
            });
        };
        shown(&machine);
        assert_eq!((machine.pid_of(Role::Keeper), main_pid(&machine)), (keeper, keeper));
        goes_on(&client, "t").await;
        // It says WATCHDOG: systemd would have ended it by now.
        assert_eq!(machine.state_of("holdfast.service"), "active");
        machine.kill(Role::Supervisor);
        machine.serves();
        assert_eq!(main_pid(&machine), keeper);
        machine.must("systemctl restart holdfast");
        machine.succeeded(Role::Keeper, keeper.expect("a keeper"));
        shown(&machine);
        assert_eq!(main_pid(&machine), machine.pid_of(Role::Keeper));
        assert_eq!(machine.pid_of(Role::Sidecar), sidecar);
        end(&machine, &client, "t", &turn).await;
        assert_eq!(disconnected(&client), 0);
    });
}

fn goes_on_with_the_installed_one(fault: &str, watchdog: u32) {
    let machine = Machine::boot();
    with_operator(&machine, AT_ONCE);
    with_watchdog(&machine, watchdog);
    run(async {
        let client = watch(&machine, "t");
        let turn = begin(&client, "t").await;
        release(&machine, "9.0.0", "faulty-holdfast", fault);
        wait::until_blocking("the installed keeper stays", GIVES_UP, || {
            let status = machine.status()?;
            status["keeper"]["gave_up"].is_string().then_some(())
        });
        machine.serves();
        assert!(!keeper_is_promoted(&machine));
        assert_eq!(main_pid(&machine), machine.pid_of(Role::Keeper));
        machine.kill(Role::Supervisor);
        machine.serves();
        goes_on(&client, "t").await;
        end(&machine, &client, "t", &turn).await;
        assert_eq!(disconnected(&client), 0);
    });
}

#[test]
fn systemd_a_promoted_keeper_that_ends_at_once_is_given_up() {
    goes_on_with_the_installed_one(KEEPER_FAULTS[2], WATCHDOG_SECONDS);
}

#[test]
fn systemd_a_promoted_keeper_that_hangs_is_given_up() {
    goes_on_with_the_installed_one(KEEPER_FAULTS[3], WATCHDOG_SECONDS);
}

/// It lives long enough to look well, were it not for systemd.
#[test]
fn systemd_a_promoted_keeper_that_says_no_watchdog_is_given_up() {
    goes_on_with_the_installed_one(KEEPER_FAULTS[4], LONGER_WATCHDOG_SECONDS);
}
