//! How turns and their agents end: cancelled, lost, silent, never started.

use crate::agent::{Agent, Heard};
use crate::agents::{begin, begin_turn, opened, prompt, same_everywhere, sealed, watch};
use crate::support::{Node, local, until};
use holdfast_shared::slot::Slot;
use holdfast_shared::worker::EndedBy;
use serde_json::{Value, json};

#[test]
fn a_cancel_asks_the_agent_and_answers_what_it_waits_for() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent, id) = begin_turn(&node).await;
        agent.asks_permission(json!(7));
        link.event(1, "permission.requested").await;
        link.call("task.cancel", json!({"task": "x"})).await.unwrap();
        assert_eq!(agent.line().await["method"], "session/cancel");
        assert_eq!(agent.line().await["result"]["outcome"], json!({"outcome": "cancelled"}));
        agent.ends_turn(&id, "cancelled");
        assert_eq!(sealed(&mut link, 1).await["stop_reason"], "cancelled");
        let answered = link.event(1, "permission.answered").await;
        assert_eq!((&answered["outcome"], &answered["by"]), (&json!("cancelled"), &Value::Null));
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn a_turn_cancelled_before_its_agent_is_ready_was_given_to_nobody() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link) = opened(&node).await;
        prompt(&mut link, "x", "go").await;
        let mut agent = Agent::stands(&node, "x", &[]).await;
        agent.greets(json!({})).await;
        link.call("task.cancel", json!({"task": "x"})).await.unwrap();
        assert_eq!(sealed(&mut link, 1).await["stop_reason"], "cancelled");
        let asked = agent.line().await;
        agent.answers(&asked["id"], json!({"sessionId": "s1"}));
        link.event(2, "task.ready").await;
        prompt(&mut link, "x", "next").await;
        let id = agent.prompted("t2", "next").await;
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 2).await;
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn an_agent_that_does_not_cancel_in_time_is_ended() {
    local(async {
        let node = Node::new();
        node.set(r#"{"cancel_grace_ms": 1}"#);
        let (_runtime, mut link, mut agent, _id) = begin_turn(&node).await;
        link.call("task.cancel", json!({"task": "x"})).await.unwrap();
        while agent.hears().await != Heard::End {}
        node.exit(&agent.worker, 143, EndedBy::Cancel);
        let seal = sealed(&mut link, 1).await;
        assert_eq!((&seal["stop_reason"], &seal["exit_code"]), (&json!("cancelled"), &json!(143)));
        prompt(&mut link, "x", "more").await;
        let mut next = Agent::ready(&node, "x", &[&agent.worker]).await;
        next.prompted("t2", "more").await;
    });
}

#[test]
fn a_prompt_that_nobody_took_goes_to_another_worker_and_one_that_was_taken_does_not() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link) = opened(&node).await;
        let first = Agent::ready(&node, "x", &[]).await;
        link.event(2, "task.ready").await;
        prompt(&mut link, "x", "go").await;
        first.dies();
        let mut second = Agent::stands(&node, "x", &[&first.worker]).await;
        second.greets(json!({"loadSession": true})).await;
        let load = second.line().await;
        assert_eq!((&load["method"], &load["params"]["sessionId"]), (&json!("session/load"), &json!("s1")));
        second.updates("a replay");
        second.answers(&load["id"], json!({}));
        second.updates("its end");
        second.prompted("t1", "go").await;
        second.updates("half");
        link.event(1, "turn.update").await;
        second.dies();
        let seal = sealed(&mut link, 1).await;
        assert_eq!((&seal["stop_reason"], &seal["exit_code"]), (&json!("interrupted"), &json!(1)));
        assert_eq!(
            link.channels[&1].types(),
            ["turn.started", "turn.update", "turn.sealed"],
            "no replay in it"
        );
        assert_eq!(node.supervised.borrow().requests.len(), 2, "nothing is run twice");
        same_everywhere(&mut link, "x").await;
        until("the worker that served no turn is gone", async || {
            (!node.home.worker(&first.worker).exists()).then_some(())
        })
        .await;
        assert!(node.home.worker(&second.worker).exists(), "the other has what it said");
    });
}

