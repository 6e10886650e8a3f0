//! A signed release handed to the node: whatever it does, it ends in a named state, and the node serves.

mod breaker;
mod handed_over;
pub mod live_work;
mod world;

use holdfast_shared::durable_file;
use holdfast_shared::version::VersionRange;
use holdfast_shared::worker::Started;
use holdfast_tests::node::{Node, told};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::process::Output;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use world::World;

const STATE_DEADLINE: Duration = Duration::from_secs(60);
/// Abilities as they are.
const SAME: &str = "cat";

fn start(node: &Rc<Node>, arguments: Vec<String>) -> JoinHandle<Output> {
    let node = node.clone();
    tokio::task::spawn_local(async move {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        node.holdfast_async(&arguments).await
    })
}

async fn update_is(node: &Node, what: &str, level: impl Fn(&Value) -> bool) {
    let looked = async || node.status_async().await.filter(|status| level(&status["update"]));
    wait::until_asked(what, STATE_DEADLINE, looked).await;
}

#[test]
fn updates_a_signed_release_is_installed_once_and_can_be_rolled_back() {
    run(async {
        let world = World::new("").await;
        let node = world.node.clone();
        let bundle = world.pack_from("9.0.0", None);
        let updated = world.update(&bundle).await;
        assert!(updated.status.success(), "{}", told(&updated));
        let attempt = world.newest();
        assert_eq!((&attempt["state"], &attempt["target_version"]), (&json!("succeeded"), &json!("9.0.0")));
        let (slot, _) = node.active().await;
        assert_eq!(node.json(&["status", "--json"])["active"]["release"], "9.0.0");

        let again = world.update(&bundle).await;
        assert!(again.status.success(), "{}", told(&again));
        assert_eq!(world.newest()["failure_reason"], "deduplicated");
        assert_eq!(node.active().await.0, slot);

        let back = node.holdfast_async(&["rollback"]).await;
        assert!(back.status.success(), "{}", told(&back));
        assert_eq!(node.active().await.0, slot.other());
        world.unharmed().await;
    });
}

#[test]
fn updates_a_bundle_that_is_not_right_leaves_the_node_as_it_was() {
    run(async {
        let world = World::new("").await;
        let bundle = world.pack("9.0.0");
        let mut bytes = std::fs::read(&bundle).expect("the bundle");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&bundle, bytes).expect("the bundle");
        world.fails(&bundle, "preparing", "bundle_signature_invalid").await;
        let nowhere = world.update("/nowhere/at.all").await;
        assert_eq!(nowhere.status.code(), Some(5), "{}", told(&nowhere));
        assert!(told(&nowhere).contains("/nowhere/at.all"), "{}", told(&nowhere));
        world.node.switch().await.expect("a switch works");
        world.unharmed().await;
    });
}

#[test]
fn updates_a_release_that_crashes_at_once() {
    run(async {
        let world = World::new("").await;
        let bundle = world.faulty("9.1.0", "echo 'no such luck' >&2; exit 1", SAME);
        world.fails(&bundle, "prewarming", "candidate_died").await;
        world.unharmed().await;
    });
}

#[test]
fn updates_a_release_that_is_never_ready() {
    run(async {
        let world = World::new("prewarming_ms = 1000\n").await;
        let bundle = world.faulty("9.1.0", "exec sleep 1000", SAME);
        world.fails(&bundle, "prewarming", "candidate_not_ready").await;
        assert_eq!(world.newest()["deferred"], true);
        world.unharmed().await;
    });
}

#[test]
fn updates_a_release_that_is_ready_but_dead_on_the_browsers_path() {
    run(async {
        let world = World::new("prewarming_ms = 3000\n").await;
        let fault = "( while [ ! -S \"$home/run/$slot.link\" ]; do :; done; rm \"$home/run/$slot.link\" ) &";
        let bundle = world.faulty("9.1.0", fault, SAME);
        world.fails(&bundle, "admitted", "not_admitted").await;
        world.unharmed().await;
    });
}

#[test]
fn updates_a_release_that_dies_in_probation_is_taken_back_with_every_write() {
    run(async {
        let world = World::new("").await;
        let bundle = world.faulty("9.1.0", "( sleep 5; kill -9 $$ ) &", SAME);
        let updating = start(&world.node, vec!["update".into(), bundle]);
        update_is(&world.node, "probation", |update| update["state"] == "probation").await;
        world.write("in-probation").await;
        let updated = updating.await.expect("the command came to its end");
        assert_eq!(updated.status.code(), Some(5), "{}", told(&updated));
        let attempt = world.newest();
        assert_eq!(
            (&attempt["state"], &attempt["failure_reason"]),
            (&json!("rolled_back"), &json!("settled_on_old")),
            "{attempt}"
        );
        assert_eq!(world.node.active().await, world.serves);
        assert!(world.knows("in-probation").await);
        world.unharmed().await;
    });
}

