//! Turns of agents: each is shown from its start to its seal, whoever serves it.

use crate::agent::{Agent, modes, update};
use crate::agents::{begin, begin_turn, history, open, opened, prompt, same_everywhere, sealed};
use crate::support::{Node, after_power_cut, local, new_id, operator, over_to};
use holdfast_shared::error::Code;
use holdfast_shared::link::Publication;
use holdfast_shared::slot::Slot;
use holdfast_shared::spool::RECORD_BYTES_MAX;
use holdfast_shared::token::TokenRole;
use serde_json::{Value, json};

#[test]
fn two_turns_in_one_worker_are_each_shown_from_start_to_seal() {
    local(async {
        let node = Node::new();
        let (runtime, mut link, mut agent) = begin(&node).await;
        let ready = link.event(2, "task.ready").await;
        assert_eq!(ready["session"], json!({"resumed": false, "modes": modes()}));
        let list = link.call("task.list", json!({})).await.unwrap();
        assert_eq!(
            (&list["tasks"][0]["state"], &list["tasks"][0]["worker"]),
            (&json!("ready"), &json!("warm"))
        );

        prompt(&mut link, "x", "hello").await;
        let id = agent.prompted("t1", "hello").await;
        agent.updates("one");
        agent.writes(false, b"junk\n");
        node.supervised.borrow_mut().workers.get_mut(&agent.worker).unwrap().say_error("log\n");
        agent.says(&json!({"jsonrpc": "2.0", "id": id, "result": {
            "stopReason": "end_turn", "usage": {"inputTokens": 5, "outputTokens": 6, "totalTokens": 11}}}));
        let seal = sealed(&mut link, 1).await;
        assert_eq!((&seal["stop_reason"], &seal["usage"]["total_tokens"]), (&json!("end_turn"), &json!(11)));

        agent.updates("between the turns");
        prompt(&mut link, "x", "again").await;
        let id = agent.prompted("t2", "again").await;
        agent.updates("two");
        agent.ends_turn(&id, "max_tokens");
        let seal = sealed(&mut link, 2).await;
        assert_eq!(seal["stop_reason"], "limit");
        let types = [
            "turn.started",
            "turn.update",
            "turn.output",
            "turn.output",
            "turn.skip",
            "turn.sealed",
            "turn.started",
            "turn.update",
            "turn.skip",
            "turn.sealed",
        ];
        assert_eq!(link.channels[&1].types(), types, "what is said between turns is nobody's");
        assert_eq!(link.channels[&1].events()[1]["update"], update("one")["params"]["update"]);
        same_everywhere(&mut link, "x").await;
        assert_eq!(node.supervised.borrow().requests.len(), 1);
        // Filed, and read by another runtime.
        let next = over_to(&node, &runtime, Slot::B, 2).await;
        let read = history(&mut next.route(2).await, "x").await;
        assert_eq!(read, link.channels[&1].publications);
    });
}

