//! The real runtime process, with a supervisor, a sidecar and workers that the test plays.

#![allow(clippy::unwrap_used)]

mod agent;
mod agent_answers;
mod agent_damage;
mod agent_edges;
mod agent_lost;
mod agents;
mod full;
mod identity;
mod spools;
mod support;
mod waiting;

use holdfast_runtime::record::{Body, KINDS, NodeBooted, Record};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::journal::{Limits, RealDisk, Request, TakeOver};
use holdfast_shared::link::{PIECE_BYTES, Purpose, ToSidecar};
use holdfast_shared::process::PidFd;
use holdfast_shared::runtime_control::{RuntimeReport, TransitionRole};
use holdfast_shared::slot::Slot;
use holdfast_shared::spool::segment_path;
use holdfast_shared::token::TokenRole;
use holdfast_shared::worker::{EndedBy, is_abandoned};
use nix::sys::signal::Signal;
use serde_json::json;
use std::io::Write;
use support::{DEADLINE, Node, local, new_id, operator, until};

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
fn a_switch_loses_and_repeats_nothing_and_an_answer_is_given_again() {
    local(async {
        let node = Node::new();
        let a = node.active(Slot::A, 1).await;
        let mut before = a.route(1).await;
        let worker = before.begin(&node, "demo").await;
        before.subscribe(1, "conversation:demo", "", Some(0)).await;
        node.say(&worker, "one\n");
        before.events(1, 2).await;
        let id = new_id();
        let queued = json!({"task": "demo", "text": "second", "queue": true});
        let call = before.start("task.prompt", queued.clone(), &id, operator()).await;
        let answer = before.answer(call).await.unwrap();
        assert_eq!(answer, json!({"turn": "t2"}));
        let seen = before.events(1, 3).await;

        let b = node.runtime(Slot::B).await;
        let fenced = node.fence(&a, 1).await.unwrap();
        assert_eq!(node.fence(&a, 1).await.unwrap().last, fenced.last, "repeated");
        while before.receive().await {}
        node.say(&worker, "two\n");
        let activated = node.activate(&b, 2).await.unwrap();
        assert_eq!((activated.last.epoch, activated.last.lsn), (2, fenced.last.lsn + 1));
        assert_eq!(node.ask(&a).await.transition_role, TransitionRole::Retired);

        let mut after = b.route(2).await;
        let (epoch, _, _, _) = before.channels[&1].subscribed.clone().unwrap();
        after.subscribe(1, "conversation:demo", &epoch, Some(3)).await;
        assert!(after.channels[&1].subscribed.as_ref().unwrap().3, "recovered");
        let again = after.start("task.prompt", queued, &id, operator()).await;
        assert_eq!(after.answer(again).await.unwrap(), answer, "the same answer");
        let other = json!({"task": "demo", "text": "other", "queue": true});
        let reused = after.start("task.prompt", other, &id, operator()).await;
        assert_eq!(after.answer(reused).await.unwrap_err().code, Code::CommandIdReused);

        node.exit(&worker, 0, EndedBy::Worker);
        let second = node.worker("demo", "t2").await;
        node.exit(&second, 0, EndedBy::Worker);
        let rest = after.events(1, 4).await;
        let all: Vec<String> = seen.iter().chain(&rest).map(|event| event["type"].to_string()).collect();
        let expected = [
            "turn.started",
            "turn.output",
            "turn.queued",
            "turn.output",
            "turn.sealed",
            "turn.started",
            "turn.sealed",
        ];
        assert_eq!(all, expected.map(|name| format!("{name:?}")));
        let piece = after.read("conversation:demo", 0, 100, 1 << 20).await;
        let read: Vec<u64> = piece.publications.iter().map(|one| one.offset).collect();
        assert_eq!(read, (1..=7).collect::<Vec<u64>>());
        assert_eq!(node.supervised.borrow().requests.len(), 2, "each worker was asked for once");
    });
}

#[test]
fn a_killed_active_comes_back_and_nothing_is_run_twice() {
    local(async {
        let node = Node::new();
        let mut a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let worker = link.begin(&node, "demo").await;
        let id = new_id();
        let params = json!({"task": "demo"});
        let call = link.start("task.cancel", params.clone(), &id, operator()).await;
        let answer = link.answer(call).await.unwrap();
        a.kill();
        node.say(&worker, "said while nobody listened\n");

        let b = node.active(Slot::B, 2).await;
        let mut link = b.route(2).await;
        let again = link.start("task.cancel", params, &id, operator()).await;
        assert_eq!(link.answer(again).await.unwrap(), answer);
        until("the new active tells the worker again", async || {
            let supervised = node.supervised.borrow();
            supervised.workers[&worker].told_to_end().filter(|epoch| *epoch == 2)
        })
        .await;
        node.exit(&worker, 143, EndedBy::Cancel);
        link.subscribe(1, "conversation:demo", "", Some(0)).await;
        let sealed = link.event(1, "turn.sealed").await;
        assert_eq!(sealed["stop_reason"], "cancelled");
        assert_eq!(link.channels[&1].types(), ["turn.started", "turn.output", "turn.sealed"]);
        assert_eq!(node.supervised.borrow().requests.len(), 1, "alive workers are not asked for");
    });
}

