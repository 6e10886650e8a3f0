//! Promotions that do not live: the previous root files are back, and the node serves.

use super::stage::{Program, STATE_DEADLINE, ended, node, pending, start, supervisor_is_promoted, working};
use holdfast_shared::home::Role;
use holdfast_tests::node::{Node, told};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// A program that cannot start.
const FAILS: &str = "#!/bin/sh\nexit 1\n";

/// Promotes; the command and the attempt say that it failed, and why.
async fn promotion_fails(node: &Node, reason: &str) {
    let promoted = node.holdfast_async(&["promote"]).await;
    assert_eq!(promoted.status.code(), Some(5), "{}", told(&promoted));
    let attempt = ended(node).await;
    assert_eq!((&attempt["state"], &attempt["failure_reason"]), (&json!("failed"), &json!(reason)));
}

/// A supervisor that cannot start: the keeper brings the previous one back, and the node serves.
#[test]
fn promotion_of_a_supervisor_that_cannot_start_is_put_back() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (_, runtime) = pending(&node, &Program::Text(FAILS), &Program::Other).await;
        promotion_fails(&node, "root_restored").await;
        assert!(!supervisor_is_promoted(&node));
        assert_eq!(node.active().await.1, runtime);
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
        working.ends_whole().await;
    });
}

/// Sets the time of a trial back, as if it had lasted for so long.
fn trial_has_lasted(node: &Node, milliseconds: i64) -> Option<()> {
    let path = node.home().root().join("in-use.json");
    let mut in_use: Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
    in_use["placed_at"] = json!(in_use["placed_at"].as_i64()? - milliseconds);
    let other = node.scratch().join("in-use.json");
    std::fs::write(&other, in_use.to_string()).expect("a new file");
    std::fs::rename(other, path).expect("the same file system");
    Some(())
}

/// A supervisor that hangs: when its time is over, the keeper ends it and brings the previous one back.
#[test]
fn promotion_of_a_supervisor_that_hangs_is_put_back_when_its_time_is_over() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let hangs = Program::Text("#!/bin/sh\nexec sleep 1000\n");
        let (_, runtime) = pending(&node, &hangs, &Program::Other).await;
        let supervisor = node.pid_of(Role::Supervisor).expect("a living supervisor");
        let promoting = start(&node, &["promote"]);
        wait::until("the supervisor hangs", STATE_DEADLINE, || {
            let line = std::fs::read(format!("/proc/{supervisor}/cmdline")).ok()?;
            line.starts_with(b"sleep").then_some(())
        })
        .await;
        trial_has_lasted(&node, 180_000).expect("a trial");
        let promoted = promoting.await.expect("the command came to its end");
        assert_eq!(promoted.status.code(), Some(5), "{}", told(&promoted));
        assert_eq!(ended(&node).await["failure_reason"], "root_restored");
        assert!(!processes::alive(supervisor) && !supervisor_is_promoted(&node));
        assert_eq!(node.active().await.1, runtime);
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
        working.ends_whole().await;
    });
}

/// A sidecar that cannot start: the promoted supervisor gives up at once, and everything is put back.
#[test]
fn promotion_of_a_sidecar_that_cannot_start_is_put_back() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (_, runtime) = pending(&node, &Program::Other, &Program::Text(FAILS)).await;
        promotion_fails(&node, "root_not_placed").await;
        wait::until("the previous supervisor", STATE_DEADLINE, || {
            (node.pid_of(Role::Supervisor).is_some() && !supervisor_is_promoted(&node)).then_some(())
        })
        .await;
        assert_eq!(node.active().await.1, runtime);
        working.ends_whole().await;
    });
}

/// One that the kernel does not execute is never placed; the supervisor does not even restart.
#[test]
fn promotion_of_what_is_no_program_is_not_placed() {
    run(async {
        let node = node("");
        pending(&node, &Program::Text("no program"), &Program::Same).await;
        let before = node.status().expect("a status");
        promotion_fails(&node, "root_not_placed").await;
        assert_eq!(node.status().expect("a status")["supervisor"], before["supervisor"]);
        node.switch().await.expect("the node serves");
    });
}

/// Confirmed, and later no program any more (a disk, a library, a mount): the keeper leaves it for what was before it.
#[test]
fn promotion_that_can_no_longer_be_executed_is_left_by_the_keeper() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (_, runtime) = pending(&node, &Program::Other, &Program::Same).await;
        let promoted = node.holdfast_async(&["promote"]).await;
        assert!(promoted.status.success(), "{}", told(&promoted));
        let supervisor = node.pid_of(Role::Supervisor).expect("a living supervisor");
        let program = std::fs::read_link(format!("/proc/{supervisor}/exe")).expect("it lives");
        let damaged = node.scratch().join("damaged");
        std::fs::write(&damaged, "no program any more").expect("a new file");
        std::fs::set_permissions(&damaged, std::fs::Permissions::from_mode(0o700)).expect("an own file");
        std::fs::rename(damaged, program).expect("the same file system");
        node.signal(Role::Supervisor, Signal::SIGKILL);
        wait::until("the supervisor before it", STATE_DEADLINE, || {
            (node.pid_of(Role::Supervisor).is_some_and(|pid| pid != supervisor)
                && !supervisor_is_promoted(&node))
            .then_some(())
        })
        .await;
        assert_eq!(node.active().await.1, runtime);
        wait::until("what is left of it is removed", STATE_DEADLINE, || {
            let below = std::fs::read_dir(node.home().root()).ok()?.flatten();
            (below.filter(|entry| entry.path().is_dir()).count() == 0).then_some(())
        })
        .await;
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
        working.ends_whole().await;
    });
}
