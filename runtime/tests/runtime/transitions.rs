//! From one runtime to the next: nothing is lost, repeated or written by two.

use crate::support::{DEADLINE, Node, local, new_id, operator, over_to, until};
use holdfast_shared::error::Code;
use holdfast_shared::link::{Purpose, ToSidecar};
use holdfast_shared::process::PidFd;
use holdfast_shared::runtime_control::{RuntimeReport, TransitionRole};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::TokenRole;
use holdfast_shared::worker::EndedBy;
use nix::sys::signal::Signal;
use serde_json::json;

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
        let b = over_to(&node, &a, Slot::B, 2).await;
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