#[test]
fn a_worker_that_ends_before_it_is_ready_is_ordered_three_times_and_its_task_says_so() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link) = opened(&node).await;
        let mut dead: Vec<String> = Vec::new();
        for _ in 0..3 {
            let before: Vec<&str> = dead.iter().map(String::as_str).collect();
            let agent = Agent::stands(&node, "x", &before).await;
            agent.dies();
            dead.push(agent.worker.clone());
        }
        let error = link.event(2, "task.error").await;
        assert_eq!((&error["code"], &error["state"]), (&json!("BOOTSTRAP_FAILED"), &json!("errored")));
        let opened = link.call("task.open", json!({"task": "x", "skill": "demo"})).await.unwrap();
        assert_eq!(opened["mode"], "recovered");
        let before: Vec<&str> = dead.iter().map(String::as_str).collect();
        Agent::ready(&node, "x", &before).await;
        link.event(2, "task.ready").await;
    });
}

#[test]
fn a_handshake_that_cannot_succeed_fails_the_waiting_turn_with_its_reason() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link) = opened(&node).await;
        prompt(&mut link, "x", "go").await;
        let mut agent = Agent::stands(&node, "x", &[]).await;
        let asked = agent.line().await;
        agent.answers(&asked["id"], json!({"protocolVersion": 9}));
        assert_eq!(agent.hears().await, Heard::End);
        node.exit(&agent.worker, 0, EndedBy::Cancel);
        let seal = sealed(&mut link, 1).await;
        assert_eq!(seal["stop_reason"], "failed");
        assert!(seal["detail"].as_str().unwrap().contains("version 9"), "{seal}");
        let list = link.call("task.list", json!({})).await.unwrap();
        assert_eq!(list["tasks"][0]["state"], "errored");
    });
}

#[test]
fn a_turn_without_a_sign_of_life_is_ended_but_not_one_that_waits_for_people() {
    local(async {
        let node = Node::new();
        node.set(r#"{"turn_silence_limit_ms": 1}"#);
        let (_runtime, mut link, mut agent) = begin(&node).await;
        link.event(2, "task.ready").await;
        prompt(&mut link, "x", "go").await;
        agent.prompted("t1", "go").await;
        assert_eq!(agent.hears().await, Heard::End);
        node.exit(&agent.worker, 0, EndedBy::Cancel);
        let seal = sealed(&mut link, 1).await;
        assert_eq!(seal["stop_reason"], "limit");
        assert!(seal["detail"].as_str().unwrap().contains("no sign of life"), "{seal}");
    });
}

#[test]
fn a_stop_cancels_the_turn_and_ends_the_agent_and_an_open_resumes_it() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent, id) = begin_turn(&node).await;
        link.call("task.stop", json!({"task": "x"})).await.unwrap();
        assert_eq!(agent.line().await["method"], "session/cancel");
        agent.ends_turn(&id, "cancelled");
        sealed(&mut link, 1).await;
        assert_eq!(agent.hears().await, Heard::End);
        let opened = link.call("task.open", json!({"task": "x", "skill": "demo"})).await.unwrap();
        assert_eq!(opened, json!({"task": "x", "mode": "resumed", "state": "idle"}));
        node.exit(&agent.worker, 0, EndedBy::Cancel);
        Agent::ready(&node, "x", &[&agent.worker]).await;
        while !link.channels[&2].events().iter().any(|event| event["session"]["resumed"] == true) {
            assert!(link.receive().await);
        }
    });
}

#[test]
fn a_worker_that_was_ready_and_has_left_nothing_is_lost_and_not_started_again() {
    local(async {
        let node = Node::new();
        let (mut a, mut link, agent) = begin(&node).await;
        link.event(2, "task.ready").await;
        a.kill();
        drop(node.supervised.borrow_mut().workers.remove(&agent.worker));
        std::fs::remove_dir_all(node.home.worker(&agent.worker)).unwrap();
        let b = node.active(Slot::B, 2).await;
        let mut link = watch(&b, 2).await;
        prompt(&mut link, "x", "go").await;
        let mut next = Agent::ready(&node, "x", &[&agent.worker]).await;
        next.prompted("t1", "go").await;
        let asked = node.supervised.borrow().requests.clone();
        assert_eq!(asked.iter().filter(|one| one.spawn_id == agent.worker).count(), 1);
    });
}
