//! What agents wait for, and what they ask at a bad moment: who answers, what overtakes what, and what ends an agent.

use crate::agent::Agent;
use crate::agents::{begin, begin_turn, command_asked_for, opened, prompt, same_everywhere, sealed, watch};
use crate::support::{Link, Node, local, over_to, until};
use holdfast_shared::error::Code;
use holdfast_shared::slot::Slot;
use holdfast_shared::spool::RECORD_BYTES_MAX;
use serde_json::{Value, json};

fn answer(asked: &Value, option: &str) -> Value {
    json!({"task": "x", "request": asked["request"], "option": option})
}

#[test]
fn an_answer_to_a_permission_does_not_wait_for_a_command_that_cannot_be_started_now() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent, id) = command_asked_for(&node).await;
        agent.asks_permission(json!(2));
        let asked = link.event(1, "permission.requested").await;
        link.call("permission.answer", answer(&asked, "yes")).await.unwrap();
        assert_eq!(agent.line().await["id"], 2, "the command is still being asked for");
        node.supervised.borrow_mut().refuse = None;
        let created = agent.line().await;
        assert!(created["id"] == 1 && created["result"]["terminalId"].is_string(), "{created}");
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
    });
}

#[test]
fn a_command_that_is_being_asked_for_is_asked_for_by_the_next_runtime_too_and_runs_once() {
    local(async {
        let node = Node::new();
        let (mut a, _link, mut agent, id) = command_asked_for(&node).await;
        a.kill();
        node.supervised.borrow_mut().refuse = None;
        let b = node.active(Slot::B, 2).await;
        let created = agent.line().await;
        assert!(created["id"] == 1 && created["result"]["terminalId"].is_string(), "{created}");
        let commands =
            node.supervised.borrow().workers.values().filter(|one| one.order.terminal.is_some()).count();
        assert_eq!(commands, 1);
        let mut link = watch(&b, 2).await;
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        assert!(agent.take().is_none(), "it is answered once");
    });
}

/// Answers a permission of the first turn, which is over; whether anyone had won.
async fn late(link: &mut Link, request: &Value, option: &str) -> (Value, Value) {
    let answer = json!({"task": "x", "request": request, "option": option});
    let told = link.call("permission.answer", answer).await.unwrap();
    (told["won"].clone(), told["outcome"].clone())
}

#[test]
fn whoever_answers_when_the_turn_is_over_is_told_how_it_ended() {
    local(async {
        let node = Node::new();
        let (runtime, mut link, mut agent, id) = begin_turn(&node).await;
        agent.updates("one");
        agent.asks_permission(json!("p"));
        let answered = link.event(1, "permission.requested").await;
        link.call("permission.answer", answer(&answered, "yes")).await.unwrap();
        assert_eq!(agent.line().await["id"], "p");
        // The agent does not wait for the answer to this one.
        agent.asks_permission(json!("q"));
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        let events = link.channels[&1].events();
        let asked: Vec<&Value> =
            events.iter().filter(|event| event["type"] == "permission.requested").collect();
        let unanswered = asked[1]["request"].clone();
        for turn in 2..5 {
            prompt(&mut link, "x", "more").await;
            let id = agent.prompted(&format!("t{turn}"), "more").await;
            agent.ends_turn(&id, "end_turn");
            sealed(&mut link, turn).await;
        }
        let filed = || std::fs::read_dir(node.home.conversation("x")).map_or(0, Iterator::count);
        until("all turns are filed", async || (filed() >= 4).then_some(())).await;
        let next = over_to(&node, &runtime, Slot::B, 2).await;
        let mut fresh = next.route(2).await;
        let (said, yes) = (json!(false), json!("selected"));
        assert_eq!(late(&mut fresh, &answered["request"], "no").await, (said.clone(), yes));
        assert_eq!(late(&mut fresh, &unanswered, "yes").await, (said, json!("cancelled")));
        for never in ["t1.1", "t2.999", "t4.7", "t9.1", "t0.1", "x"] {
            let answer = json!({"task": "x", "request": never, "option": "yes"});
            let refused = fresh.call("permission.answer", answer).await.unwrap_err();
            assert_eq!(refused.code, Code::InvalidRequest, "{never}");
        }
    });
}

/// A request too long for one record, in the parts in which a holder records it.
fn long_request() -> Vec<Vec<u8>> {
    let params = json!({"sessionId": "s1", "padding": "x".repeat(2 * RECORD_BYTES_MAX)});
    let request = json!({"jsonrpc": "2.0", "id": "half", "method": "odd/method", "params": params});
    format!("{request}\n").into_bytes().chunks(RECORD_BYTES_MAX).map(<[u8]>::to_vec).collect()
}

