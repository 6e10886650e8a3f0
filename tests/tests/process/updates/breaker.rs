//! Releases that can no longer start, and ways back that are not the ordinary ones.

use super::world::World;
use super::{STATE_DEADLINE, start, update_is};
use holdfast_shared::home::Role;
use holdfast_tests::node::told;
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// What a broken release writes before it ends.
const LAST_WORDS: &str = "no such luck";

async fn node_is(world: &World, what: &str, level: impl Fn(&Value) -> bool) -> Value {
    let looked = async || world.node.status_async().await.filter(|status| level(status));
    wait::until_asked(what, STATE_DEADLINE, looked).await
}

#[test]
fn updates_a_release_that_can_no_longer_start_gives_way_to_the_one_before() {
    run(async {
        let world = World::new("").await;
        let updated = world.update(&world.breakable("9.0.0")).await;
        assert!(updated.status.success(), "{}", told(&updated));
        let (slot, pid) = world.node.active().await;
        assert_eq!(slot, world.serves.0.other());
        world.break_releases(true);
        processes::signal(pid, Signal::SIGKILL);
        let before = world.serves.0.name();
        let gave_way = |status: &Value| status["node"]["ready"] == true && status["active"]["slot"] == before;
        let status = node_is(&world, "the release before it serves", gave_way).await;
        let problems = status["node"]["problems"].to_string();
        assert!(problems.contains(LAST_WORDS), "{problems}");
        world.write("behind-it").await;
        world.unharmed().await;
    });
}

#[test]
fn updates_two_releases_that_cannot_start_are_degraded_until_one_can() {
    run(async {
        let world = World::new("").await;
        for version in ["9.0.0", "9.1.0"] {
            let updated = world.update(&world.breakable(version)).await;
            assert!(updated.status.success(), "{}", told(&updated));
        }
        let (_, pid) = world.node.active().await;
        world.break_releases(true);
        processes::signal(pid, Signal::SIGKILL);
        let status = node_is(&world, "degraded", |status| status["node"]["state"] == "degraded").await;
        assert_eq!(status["admission"], json!({"allowed": false, "reason": "degraded"}), "{status}");
        let both = |status: &Value| status["node"]["problems"].to_string().matches(LAST_WORDS).count() == 2;
        node_is(&world, "the last words of both", both).await;
        let doctor = world.node.holdfast_async(&["doctor"]).await;
        assert_eq!(doctor.status.code(), Some(4), "{}", told(&doctor));
        assert!(told(&doctor).contains(LAST_WORDS), "{}", told(&doctor));
        world.break_releases(false);
        world.node.active().await;
        world.write("behind-it").await;
        world.unharmed().await;
    });
}

#[test]
fn updates_a_prepared_release_that_had_to_serve_is_watched_and_kept() {
    run(async {
        let at_once = "[supervisor]\nminimum_update_period_ms = 0\ncountdown_ms = 8000\n";
        let world = World::with(at_once.to_owned()).await;
        let updated = world.update(&world.breakable("9.0.0")).await;
        assert!(updated.status.success(), "{}", told(&updated));
        let (_, pid) = world.node.active().await;
        let updating = start(&world.node, vec!["update".into(), world.pack("9.1.0")]);
        update_is(&world.node, "countdown", |update| update["state"] == "countdown").await;
        world.break_releases(true);
        processes::signal(pid, Signal::SIGKILL);
        update_is(&world.node, "probation", |update| update["state"] == "probation").await;
        let updated = updating.await.expect("the command came to its end");
        assert!(updated.status.success(), "{}", told(&updated));
        let attempt = world.newest();
        let steps = attempt["steps"].as_array().expect("the states").iter().map(|step| &step["state"]);
        let steps: Vec<&str> = steps.filter_map(Value::as_str).collect();
        assert_eq!(steps, ["preparing", "countdown", "probation", "succeeded"], "{attempt}");
        assert_eq!(world.node.active().await.0, world.serves.0);
        world.unharmed().await;
    });
}

/// Killed in probation, with settings that leave no room, and the old runtime gone: the way back has to make room.
#[test]
fn updates_a_way_back_without_memory_stops_the_new_runtime_first() {
    run(async {
        let world = World::new("").await;
        let updating = start(&world.node, vec!["update".into(), world.pack("9.0.0")]);
        update_is(&world.node, "probation", |update| update["state"] == "probation").await;
        let node = &world.node;
        let config = std::fs::read_to_string(node.home().config()).expect("it was written");
        let config = format!("{config}reserve_memory_bytes = 1000000000000000\n");
        std::fs::write(node.home().config(), config).expect("it is ours");
        let killed = node.signal(Role::Supervisor, Signal::SIGKILL);
        wait::until("another supervisor", STATE_DEADLINE, || {
            node.pid_of(Role::Supervisor).filter(|pid| *pid != killed)
        })
        .await;
        // It is in its journal at once, and may be taken back when the node is settled.
        let goes_on =
            |status: &Value| status["node"]["ready"] == true && status["update"]["state"] == "probation";
        node_is(&world, "probation goes on", goes_on).await;
        processes::signal(world.serves.1, Signal::SIGKILL);
        // A rollback to one whose death is not known yet would fail on the way.
        node_is(&world, "the old runtime is gone", |status| status["candidate"].is_null()).await;
        let back = node.holdfast_async(&["rollback"]).await;
        assert!(back.status.success(), "{}", told(&back));
        assert_eq!(updating.await.expect("the command came to its end").status.code(), Some(5));
        let attempt = world.newest();
        assert_eq!(
            (&attempt["state"], &attempt["transition_mode"]),
            (&json!("rolled_back"), &json!("stop_and_switch")),
            "{attempt}"
        );
        assert_eq!(node.active().await.0, world.serves.0);
        world.unharmed().await;
    });
}
