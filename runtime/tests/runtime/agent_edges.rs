//! Tasks with agents where something beside them is full, refused or changed.

use crate::agent::Heard;
use crate::agents::{begin, begin_turn, prompt, same_everywhere, sealed, watch};
use crate::support::{Link, Node, local, over_to, until};
use holdfast_runtime::agent::TERMINALS;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};

#[test]
fn on_a_disk_that_is_nearly_full_a_prompt_is_refused_and_one_that_was_taken_waits() {
    local(async {
        let node = Node::new();
        let (mut a, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "one").await;
        let id = agent.prompted("t1", "one").await;
        link.call("task.prompt", json!({"task": "x", "text": "two", "queue": true})).await.unwrap();

        node.set(r#"{"min_free_bytes": 1125899906842624}"#);
        let b = over_to(&node, &a, Slot::B, 2).await;
        a.kill();
        let mut link = watch(&b, 2).await;
        let more = json!({"task": "x", "text": "three", "queue": true});
        let refused = link.call("task.prompt", more).await.unwrap_err();
        assert_eq!((refused.code, refused.retryable), (Code::StorageFull, true));
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        let running = |list: &Value| list["tasks"][0]["turn"] == "t2";
        while !running(&link.call("task.list", json!({})).await.unwrap()) {}
        assert_eq!(agent.take(), None, "the queued prompt is not given to it");

        node.set("{}");
        let c = over_to(&node, &b, Slot::A, 3).await;
        let mut link = watch(&c, 3).await;
        let id = agent.prompted("t2", "two").await;
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 2).await;
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn a_prompt_that_waits_for_room_is_cancelled() {
    local(async {
        let node = Node::new();
        let (a, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "one").await;
        let id = agent.prompted("t1", "one").await;
        link.call("task.prompt", json!({"task": "x", "text": "two", "queue": true})).await.unwrap();
        node.set(r#"{"min_free_bytes": 1125899906842624}"#);
        let b = over_to(&node, &a, Slot::B, 2).await;
        let mut link = watch(&b, 2).await;
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        while link.call("task.cancel", json!({"task": "x"})).await.unwrap()["turn"] != "t2" {}
        let id = agent.prompted("t2", "two").await;
        assert_eq!(agent.line().await["method"], "session/cancel");
        agent.ends_turn(&id, "cancelled");
        assert_eq!(sealed(&mut link, 2).await["stop_reason"], "cancelled");
    });
}

#[test]
fn a_command_that_does_not_start_takes_no_place() {
    local(async {
        let node = Node::new();
        let (_runtime, _link, mut agent, _id) = begin_turn(&node).await;
        let refuse = |error| node.supervised.borrow_mut().refuse = error;
        refuse(Some(ApiError::new(Code::BootstrapFailed, "no such program")));
        let create = |command: &str| json!({"sessionId": "s1", "command": command});
        for number in 0..TERMINALS + 3 {
            agent.asks(json!(number), "terminal/create", create("odd"));
            let refused = agent.line().await;
            let message = refused["error"]["message"].as_str().unwrap();
            assert!(refused["id"] == number && message.contains("no such program"), "{refused}");
        }
        let outside = json!({"sessionId": "s1", "command": "true", "cwd": "/etc"});
        agent.asks(json!("cwd"), "terminal/create", outside);
        assert!(agent.line().await["error"]["code"].is_number());
        refuse(None);
        let mut names = Vec::new();
        for number in 0..TERMINALS {
            agent.asks(json!(number), "terminal/create", create("true"));
            names.push(agent.line().await["result"]["terminalId"].as_str().unwrap().to_owned());
        }
        agent.asks(json!("one more"), "terminal/create", create("true"));
        let refused = agent.line().await;
        assert!(refused["error"]["message"].as_str().unwrap().contains("too many"), "{refused}");
        assert!(names.iter().all(|name| node.home.worker(name).exists()));
        until("nothing is left of the others", async || {
            let there = std::fs::read_dir(node.home.workers()).unwrap().count();
            (there == TERMINALS + 1).then_some(())
        })
        .await;
        assert_ne!(agent.take(), Some(Heard::End));
    });
}

async fn is_in_mode(link: &mut Link, mode: &str) {
    until(mode, async || {
        let list = link.call("task.list", json!({})).await.unwrap();
        (list["tasks"][0]["modes"]["currentModeId"] == mode).then_some(())
    })
    .await;
}

fn goes_into(mode: &str) -> Value {
    let update = json!({"sessionUpdate": "current_mode_update", "currentModeId": mode});
    json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s1", "update": update}})
}

#[test]
fn a_mode_is_what_the_agent_makes_of_it_for_every_runtime() {
    local(async {
        let node = Node::new();
        let (runtime, mut link, mut agent) = begin(&node).await;
        link.event(2, "task.ready").await;
        link.call("task.mode", json!({"task": "x", "mode": "code"})).await.unwrap();
        let asked = agent.line().await;
        is_in_mode(&mut link, "code").await;
        let error = json!({"code": -32603, "message": "not now"});
        agent.says(&json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}));
        is_in_mode(&mut link, "ask").await;
        agent.says(&goes_into("code"));
        is_in_mode(&mut link, "code").await;
        link.call("task.switch", json!({"task": "x"})).await.unwrap();
        let ready = |link: &Link| -> Vec<Value> {
            let events = link.channels[&2].events();
            events.into_iter().filter(|event| event["type"] == "task.ready").collect()
        };
        while ready(&link).len() < 2 {
            assert!(link.receive().await);
        }
        assert_eq!(ready(&link)[1]["session"]["modes"]["currentModeId"], "code");

        prompt(&mut link, "x", "go").await;
        let id = agent.prompted("t1", "go").await;
        agent.says(&goes_into("ask"));
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        is_in_mode(&mut link, "ask").await;
        let next = over_to(&node, &runtime, Slot::B, 2).await;
        let mut link = next.route(2).await;
        is_in_mode(&mut link, "ask").await;
        link.call("task.mode", json!({"task": "x", "mode": "code"})).await.unwrap();
        let asked = agent.line().await;
        agent.answers(&asked["id"], json!({}));
        is_in_mode(&mut link, "code").await;
    });
}