#[test]
fn updates_a_release_that_dies_after_20_seconds_is_started_again() {
    run(async {
        let world = World::new("").await;
        let bundle = world.faulty("9.1.0", "( sleep 20; kill -9 $$ ) &", SAME);
        let updated = world.update(&bundle).await;
        assert!(updated.status.success(), "{}", told(&updated));
        let (slot, pid) = world.node.active().await;
        wait::until("its death", STATE_DEADLINE, || (!processes::alive(pid)).then_some(())).await;
        let (again, other) = world.node.active().await;
        assert_eq!(again, slot, "a death after its start is no failed start");
        assert_ne!(other, pid);
        world.unharmed().await;
    });
}

#[test]
fn updates_a_release_that_grows_past_its_memory() {
    run(async {
        let world = World::new("candidate_limit_bytes = 209715200\n").await;
        let fault = "exec perl -e '$x = \"x\" x 400_000_000; sleep 1000'";
        let bundle = world.faulty("9.1.0", fault, SAME);
        world.fails(&bundle, "prewarming", "candidate_too_large").await;
        world.unharmed().await;
    });
}

#[test]
fn updates_a_release_whose_records_the_old_one_must_understand_is_not_rolled_back() {
    run(async {
        let world = World::new("").await;
        let newer = "sed -E 's/\"(reads|writes|must_understand)\":\\[/&\"task.moved\",/g'";
        let bundle = world.faulty("9.1.0", "", newer);
        let updated = world.update(&bundle).await;
        assert!(updated.status.success(), "{}", told(&updated));
        let serves = world.node.active().await;
        let back = world.node.holdfast_async(&["rollback"]).await;
        assert_eq!(back.status.code(), Some(5), "{}", told(&back));
        assert!(told(&back).contains("task.moved"), "{}", told(&back));
        assert_eq!(world.node.active().await, serves);
        world.unharmed().await;
    });
}

#[test]
fn updates_a_release_that_a_running_workers_holder_does_not_understand() {
    run(async {
        let world = World::new("").await;
        let bundle = world.pack("9.0.0");
        // As if the holder of the turn that runs were of an earlier release.
        let mut workers = std::fs::read_dir(world.node.home().workers()).expect("the workers").flatten();
        let worker = workers.next().expect("a living one").path();
        let mut started = Started::read(&worker).expect("readable").expect("it was started");
        started.contracts.insert("spool".into(), VersionRange::only(7));
        let text = serde_json::to_vec(&started).expect("it is plain");
        durable_file::write(&Started::path(&worker), &text).expect("its directory is ours");
        world.fails(&bundle, "preparing", "not_admitted").await;
        let attempts = told(&world.node.holdfast(&["attempts"]));
        assert!(attempts.contains("a running worker's holder speaks 7 to 7"), "{attempts}");
        let switched = world.node.switch().await.expect_err("a switch is refused, too");
        assert!(switched.contains("holder"), "{switched}");
        world.unharmed().await;
    });
}

#[test]
fn updates_too_little_memory_waits_once_and_then_stops_the_old_one_first() {
    run(async {
        let world = World::new("reserve_memory_bytes = 1000000000000000\n").await;
        let bundle = world.pack("9.0.0");
        let updated = world.update(&bundle).await;
        assert!(updated.status.success(), "{}", told(&updated));
        assert!(told(&updated).contains("memory_blocked"), "{}", told(&updated));
        assert!(told(&updated).contains("the old one is stopped before"), "{}", told(&updated));
        let attempt = world.newest();
        assert_eq!(attempt["transition_mode"], "stop_and_switch", "{attempt}");
        assert_eq!(attempt["deferred"], true, "{attempt}");
        assert_eq!(world.node.active().await.0, world.serves.0.other());
        world.unharmed().await;
    });
}

#[test]
fn updates_too_little_memory_may_wait_for_ever_and_is_cancelled() {
    run(async {
        let world = World::new("reserve_memory_bytes = 1000000000000000\non_low_memory = \"defer\"\n").await;
        let switching = start(&world.node, vec!["switch".into()]);
        let waits = |update: &Value| update["planned_reason"] == "memory_blocked";
        update_is(&world.node, "it waits", waits).await;
        let cancelled = world.node.holdfast_async(&["update", "cancel"]).await;
        assert!(cancelled.status.success(), "{}", told(&cancelled));
        let switched = switching.await.expect("the command came to its end");
        assert_eq!(switched.status.code(), Some(5), "{}", told(&switched));
        assert_eq!(world.newest()["state"], "cancelled");
        assert_eq!(world.node.active().await, world.serves);
        world.unharmed().await;
    });
}

#[test]
fn updates_the_supervisor_is_killed_while_a_release_is_prepared() {
    run(async {
        let world = World::new("").await;
        let bundle = world.pack("9.0.0");
        let updating = start(&world.node, vec!["update".into(), bundle]);
        update_is(&world.node, "preparing", |update| update["state"] == "preparing").await;
        world.node.signal(holdfast_shared::home::Role::Supervisor, Signal::SIGKILL);
        let updated = updating.await.expect("the command came to its end");
        assert!(updated.status.success(), "{}", told(&updated));
        assert_eq!(world.newest()["state"], "succeeded");
        assert_eq!(world.node.active().await.0, world.serves.0.other());
        world.unharmed().await;
    });
}
