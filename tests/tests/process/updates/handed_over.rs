//! A bundle is the node's own from when it was handed over.

use super::world::World;
use super::{STATE_DEADLINE, start, update_is};
use holdfast_shared::home::Role;
use holdfast_tests::node::told;
use holdfast_tests::{run, wait};
use nix::sys::signal::Signal;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What nobody names is kept for a minute after it was touched last.
const LONG_AGO: Duration = Duration::from_secs(120);

fn incoming(world: &World) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(world.node.home().incoming()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn age(path: &Path) {
    let file = OpenOptions::new().append(true).open(path).expect("it is ours");
    file.set_modified(SystemTime::now() - LONG_AGO).expect("it is ours");
}

/// Planned, its file removed, the supervisor killed meanwhile: it is installed when it is due, and then swept.
#[test]
fn updates_a_planned_bundle_may_be_removed_by_whoever_handed_it_over() {
    run(async {
        let config = "[supervisor]\nminimum_update_period_ms = 6000\ncountdown_ms = 0\n";
        let world = World::with(config.to_owned()).await;
        let (first, bundle) = (world.pack("9.0.0"), world.pack("9.1.0"));
        let updated = world.update(&first).await;
        assert!(updated.status.success(), "{}", told(&updated));
        let updating = start(&world.node, vec!["update".into(), bundle.clone()]);
        let planned = |update: &serde_json::Value| update["planned_reason"] == "minimum_update_period";
        update_is(&world.node, "planned", planned).await;
        std::fs::remove_file(&bundle).expect("it is ours");
        std::fs::remove_file(format!("{bundle}.minisig")).expect("it is ours");
        incoming(&world).iter().for_each(|path| age(path));
        world.node.signal(Role::Supervisor, Signal::SIGKILL);
        let updated = updating.await.expect("the command came to its end");
        assert!(updated.status.success(), "{}", told(&updated));
        assert_eq!(world.newest()["target_version"], "9.1.0");
        incoming(&world).iter().for_each(|path| age(path));
        wait::until("nothing of it is left", STATE_DEADLINE, || incoming(&world).is_empty().then_some(()))
            .await;
        world.unharmed().await;
    });
}