#[test]
fn a_passive_runtime_answers_probes_and_reads_and_changes_nothing() {
    local(async {
        let node = Node::new();
        let a = node.active(Slot::A, 1).await;
        let mut route = a.route(1).await;
        route.call("task.open", json!({"task": "x", "skill": "command"})).await.unwrap();
        let b = node.runtime(Slot::B).await;
        let mut probe = b.link(Purpose::Probe, 0).await;
        assert!(matches!(
            &probe.hello,
            ToSidecar::Hello { epoch: None, role: TransitionRole::Candidate, .. }
        ));
        let refused = probe.call("task.stop", json!({"task": "x"})).await.unwrap_err();
        assert_eq!(refused.code, Code::NotActive);
        let mut caller = operator();
        caller.role = TokenRole::Probe;
        let call = probe.start("node.probe", json!({}), "", caller.clone()).await;
        let answer = probe.answer(call).await.unwrap();
        assert_eq!(
            (&answer["slot"], &answer["role"], &answer["epoch"]),
            (&json!("b"), &json!("candidate"), &json!(null))
        );
        let call = probe.start("task.list", json!({}), "", caller).await;
        assert_eq!(probe.answer(call).await.unwrap_err().code, Code::Forbidden);
        until("the candidate has followed", async || {
            let list = probe.call("task.list", json!({})).await.unwrap();
            (list["tasks"][0]["task"] == "x").then_some(())
        })
        .await;
        let mut wrong = b.route(1).await;
        assert!(matches!(&wrong.hello, ToSidecar::Hello { epoch: None, .. }));
        assert!(!wrong.receive().await, "a route to a passive runtime is closed");
    });
}

#[test]
fn a_stale_decision_is_refused_and_a_second_writer_impossible() {
    local(async {
        let node = Node::new();
        let a = node.active(Slot::A, 5).await;
        let b = node.runtime(Slot::B).await;
        let refused = node.activate(&b, 6).await.unwrap_err().to_string();
        assert!(refused.contains("locked"), "{refused}");
        let refused = node.activate(&a, 6).await.unwrap_err().to_string();
        assert!(refused.contains("active with epoch 5 already"), "{refused}");
        let stale = holdfast_shared::runtime_control::Ask { decision: Default::default(), settled: false };
        let refused = a.control.post::<_, serde_json::Value>("/v1/ask", &stale, DEADLINE).await.unwrap_err();
        let holdfast_shared::control::CallError::Refused(error) = refused else { panic!("{refused}") };
        assert_eq!((error.code, &error.details["highest"]["generation"]), (Code::StaleDecision, &json!(1)));
        node.fence(&a, 5).await.unwrap();
        let refused = node.activate(&b, 5).await.unwrap_err().to_string();
        assert!(refused.contains("not fresh"), "{refused}");
        node.activate(&b, 6).await.unwrap();
    });
}

#[test]
fn truncation_is_held_from_the_take_over_until_the_attempt_has_settled() {
    local(async {
        let node = Node::new();
        let a = node.active(Slot::A, 5).await;
        let b = node.runtime(Slot::B).await;
        assert!(node.ask(&a).await.truncation_held);
        assert!(!node.ask(&b).await.truncation_held, "it truncates nothing anyway");
        let settled = holdfast_shared::runtime_control::Ask { decision: node.decision(), settled: true };
        for runtime in [&a, &b] {
            let report: RuntimeReport = runtime.control.post("/v1/ask", &settled, DEADLINE).await.unwrap();
            assert!(!report.truncation_held);
        }
        node.fence(&a, 5).await.unwrap();
        node.activate(&b, 6).await.unwrap();
        assert!(node.ask(&b).await.truncation_held, "each take-over begins anew");
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
        write_other_boot(&node, 2);

        let b = node.active(Slot::B, 3).await;
        let mut link = b.route(3).await;
        link.subscribe(1, "conversation:x", &epoch, Some(2)).await;
        let (new_epoch, _, _, recovered) = link.channels[&1].subscribed.clone().unwrap();
        assert!(new_epoch != epoch && !recovered, "{new_epoch}");
        link.subscribe(2, "conversation:x", "", Some(0)).await;
        assert_eq!(link.event(2, "turn.sealed").await["stop_reason"], "interrupted");
        assert_eq!(link.channels[&2].types(), ["turn.started", "turn.output", "turn.sealed"]);
        assert_eq!(std::fs::metadata(&spool).unwrap().len(), good, "cut to its last good record");
    });
}

