//! Tasks with agents: sessions, turns in one worker, permissions, files, ends of every kind.

use crate::agent::{Agent, Heard, modes, update};
use crate::support::{Link, Node, Runtime, Supervised, local, new_id, operator, until};
use crate::write_other_boot;
use holdfast_runtime::agent::TERMINALS;
use holdfast_runtime::agent::dialogue::REQUESTS;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Publication;
use holdfast_shared::slot::Slot;
use holdfast_shared::spool::{RECORD_BYTES_MAX, segment_path};
use holdfast_shared::token::TokenRole;
use holdfast_shared::worker::EndedBy;
use serde_json::{Value, json};

/// A task with an agent, opened; channel 1 is its conversation, 2 its events.
pub async fn open(link: &mut Link, task: &str) {
    let opened = link.call("task.open", json!({"task": task, "skill": "demo"})).await.unwrap();
    assert_eq!(opened, json!({"task": task, "mode": "created", "state": "creating"}));
    link.subscribe(1, &format!("conversation:{task}"), "", Some(0)).await;
    link.subscribe(2, &format!("task:{task}"), "", Some(0)).await;
}

/// A task `x` whose agent has its session.
pub async fn begin(node: &Node) -> (Runtime, Link, Agent<'_>) {
    let runtime = node.active(Slot::A, 1).await;
    let mut link = runtime.route(1).await;
    open(&mut link, "x").await;
    let agent = Agent::ready(node, "x", &[]).await;
    (runtime, link, agent)
}

pub async fn prompt(link: &mut Link, task: &str, text: &str) {
    link.call("task.prompt", json!({"task": task, "text": text})).await.unwrap();
}

/// Receives until the conversation has so many seals; answers the last.
pub async fn sealed(link: &mut Link, count: usize) -> Value {
    loop {
        let events = link.channels[&1].events();
        let seals: Vec<&Value> = events.iter().filter(|event| event["type"] == "turn.sealed").collect();
        if seals.len() >= count {
            return seals[count - 1].clone();
        }
        assert!(link.receive().await, "link closed at {} of {count} seals", seals.len());
    }
}

/// The whole conversation, read from its beginning.
async fn history(link: &mut Link, task: &str) -> Vec<Publication> {
    let (channel, mut all) = (format!("conversation:{task}"), Vec::new());
    loop {
        let after = all.len() as u64;
        let piece = link.read(&channel, after, 1000, 1 << 20).await;
        if piece.publications.is_empty() {
            assert_eq!(piece.top, after);
            return all;
        }
        all.extend(piece.publications);
    }
}

/// The same for a watcher from the beginning and in history.
pub async fn same_everywhere(link: &mut Link, task: &str) {
    let read = history(link, task).await;
    let offsets: Vec<u64> = read.iter().map(|one| one.offset).collect();
    assert_eq!(offsets, (1..=read.len() as u64).collect::<Vec<u64>>());
    assert_eq!(read, link.channels[&1].publications);
}

/// A turn whose agent has asked for a command that the supervisor cannot start now; answers the prompt's id, too.
pub async fn command_asked_for(node: &Node) -> (Runtime, Link, Agent<'_>, Value) {
    let (runtime, mut link, mut agent) = begin(node).await;
    prompt(&mut link, "x", "go").await;
    let id = agent.prompted("t1", "go").await;
    node.supervised.borrow_mut().refuse = Some(ApiError::new(Code::Unavailable, "not now"));
    agent.asks(json!(1), "terminal/create", json!({"sessionId": "s1", "command": "sleep"}));
    let taken = |supervised: &Supervised| supervised.requests.len() > 1;
    until("the command is asked for", async || taken(&node.supervised.borrow()).then_some(())).await;
    (runtime, link, agent, id)
}

