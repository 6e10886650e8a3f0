//! SIGKILL at every step of staging, in a process of its own.

use super::support::{VERSION, World, rules};
use holdfast_shared::home::Home;
use holdfast_shared::slot::Slot;
use holdfast_supervisor::io::bundle::{StageProgress, TrustedKeys, stage, verify};
use nix::sys::signal::{Signal, raise};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

/// This test's name, for the process that is to be killed: this very program.
const NAME: &str = "bundle::interrupted::killed_at_any_step_the_slot_is_the_old_or_the_new_release";
/// `<step> <home> <bundle>` for that process.
const VICTIM: &str = "HOLDFAST_TEST_KILLED_STAGING";
/// More steps than there are: the victim must have come to its end before.
const STEPS: usize = 100;

/// Stages and is killed in its n-th report of progress.
fn victim(order: &str) {
    let [at, home, bundle] = order.split(' ').collect::<Vec<&str>>()[..] else { panic!("{order}") };
    let (at, home, bundle): (usize, Home, PathBuf) = (at.parse().unwrap(), Home::new(home), bundle.into());
    let verified = verify(&bundle, &TrustedKeys::load(&home.keys()).unwrap(), &rules()).unwrap();
    let mut count = 0;
    let killed = &mut |_: StageProgress| {
        count += 1;
        if count == at {
            raise(Signal::SIGKILL).unwrap();
        }
    };
    stage(&verified, Slot::B, &home, &format!("attempt-{at}"), killed).unwrap();
}

fn run_victim(world: &World, at: usize, bundle: &std::path::Path) -> ExitStatus {
    let order = format!("{at} {} {}", world.home.path().display(), bundle.display());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([NAME, "--exact", "--test-threads=1"]).env(VICTIM, order);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.signal() == Some(9) || said.contains("1 passed"), "{said}");
    output.status
}

#[test]
fn killed_at_any_step_the_slot_is_the_old_or_the_new_release() {
    if let Ok(order) = std::env::var(VICTIM) {
        return victim(&order);
    }
    let world = World::new();
    let (old, new) = (world.pack(VERSION), world.pack("2.0.0"));
    let mut kills = 0;
    for at in 1..STEPS {
        // As before the update, whatever the last kill left.
        let _ = std::fs::remove_file(world.home.keys().join("seen.json"));
        world.stage(&old, Slot::B).unwrap();
        assert!(world.beside_slots().is_empty(), "cleaned up after kill {at}: {:?}", world.beside_slots());
        if run_victim(&world, at, &new).success() {
            break;
        }
        kills += 1;
        let version = world.version_in(Slot::B);
        assert!([VERSION, "2.0.0"].contains(&version.as_str()), "kill {at}: {version}");
    }
    assert!((10..STEPS - 2).contains(&kills), "{kills} kills");
    assert_eq!(world.version_in(Slot::B), "2.0.0");
}