/// Says in the journal that the last active ran in another boot.
pub(crate) fn write_other_boot(node: &Node, epoch: u64) {
    let request = Request {
        epoch,
        owner: "test".into(),
        instance: "test".into(),
        release: "test".into(),
        at_ms: 1,
        first: false,
        journal_id: uuid::Uuid::nil(),
        known_kinds: KINDS,
        limits: Limits::SMALL,
    };
    let (mut writer, _) =
        TakeOver::begin(&node.home.journal(), std::sync::Arc::new(RealDisk), request).unwrap();
    let booted = NodeBooted { boot_id: "another".into(), channel_epoch: String::new(), cut: Vec::new() };
    writer.append(&[Record::new(1, Body::NodeBooted(booted)).encode()]).unwrap();
    writer.fence().unwrap();
}

#[test]
fn a_hostile_link_is_closed_and_no_other_is_touched() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut good = runtime.route(1).await;
        let mut wrong_epoch = runtime.route(1).await;
        wrong_epoch.pretend_epoch(2);
        wrong_epoch.start("task.list", json!({}), "", operator()).await;
        let mut rubbish = runtime.route(1).await;
        rubbish.send_raw(&[0xff; 64]).await;
        let mut unknown = runtime.route(1).await;
        unknown.send_raw(&frame(1, br#"{"explode":{}}"#)).await;
        for link in [&mut wrong_epoch, &mut rubbish, &mut unknown] {
            while link.receive().await {}
        }
        good.call("task.list", json!({})).await.unwrap();
        let unknown = good.call("task.explode", json!({})).await.unwrap_err();
        assert_eq!(unknown.code, Code::UnknownMethod);
        good.subscribe(1, "conversation:none", "", None).await;
        assert_eq!(good.channels[&1].failed.as_ref().unwrap().code, Code::UnknownChannel);
    });
}

/// A frame with this JSON text.
fn frame(epoch: u64, text: &[u8]) -> Vec<u8> {
    let mut frame = ((10 + text.len()) as u32).to_le_bytes().to_vec();
    frame.extend(epoch.to_le_bytes());
    frame.extend([0, 0]);
    frame.extend(text);
    frame
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

#[test]
fn what_a_checkpoint_holds_is_what_a_new_candidate_knows() {
    local(async {
        let node = Node::new();
        let a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let id = new_id();
        let open = json!({"task": "first", "skill": "command"});
        let call = link.start("task.open", open.clone(), &id, operator()).await;
        let answer = link.answer(call).await.unwrap();
        for number in 0..200 {
            let task = format!("t{number}");
            link.call("task.open", json!({"task": task, "skill": "command"})).await.unwrap();
        }
        until("a checkpoint", async || {
            let mut names =
                std::fs::read_dir(node.home.journal()).unwrap().map(|entry| entry.unwrap().file_name());
            names.any(|name| name.to_string_lossy().ends_with(".checkpoint")).then_some(())
        })
        .await;
        let before = link.call("task.list", json!({})).await.unwrap();
        let b = node.runtime(Slot::B).await;
        node.fence(&a, 1).await.unwrap();
        node.activate(&b, 2).await.unwrap();
        let mut link = b.route(2).await;
        assert_eq!(link.call("task.list", json!({})).await.unwrap(), before);
        let again = link.start("task.open", open, &id, operator()).await;
        assert_eq!(link.answer(again).await.unwrap(), answer, "answers are in checkpoints too");
    });
}

#[test]
fn told_to_end_it_gives_the_journal_back_and_succeeds() {
    local(async {
        let node = Node::new();
        let mut a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        link.call("task.open", json!({"task": "x", "skill": "command"})).await.unwrap();
        let pid = PidFd::open(a.child.id().cast_signed()).unwrap();
        pid.send_signal(Signal::SIGTERM).unwrap();
        assert!(a.child.wait().unwrap().success());
        let b = node.active(Slot::B, 2).await;
        let list = b.route(2).await.call("task.list", json!({})).await.unwrap();
        assert_eq!(list["tasks"][0]["task"], "x");
    });
}