pub async fn over_to(node: &Node, from: &Runtime, slot: Slot, epoch: u64) -> Runtime {
    let runtime = node.runtime(slot).await;
    node.fence(from, epoch - 1).await.unwrap();
    node.activate(&runtime, epoch).await.unwrap();
    runtime
}

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
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        open(&mut link, "x").await;
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
fn a_cancel_asks_the_agent_and_answers_what_it_waits_for() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
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
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        open(&mut link, "x").await;
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
        let (_runtime, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "go").await;
        agent.prompted("t1", "go").await;
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
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        open(&mut link, "x").await;
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
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        open(&mut link, "x").await;
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
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        open(&mut link, "x").await;
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
fn a_switch_is_answered_at_once_and_in_time_with_a_session_or_an_error() {
    local(async {
        let node = Node::new();
        node.set(r#"{"switch_timeout_ms": 1}"#);
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        open(&mut link, "x").await;
        let switched = link.call("task.switch", json!({"task": "x"})).await.unwrap();
        assert_eq!(switched, json!({"task": "x", "state": "switching"}));
        assert_eq!(link.event(2, "task.error").await["code"], "SWITCH_TIMEOUT");
        let _agent = Agent::ready(&node, "x", &[]).await;
        link.event(2, "task.ready").await;
        link.call("task.switch", json!({"task": "x"})).await.unwrap();
        let warm =
            |link: &Link| link.channels[&2].types().iter().filter(|kind| *kind == "task.ready").count();
        while warm(&link) < 2 {
            assert!(link.receive().await);
        }
    });
}

#[test]
fn the_least_recently_used_is_ended_and_comes_back_with_its_session() {
    local(async {
        let node = Node::new();
        node.set(r#"{"warm_workers": 1}"#);
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        open(&mut link, "x").await;
        let mut first = Agent::ready(&node, "x", &[]).await;
        link.event(2, "task.ready").await;
        link.call("task.open", json!({"task": "y", "skill": "demo"})).await.unwrap();
        let _other = Agent::ready(&node, "y", &[]).await;
        assert_eq!(first.hears().await, Heard::End);
        node.exit(&first.worker, 0, EndedBy::Cancel);
        let worker = |list: &Value| list["tasks"][0]["worker"].clone();
        until("it is gone", async || {
            let list = link.call("task.list", json!({})).await.unwrap();
            (worker(&list) == "none" && list["tasks"][0]["state"] == "ready").then_some(())
        })
        .await;
        link.call("task.switch", json!({"task": "x"})).await.unwrap();
        let mut again = Agent::stands(&node, "x", &[&first.worker]).await;
        again.greets(json!({"loadSession": true})).await;
        let load = again.line().await;
        assert_eq!(load["method"], "session/load");
        again.answers(&load["id"], json!({}));
        let resumed =
            |link: &Link| link.channels[&2].events().iter().any(|event| event["session"]["resumed"] == true);
        while !resumed(&link) {
            assert!(link.receive().await);
        }
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
fn a_line_in_parts_is_one_event_wherever_a_reader_begins() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
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
fn files_are_read_and_written_for_an_agent_and_what_is_not_known_is_refused() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
        let root = std::path::absolute(node.home.workspaces().join("x")).unwrap();
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let write = json!({"sessionId": "s1", "path": path("a.txt"), "content": "one\ntwo\n"});
        agent.asks(json!(null), "fs/write_text_file", write);
        assert_eq!(agent.line().await["result"], json!({}));
        assert_eq!(std::fs::read_to_string(root.join("a.txt")).unwrap(), "one\ntwo\n");
        agent.asks(json!(2), "fs/read_text_file", json!({"sessionId": "s1", "path": path("a.txt")}));
        let read = agent.line().await;
        assert_eq!((&read["id"], &read["result"]["content"]), (&json!(2), &json!("one\ntwo\n")));
        agent.asks(json!("q"), "fs/read_text_file", json!({"sessionId": "s1", "path": "/etc/passwd"}));
        let refused = agent.line().await;
        assert!(refused["error"]["code"].is_number() && refused["result"].is_null(), "{refused}");
        agent.asks(json!(4), "odd/method", json!({}));
        assert_eq!(agent.line().await["error"]["code"], -32601);
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        // Outside of a turn nobody is asked.
        agent.asks_permission(json!(5));
        assert_eq!(agent.line().await["result"]["outcome"], json!({"outcome": "cancelled"}));
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn a_mode_is_set_in_the_session_and_listed() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent) = begin(&node).await;
        link.event(2, "task.ready").await;
        let unknown = link.call("task.mode", json!({"task": "x", "mode": "odd"})).await.unwrap_err();
        assert_eq!(unknown.code, Code::InvalidRequest);
        let set = link.call("task.mode", json!({"task": "x", "mode": "code"})).await.unwrap();
        assert_eq!(set, json!({"task": "x", "mode": "code"}));
        let asked = agent.line().await;
        assert_eq!(
            (&asked["method"], &asked["params"]["modeId"]),
            (&json!("session/set_mode"), &json!("code"))
        );
        let list = link.call("task.list", json!({})).await.unwrap();
        assert_eq!(list["tasks"][0]["modes"]["currentModeId"], "code");
    });
}

#[test]
fn a_stop_cancels_the_turn_and_ends_the_agent_and_an_open_resumes_it() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
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
        write_other_boot(&node, 2);

        let b = node.active(Slot::B, 3).await;
        let mut link = b.route(3).await;
        link.subscribe(1, "conversation:x", &epoch, Some(2)).await;
        let (new_epoch, _, _, recovered) = link.channels[&1].subscribed.clone().unwrap();
        assert!(new_epoch != epoch && !recovered, "{new_epoch}");
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

#[test]
fn a_skill_that_is_not_installed_is_refused_with_what_to_do() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        let refused = link.call("task.open", json!({"task": "x", "skill": "codex"})).await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidRequest);
        assert!(refused.message.contains("holdfast skill install"), "{}", refused.message);
    });
}

