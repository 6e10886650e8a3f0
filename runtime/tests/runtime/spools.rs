//! Spools that are long, or cannot be read for a while.

use crate::support::{Node, local, until};
use holdfast_shared::error::Code;
use holdfast_shared::home::Home;
use holdfast_shared::link::Purpose;
use holdfast_shared::slot::Slot;
use holdfast_shared::spool::segment_path;
use holdfast_shared::worker::EndedBy;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A file with a link to itself in its place, which nobody can open; put right again by [`Unreadable::mend`].
pub struct Unreadable {
    path: PathBuf,
    aside: PathBuf,
}

impl Unreadable {
    pub fn make(path: PathBuf) -> Self {
        let aside = path.with_extension("aside");
        std::os::unix::fs::symlink(&path, &aside).unwrap();
        exchange(&path, &aside);
        Self { path, aside }
    }

    pub fn spool(home: &Home, worker: &str) -> Self {
        Self::make(segment_path(&home.worker(worker), 0))
    }

    pub fn mend(self) {
        exchange(&self.path, &self.aside);
        std::fs::remove_file(&self.aside).unwrap();
    }
}

/// At once: a spool that is not there would be a worker that is lost.
fn exchange(one: &Path, other: &Path) {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).unwrap();
}

#[test]
fn a_candidate_that_is_caught_up_has_read_the_spools_of_running_turns() {
    local(async {
        let node = Node::new();
        let a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let worker = link.begin(&node, "demo").await;
        let line = "x".repeat(4000);
        (0..5_000).for_each(|_| node.say(&worker, &line));
        let b = node.runtime(Slot::B).await;
        let piece = b.link(Purpose::Probe, 0).await.read("conversation:demo", 5_000, 1, 1 << 16).await;
        assert_eq!((piece.top, piece.recovered), (5_001, true));
    });
}

#[test]
fn no_place_is_picked_while_a_spool_cannot_be_read() {
    local(async {
        let node = Node::new();
        let mut a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let worker = link.begin(&node, "demo").await;
        link.subscribe(1, "conversation:demo", "", Some(0)).await;
        (0..3).for_each(|_| node.say(&worker, "line\n"));
        link.events(1, 4).await;
        a.kill();

        let unreadable = Unreadable::spool(&node.home, &worker);
        let b = node.active(Slot::B, 2).await;
        let mut link = b.route(2).await;
        let prompt = json!({"task": "demo", "text": "second", "queue": true});
        for (method, params) in [("task.prompt", prompt.clone()), ("task.stop", json!({"task": "demo"}))] {
            let refused = link.call(method, params).await.unwrap_err();
            assert_eq!((refused.code, refused.retryable), (Code::Unavailable, true), "{method}");
        }
        link.subscribe(1, "conversation:demo", "", Some(4)).await;
        assert_eq!(link.channels[&1].failed.as_ref().map(|error| error.code), Some(Code::Unavailable));

        unreadable.mend();
        until("the spool is read again", async || link.call("task.prompt", prompt.clone()).await.ok()).await;
        link.subscribe(2, "conversation:demo", "", Some(0)).await;
        link.events(2, 5).await;
        node.exit(&worker, 0, EndedBy::Worker);
        let types =
            ["turn.started", "turn.output", "turn.output", "turn.output", "turn.queued", "turn.sealed"];
        link.event(2, "turn.sealed").await;
        assert_eq!(link.channels[&2].types()[..6], types, "behind all that was shown");
    });
}

#[test]
fn what_cannot_be_read_for_a_while_goes_on_from_where_it_was() {
    local(async {
        let node = Node::new();
        let a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let worker = link.begin(&node, "demo").await;
        (0..3).for_each(|_| node.say(&worker, "line\n"));
        until("all is there", async || {
            let piece = link.read("conversation:demo", 0, 0, 1 << 16).await;
            (piece.top == 4).then_some(())
        })
        .await;
        let unreadable = Unreadable::spool(&node.home, &worker);
        link.subscribe(1, "conversation:demo", "", Some(0)).await;
        // Whatever else goes over the link is not held up, and nobody is told to begin anew.
        link.call("task.open", json!({"task": "other", "skill": "command"})).await.unwrap();
        link.subscribe(2, "tasks", "", Some(0)).await;
        link.events(2, 3).await;
        assert_eq!(link.channels[&1].types(), [""; 0]);
        unreadable.mend();
        link.events(1, 4).await;
        assert_eq!(link.channels[&1].types(), ["turn.started", "turn.output", "turn.output", "turn.output"]);
        assert!(!link.channels[&1].reset);
    });
}

#[test]
fn a_turn_is_sealed_only_once_its_spool_is_synced() {
    local(async {
        let node = Node::new();
        let a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let worker = link.begin(&node, "demo").await;
        link.subscribe(1, "conversation:demo", "", Some(0)).await;
        node.say(&worker, "line\n");
        link.events(1, 2).await;
        let unreadable = Unreadable::spool(&node.home, &worker);
        node.exit(&worker, 0, EndedBy::Worker);
        until("the sync has failed", async || {
            let log = std::fs::read_to_string(node.home.logs().join("runtime-a.log")).unwrap();
            log.contains("its turn is sealed later").then_some(())
        })
        .await;
        let list = link.call("task.list", json!({})).await.unwrap();
        assert_eq!(list["tasks"][0]["state"], "active", "the loop goes on, the turn waits");
        unreadable.mend();
        link.event(1, "turn.sealed").await;
        assert_eq!(link.channels[&1].types(), ["turn.started", "turn.output", "turn.sealed"]);
    });
}
