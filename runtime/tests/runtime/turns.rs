//! Turns of commands: shown from start to seal, each run once.

use crate::support::{Node, after_power_cut, local, new_id, operator, until};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::PIECE_BYTES;
use holdfast_shared::slot::Slot;
use holdfast_shared::spool::segment_path;
use holdfast_shared::worker::{EndedBy, is_abandoned};
use serde_json::json;
use std::io::Write;

#[test]
fn a_turn_is_shown_from_its_start_to_its_seal() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        link.subscribe(1, "tasks", "", None).await;
        let worker = link.begin(&node, "demo").await;
        link.subscribe(2, "conversation:demo", "", Some(0)).await;
        node.say(&worker, "one\n");
        node.say(&worker, "two\n");
        node.exit(&worker, 3, EndedBy::Worker);
        let sealed = link.event(2, "turn.sealed").await;
        assert_eq!((&sealed["stop_reason"], &sealed["exit_code"]), (&json!("end_turn"), &json!(3)));
        let types = ["turn.started", "turn.output", "turn.output", "turn.sealed"];
        assert_eq!(link.channels[&2].types(), types);
        assert_eq!(link.channels[&2].events()[2]["text"], "two\n");
        link.event(1, "turn.sealed").await;
        assert_eq!(link.channels[&1].types(), ["task.opened", "turn.started", "turn.sealed"]);
        let list = link.call("task.list", json!({})).await.unwrap();
        assert_eq!((&list["tasks"][0]["state"], &list["more"]), (&json!("idle"), &json!(false)));
    });
}

#[test]
fn two_copies_of_a_command_are_one() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        link.begin(&node, "demo").await;
        let queued = json!({"task": "demo", "text": "second", "queue": true});
        let id = new_id();
        let mut calls = Vec::new();
        for _ in 0..3 {
            calls.push(link.start("task.prompt", queued.clone(), &id, operator()).await);
        }
        for call in calls {
            assert_eq!(link.answer(call).await.unwrap(), json!({"turn": "t2"}));
        }
        let list = link.call("task.list", json!({})).await.unwrap();
        assert_eq!(list["tasks"][0]["queued"], json!(["t2"]));
    });
}

#[test]
fn a_cancel_before_the_start_keeps_the_worker_from_ever_starting() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let away = ApiError::new(Code::Unavailable, "the supervisor is busy");
        node.supervised.borrow_mut().refuse = Some(away);
        let mut link = runtime.route(1).await;
        link.call("task.open", json!({"task": "x", "skill": "command"})).await.unwrap();
        link.call("task.prompt", json!({"task": "x", "text": "a"})).await.unwrap();
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        let asked = until("the supervisor is asked", async || {
            node.supervised.borrow().requests.first().map(|request| request.spawn_id.clone())
        })
        .await;
        link.call("task.cancel", json!({"task": "x"})).await.unwrap();
        assert_eq!(link.event(1, "turn.sealed").await["stop_reason"], "cancelled");
        assert!(is_abandoned(&node.home.worker(&asked)).unwrap());
        let list = link.call("task.list", json!({})).await.unwrap();
        assert_eq!(list["tasks"][0]["state"], "idle");
    });
}

#[test]
fn a_worker_that_cannot_start_is_ordered_three_times_and_its_task_says_so() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let broken = ApiError::new(Code::BootstrapFailed, "no holder");
        node.supervised.borrow_mut().refuse = Some(broken);
        let mut link = runtime.route(1).await;
        link.call("task.open", json!({"task": "x", "skill": "command"})).await.unwrap();
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        link.subscribe(2, "task:x", "", Some(0)).await;
        link.call("task.prompt", json!({"task": "x", "text": "a"})).await.unwrap();
        link.call("task.prompt", json!({"task": "x", "text": "b", "queue": true})).await.unwrap();
        let sealed = link.event(2, "turn.sealed").await;
        assert_eq!((&sealed["state"], &sealed["stop_reason"]), (&json!("errored"), &json!("failed")));
        assert_eq!(sealed["error"], "no worker started in 3 tries");
        link.events(1, 4).await;
        let types = ["turn.started", "turn.queued", "turn.sealed", "turn.sealed"];
        assert_eq!(link.channels[&1].types(), types, "nothing waits for ever");
        let spawned: std::collections::BTreeSet<String> =
            node.supervised.borrow().requests.iter().map(|request| request.spawn_id.clone()).collect();
        assert_eq!(spawned.len(), 3, "each order is another worker");
        until("those given up are gone", async || {
            let left = std::fs::read_dir(node.home.workers()).unwrap().count();
            (left == 1).then_some(())
        })
        .await;
        node.supervised.borrow_mut().refuse = None;
        let opened = link.call("task.open", json!({"task": "x", "skill": "command"})).await.unwrap();
        assert_eq!(opened["mode"], "recovered");
        link.call("task.prompt", json!({"task": "x", "text": "c"})).await.unwrap();
        node.worker("x", "t3").await;
    });
}

#[test]
fn a_lost_worker_seals_its_turn_with_all_that_it_said() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        let worker = link.begin(&node, "x").await;
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        node.say(&worker, "last words");
        drop(node.supervised.borrow_mut().workers.remove(&worker));
        assert_eq!(link.event(1, "turn.sealed").await["stop_reason"], "interrupted");
        assert_eq!(link.channels[&1].types(), ["turn.started", "turn.output", "turn.sealed"]);
        assert_eq!(node.supervised.borrow().requests.len(), 1, "nothing is run twice");
    });
}

#[test]
fn after_a_power_cut_the_spool_is_cut_the_turn_interrupted_and_the_epoch_new() {
    local(async {
        let node = Node::new();
        let mut a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let worker = link.begin(&node, "x").await;
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        node.say(&worker, "kept");
        link.events(1, 2).await;
        let epoch = link.channels[&1].subscribed.clone().unwrap().0;
        a.kill();
        drop(node.supervised.borrow_mut().workers.remove(&worker));
        let spool = segment_path(&node.home.worker(&worker), 0);
        let good = std::fs::metadata(&spool).unwrap().len();
        std::fs::File::options().append(true).open(&spool).unwrap().write_all(&[7; 100]).unwrap();
        let (_b, mut link) = after_power_cut(&node, &epoch).await;
        link.subscribe(2, "conversation:x", "", Some(0)).await;
        assert_eq!(link.event(2, "turn.sealed").await["stop_reason"], "interrupted");
        assert_eq!(link.channels[&2].types(), ["turn.started", "turn.output", "turn.sealed"]);
        assert_eq!(std::fs::metadata(&spool).unwrap().len(), good, "cut to its last good record");
    });
}

#[test]
fn a_late_joiner_of_a_long_turn_gets_it_whole_through_the_window() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        let worker = link.begin(&node, "x").await;
        let line = "x".repeat(400);
        for _ in 0..20_000 {
            node.say(&worker, &line);
        }
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        link.events(1, 20_001).await;
        node.exit(&worker, 0, EndedBy::Worker);
        link.event(1, "turn.sealed").await;
        let piece = link.read("conversation:x", 10_000, 10_000, u32::MAX).await;
        let bytes: usize = piece.publications.iter().map(|one| one.data.len()).sum();
        assert!(bytes <= PIECE_BYTES as usize, "{bytes}");
        assert_eq!((piece.publications[0].offset, piece.top, piece.recovered), (10_001, 20_002, true));
    });
}