#[test]
fn a_command_of_an_agent_outlives_runtimes_and_is_waited_for_without_holding_up_others() {
    local(async {
        let node = Node::new();
        let a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        open(&mut link, "x").await;
        let mut agent = Agent::ready(&node, "x", &[]).await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
        let create = json!({"sessionId": "s1", "command": "make all", "env": [{"name": "A", "value": "b"}]});
        agent.asks(json!(1), "terminal/create", create);
        let terminal = agent.line().await["result"]["terminalId"].as_str().unwrap().to_owned();
        let asked = node.supervised.borrow().workers[&terminal].order.clone();
        let command = asked.terminal.unwrap();
        assert_eq!((&*command.command, &*command.args[1], &*command.env["A"]), ("/bin/sh", "make all", "b"));
        let about = json!({"sessionId": "s1", "terminalId": terminal});
        agent.asks(json!(2), "terminal/wait_for_exit", about.clone());
        node.say(&terminal, "out");
        agent.asks(json!(3), "terminal/output", about.clone());
        let output = agent.line().await;
        assert_eq!(
            (&output["id"], &output["result"]["output"]),
            (&json!(3), &json!("out")),
            "before the wait"
        );

        agent.asks(json!("2a"), "terminal/create", json!({"sessionId": "s1", "command": "true"}));
        let short = agent.line().await["result"]["terminalId"].as_str().unwrap().to_owned();
        let about_short = json!({"sessionId": "s1", "terminalId": short});
        agent.asks(json!("2b"), "terminal/wait_for_exit", about_short);
        node.exit(&short, 0, EndedBy::Worker);
        assert_eq!(agent.line().await["id"], "2b", "the other waits on");

        let b = over_to(&node, &a, Slot::B, 2).await;
        let mut link = b.route(2).await;
        node.exit(&terminal, 3, EndedBy::Worker);
        let waited = agent.line().await;
        assert_eq!((&waited["id"], &waited["result"]["exitCode"]), (&json!(2), &json!(3)));
        agent.asks(json!(4), "terminal/release", about.clone());
        assert_eq!(agent.line().await["result"], json!({}));
        agent.asks(json!(5), "terminal/output", about);
        assert!(agent.line().await["error"]["code"].is_number(), "it is forgotten");
        until("it is removed", async || (!node.home.worker(&terminal).exists()).then_some(())).await;

        // What is left of an agent that has ended is ended, too.
        agent.asks(json!(6), "terminal/create", json!({"sessionId": "s1", "command": "sleep"}));
        let left = agent.line().await["result"]["terminalId"].as_str().unwrap().to_owned();
        agent.ends_turn(&id, "end_turn");
        agent.dies();
        let told =
            until("it is told to end", async || node.supervised.borrow().workers[&left].told_to_end()).await;
        assert_eq!(told, 2);
        node.exit(&left, 137, EndedBy::Kill);
        until("it is removed", async || (!node.home.worker(&left).exists()).then_some(())).await;
        link.call("task.list", json!({})).await.unwrap();
    });
}

#[test]
fn what_an_agent_names_without_measure_takes_no_runtime_down() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        open(&mut link, "x").await;
        let mut agent = Agent::stands(&node, "x", &[]).await;
        agent.greets(json!({})).await;
        let asked = agent.line().await;
        let long = "x".repeat(1_100_000);
        let mode = |id: &str| json!({"id": id, "name": long});
        let modes =
            json!({"currentModeId": "ask", "availableModes": [mode("ask"), mode("code"), {"id": long}]});
        agent.answers_long(&asked["id"], json!({"sessionId": "s1", "modes": modes}));
        link.event(2, "task.ready").await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
        agent.says_long(&json!({"jsonrpc": "2.0", "id": long, "method": "odd/method"}));
        let cost = json!({"sessionUpdate": "usage_update", "cost": {"amount": 1, "currency": long}});
        agent.says_long(&json!({"jsonrpc": "2.0", "method": "session/update", "params": {"update": cost}}));
        agent.asks(json!(2), "odd/method", json!({}));
        assert_eq!(agent.line().await["id"], 2, "the other has no name to be answered by");
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        let list = link.call("task.list", json!({})).await.unwrap();
        assert_eq!(list["tasks"][0]["modes"]["availableModes"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn an_agent_may_ask_without_end_in_one_turn() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
        let root = std::path::absolute(node.home.workspaces().join("x")).unwrap();
        let write = json!({"sessionId": "s1", "path": root.join("a"), "content": "x".repeat(3 << 20)});
        for number in 0..6 {
            agent.asks_long(json!(number), "fs/write_text_file", write.clone());
            let written = agent.line().await;
            assert_eq!((&written["id"], &written["result"]), (&json!(number), &json!({})), "{written}");
        }
        // As many as wait at a time: what follows is asked only when all before is answered.
        let asked = u64::try_from(REQUESTS).unwrap() + 64;
        for first in (0..asked).step_by(32) {
            for number in first..first + 32 {
                agent.asks(json!(number), "odd/method", json!({}));
            }
            for number in first..first + 32 {
                assert_eq!(agent.line().await["id"], number);
            }
        }
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
    });
}