#[test]
fn a_prompt_does_not_wait_for_the_session_to_be_accepted() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link) = opened(&node).await;
        prompt(&mut link, "x", "early").await;
        link.call("task.prompt", json!({"task": "x", "text": "second", "queue": true})).await.unwrap();
        let mut agent = Agent::ready(&node, "x", &[]).await;
        for (turn, text) in [("t1", "early"), ("t2", "second")] {
            let id = agent.prompted(turn, text).await;
            agent.ends_turn(&id, "end_turn");
        }
        sealed(&mut link, 2).await;
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn a_turn_and_its_permission_live_through_a_switch_and_a_kill_and_are_answered_once() {
    local(async {
        let node = Node::new();
        let mut a = node.active(Slot::A, 1).await;
        let mut before = a.route(1).await;
        open(&mut before, "x").await;
        let mut agent = Agent::ready(&node, "x", &[]).await;
        prompt(&mut before, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
        agent.updates("one");
        agent.asks_permission(json!("p-1"));
        let asked = before.event(1, "permission.requested").await;
        assert_eq!(asked["options"][0]["optionId"], "yes");
        let epoch = before.channels[&1].subscribed.clone().unwrap().0;
        let seen = before.channels[&1].publications.clone();

        let mut b = over_to(&node, &a, Slot::B, 2).await;
        let mut link = b.route(2).await;
        let request = asked["request"].clone();
        let answer = |option: &str| json!({"task": "x", "request": request, "option": option});
        let mut viewer = operator();
        viewer.role = TokenRole::Viewer;
        let call = link.start("permission.answer", answer("yes"), &new_id(), viewer).await;
        assert_eq!(link.answer(call).await.unwrap_err().code, Code::Forbidden);
        let wrong = link.call("permission.answer", answer("perhaps")).await.unwrap_err();
        assert_eq!(wrong.code, Code::InvalidRequest);
        let won = link.call("permission.answer", answer("yes")).await.unwrap();
        assert_eq!(
            won,
            json!({"task": "x", "request": request, "outcome": "selected", "option_id": "yes", "won": true})
        );
        b.kill();
        a.kill();

        let c = node.active(Slot::A, 3).await;
        let mut link = c.route(3).await;
        let late = link.call("permission.answer", answer("no")).await.unwrap();
        assert_eq!((&late["won"], &late["option_id"]), (&json!(false), &json!("yes")));
        let reply = agent.line().await;
        assert_eq!((&reply["id"], &reply["result"]["outcome"]["optionId"]), (&json!("p-1"), &json!("yes")));
        agent.updates("two");
        agent.ends_turn(&id, "end_turn");
        link.subscribe(1, "conversation:x", &epoch, Some(seen.len() as u64)).await;
        sealed(&mut link, 1).await;
        let rest: Vec<String> = link.channels[&1].types();
        assert_eq!(rest, ["permission.answered", "turn.update", "turn.skip", "turn.sealed"]);
        let all: Vec<Publication> = seen.iter().chain(&link.channels[&1].publications).cloned().collect();
        assert_eq!(history(&mut link, "x").await, all);
        assert_eq!(node.supervised.borrow().requests.len(), 1, "it is re-attached, never started twice");
        assert!(agent.take().is_none(), "it is told nothing twice");
    });
}

#[test]
fn a_line_in_parts_is_one_event_wherever_a_reader_begins() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, agent, id) = begin_turn(&node).await;
        let long = format!("{}\n", update(&"x".repeat(5 * RECORD_BYTES_MAX)));
        let parts: Vec<&[u8]> = long.as_bytes().chunks(RECORD_BYTES_MAX).collect();
        let (last, front) = parts.split_last().unwrap();
        for part in front {
            agent.writes(true, part);
            node.supervised.borrow_mut().workers.get_mut(&agent.worker).unwrap().say_error("between\n");
        }
        agent.writes(false, last);
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        let shown: Vec<Value> = link.channels[&1].events();
        let whole = shown.iter().find(|event| event["type"] == "turn.update").unwrap();
        assert_eq!(whole["update"]["content"]["text"].as_str().unwrap().len(), 5 * RECORD_BYTES_MAX);
        same_everywhere(&mut link, "x").await;
        let all = link.channels[&1].publications.clone();
        for after in 0..all.len() as u64 {
            let one = link.read("conversation:x", after, 1, 1 << 20).await;
            assert_eq!(one.publications[0], all[after as usize], "offset {}", after + 1);
        }
    });
}

#[test]
fn after_a_power_cut_an_agents_turn_is_interrupted_under_a_new_epoch_and_earlier_ones_stay() {
    local(async {
        let node = Node::new();
        let mut a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        open(&mut link, "x").await;
        let mut agent = Agent::ready(&node, "x", &[]).await;
        prompt(&mut link, "x", "one").await;
        let id = agent.prompted("t1", "one").await;
        agent.updates("kept");
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        let first = link.channels[&1].publications.clone();
        prompt(&mut link, "x", "two").await;
        agent.prompted("t2", "two").await;
        agent.updates("said");
        link.events(1, first.len() + 2).await;
        let epoch = link.channels[&1].subscribed.clone().unwrap().0;
        a.kill();
        drop(node.supervised.borrow_mut().workers.remove(&agent.worker));
        let (_b, mut link) = after_power_cut(&node, &epoch).await;
        link.subscribe(3, "conversation:x", "", Some(0)).await;
        loop {
            let types = link.channels[&3].types();
            if types.iter().filter(|kind| *kind == "turn.sealed").count() == 2 {
                break;
            }
            assert!(link.receive().await);
        }
        let events = link.channels[&3].events();
        assert_eq!(events.last().unwrap()["stop_reason"], "interrupted");
        assert_eq!(link.channels[&3].publications[..first.len()], first);
        assert_eq!(events[first.len() + 1]["update"]["content"]["text"], "said");
        prompt(&mut link, "x", "three").await;
        let mut next = Agent::ready(&node, "x", &[]).await;
        next.prompted("t3", "three").await;
    });
}
