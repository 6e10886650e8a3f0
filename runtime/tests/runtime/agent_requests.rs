//! What agents ask for: files, commands, and without measure.

use crate::agent::Agent;
use crate::agents::{begin, begin_turn, command_asked_for, opened, prompt, same_everywhere, sealed};
use crate::support::{Node, local, over_to, until};
use holdfast_runtime::agent::TERMINALS;
use holdfast_runtime::agent::dialogue::REQUESTS;
use holdfast_shared::slot::Slot;
use holdfast_shared::spool::segment_path;
use holdfast_shared::worker::EndedBy;
use serde_json::json;

#[test]
fn files_are_read_and_written_for_an_agent_and_what_is_not_known_is_refused() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent, id) = begin_turn(&node).await;
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
fn a_command_of_an_agent_outlives_runtimes_and_is_waited_for_without_holding_up_others() {
    local(async {
        let node = Node::new();
        let (a, mut link, mut agent) = begin(&node).await;
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
        let (_runtime, mut link) = opened(&node).await;
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
        let (_runtime, mut link, mut agent, id) = begin_turn(&node).await;
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
        let (_runtime, mut link, mut agent, id) = begin_turn(&node).await;
        let terminal = agent.runs(json!("t")).await;
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
fn a_turn_that_waits_for_its_own_command_may_be_silent() {
    local(async {
        let node = Node::new();
        node.set(r#"{"turn_silence_limit_ms": 4000}"#);
        let (_runtime, mut link, mut agent, id) = begin_turn(&node).await;
        let terminal = agent.runs(json!(1)).await;
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