#[test]
fn what_is_asked_around_the_end_of_a_turn_is_answered_too() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
        agent.asks(json!("t"), "terminal/create", json!({"sessionId": "s1", "command": "sleep"}));
        let terminal = agent.line().await["result"]["terminalId"].as_str().unwrap().to_owned();
        let odd = |id: &str| format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": "odd/method"}));
        let end = json!({"jsonrpc": "2.0", "id": id, "result": {"stopReason": "end_turn"}});
        // Read at once: one before the end, one behind it.
        agent.flushes(&[&odd("before"), &format!("{end}\n"), &odd("behind")]);
        let about = json!({"sessionId": "s1", "terminalId": terminal});
        sealed(&mut link, 1).await;
        agent.asks(json!("wait"), "terminal/wait_for_exit", about);
        assert_eq!(agent.line().await["id"], "before");
        assert_eq!(agent.line().await["id"], "behind");
        prompt(&mut link, "x", "more").await;
        let id = agent.prompted("t2", "more").await;
        node.exit(&terminal, 7, EndedBy::Worker);
        let waited = agent.line().await;
        assert_eq!((&waited["id"], &waited["result"]["exitCode"]), (&json!("wait"), &json!(7)));
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 2).await;
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn a_cancel_does_not_wait_for_a_command_that_cannot_be_started_now() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent, id) = command_asked_for(&node).await;
        link.call("task.cancel", json!({"task": "x"})).await.unwrap();
        assert_eq!(agent.line().await["method"], "session/cancel");
        let refused = agent.line().await;
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(1), &json!(-32800)));
        node.supervised.borrow_mut().refuse = None;
        agent.ends_turn(&id, "cancelled");
        sealed(&mut link, 1).await;
        // Its place is free again: as many as there may be are started.
        prompt(&mut link, "x", "more").await;
        agent.prompted("t2", "more").await;
        for number in 0..TERMINALS {
            until("a place for a command", async || {
                agent.asks(json!(number), "terminal/create", json!({"sessionId": "s1", "command": "sleep"}));
                agent.line().await["result"]["terminalId"].is_string().then_some(())
            })
            .await;
        }
        let started =
            node.supervised.borrow().workers.values().filter(|one| one.order.terminal.is_some()).count();
        assert_eq!(started, TERMINALS, "the one that was called off is not among them");
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
        let mut link = b.route(2).await;
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        prompt(&mut link, "x", "go").await;
        let mut next = Agent::ready(&node, "x", &[&agent.worker]).await;
        next.prompted("t1", "go").await;
        let asked = node.supervised.borrow().requests.clone();
        assert_eq!(asked.iter().filter(|one| one.spawn_id == agent.worker).count(), 1);
    });
}

#[test]
fn a_turn_that_waits_for_its_own_command_may_be_silent() {
    local(async {
        let node = Node::new();
        node.set(r#"{"turn_silence_limit_ms": 4000}"#);
        let (_runtime, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
        agent.asks(json!(1), "terminal/create", json!({"sessionId": "s1", "command": "sleep"}));
        let terminal = agent.line().await["result"]["terminalId"].as_str().unwrap().to_owned();
        agent.asks(json!(2), "terminal/wait_for_exit", json!({"sessionId": "s1", "terminalId": terminal}));
        agent.asks(json!(3), "odd/method", json!({}));
        assert_eq!(agent.line().await["id"], 3, "the wait is taken");
        // Looked at twice a second: by then it would have been ended.
        let segment = segment_path(&node.home.worker(&agent.worker), 1);
        let is_old = |path: &std::path::Path| {
            path.metadata().unwrap().modified().unwrap().elapsed().unwrap().as_millis() > 5500
        };
        until("a long silence", async || is_old(&segment).then_some(())).await;
        node.exit(&terminal, 0, EndedBy::Worker);
        assert_eq!(agent.line().await["id"], 2);
        agent.ends_turn(&id, "end_turn");
        assert_eq!(sealed(&mut link, 1).await["stop_reason"], "end_turn");
    });
}