/// A first turn that is over and a second one that was accepted, by a runtime that was killed then.
async fn killed_between_turns<'a>(node: &'a Node, behind_the_first: impl FnOnce(&Agent<'a>)) -> Agent<'a> {
    let (mut a, mut link, mut agent) = begin(node).await;
    prompt(&mut link, "x", "one").await;
    let id = agent.prompted("t1", "one").await;
    agent.ends_turn(&id, "end_turn");
    sealed(&mut link, 1).await;
    prompt(&mut link, "x", "two").await;
    until("mark and prompt are written", async || (agent.waiting() == 2).then_some(())).await;
    a.kill();
    behind_the_first(&agent);
    agent
}

#[test]
fn a_request_that_is_half_written_at_a_turns_mark_is_answered_by_a_runtime_that_starts_then() {
    local(async {
        let node = Node::new();
        let parts = long_request();
        let mut agent = killed_between_turns(&node, |agent| agent.writes(true, &parts[0])).await;
        let id = agent.prompted("t2", "two").await;
        let b = node.active(Slot::B, 2).await;
        let (last, middle) = parts[1..].split_last().unwrap();
        middle.iter().for_each(|part| agent.writes(true, part));
        agent.writes(false, last);
        let refused = agent.line().await;
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("half"), &json!(-32601)));
        agent.ends_turn(&id, "end_turn");
        let mut link = watch(&b, 2).await;
        sealed(&mut link, 2).await;
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn a_request_that_nobody_read_before_the_next_turns_mark_is_answered() {
    local(async {
        let node = Node::new();
        let mut agent =
            killed_between_turns(&node, |agent| agent.asks(json!("unread"), "odd/method", json!({}))).await;
        let id = agent.prompted("t2", "two").await;
        let b = node.active(Slot::B, 2).await;
        assert_eq!(agent.line().await["id"], "unread");
        agent.ends_turn(&id, "end_turn");
        let mut link = watch(&b, 2).await;
        sealed(&mut link, 2).await;
        same_everywhere(&mut link, "x").await;
        assert!(agent.take().is_none(), "it is answered once");
    });
}

#[test]
fn what_does_not_fit_into_the_journal_ends_its_agent_and_no_runtime() {
    local(async {
        let node = Node::new();
        node.set(r#"{"record_bytes_max": 1000}"#);
        let (runtime, mut link, mut agent, _id) = begin_turn(&node).await;
        agent.updates("one");
        agent.asks(json!("n".repeat(950)), "odd/method", json!({}));
        while agent.hears().await != crate::agent::Heard::End {}
        agent.dies();
        let seal = sealed(&mut link, 1).await;
        assert_eq!((&seal["stop_reason"], &seal["code"]), (&json!("interrupted"), &json!("OUTPUT_LIMIT")));
        assert!(seal["detail"].as_str().unwrap().contains("does not fit into the journal"), "{seal}");
        prompt(&mut link, "x", "more").await;
        let mut next = Agent::ready(&node, "x", &[&agent.worker]).await;
        let id = next.prompted("t2", "more").await;
        next.ends_turn(&id, "end_turn");
        sealed(&mut link, 2).await;
        same_everywhere(&mut link, "x").await;
        assert_eq!(node.ask(&runtime).await.epoch, Some(1), "the same runtime serves");
    });
}

#[test]
fn a_turn_whose_agent_cannot_start_says_the_code_to_everyone_who_looks() {
    local(async {
        let node = Node::new();
        let (runtime, mut link) = opened(&node).await;
        prompt(&mut link, "x", "go").await;
        let mut agent = Agent::stands(&node, "x", &[]).await;
        let asked = agent.line().await;
        let error = json!({"code": -32603, "message": "no licence"});
        agent.says(&json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}));
        while agent.hears().await != crate::agent::Heard::End {}
        agent.dies();
        let seal = sealed(&mut link, 1).await;
        assert_eq!((&seal["stop_reason"], &seal["code"]), (&json!("failed"), &json!("BOOTSTRAP_FAILED")));
        let said = link.event(2, "task.error").await;
        assert_eq!((&said["code"], &said["state"]), (&json!("BOOTSTRAP_FAILED"), &json!("errored")));
        assert!(said["message"].as_str().unwrap().contains("no licence"), "{said}");
        let of_the_seal = link.channels[&2].events();
        let of_the_seal = of_the_seal.iter().find(|event| event["type"] == "turn.sealed").unwrap();
        assert_eq!(of_the_seal["code"], "BOOTSTRAP_FAILED");
        let next = over_to(&node, &runtime, Slot::B, 2).await;
        let mut link = next.route(2).await;
        link.subscribe(2, "task:x", "", Some(0)).await;
        link.event(2, "task.error").await;
        link.call("task.open", json!({"task": "x", "skill": "demo"})).await.unwrap();
        link.event(2, "task.opened").await;
        let errors = link.channels[&2].types().iter().filter(|kind| *kind == "task.error").count();
        assert_eq!(errors, 1, "it is said once");
    });
}
