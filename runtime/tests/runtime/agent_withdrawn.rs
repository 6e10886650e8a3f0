//! What agents ask and then wait for no longer, and what is no request at all.

use crate::agents::{begin_turn, same_everywhere, sealed, watch};
use crate::support::{Node, local, over_to, until};
use holdfast_shared::slot::Slot;
use holdfast_shared::worker::EndedBy;
use serde_json::{Value, json};

fn withdraws(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": id}})
}

#[test]
fn a_permission_that_an_agent_withdraws_is_over_for_everyone_and_answered_once() {
    local(async {
        let node = Node::new();
        let (a, mut link, mut agent, id) = begin_turn(&node).await;
        agent.asks_permission(json!("other"));
        agent.asks_permission(json!("p"));
        while link.channels[&1].types().iter().filter(|kind| *kind == "permission.requested").count() < 2 {
            assert!(link.receive().await);
        }
        agent.says(&withdraws(&json!("p")));
        agent.says(&withdraws(&json!("never asked")));
        let answered = link.event(1, "permission.answered").await;
        let asked = link.channels[&1].events();
        let asked = asked.iter().rfind(|event| event["type"] == "permission.requested").unwrap();
        assert_eq!(answered["request"], asked["request"]);
        assert_eq!((&answered["outcome"], &answered["withdrawn"]), (&json!("cancelled"), &json!(true)));
        let told = agent.line().await;
        assert_eq!((&told["id"], &told["error"]["code"]), (&json!("p"), &json!(-32800)));

        let b = over_to(&node, &a, Slot::B, 2).await;
        let mut link = watch(&b, 2).await;
        let late = json!({"task": "x", "request": asked["request"], "option": "yes"});
        let told = link.call("permission.answer", late).await.unwrap();
        assert_eq!((&told["won"], &told["outcome"]), (&json!(false), &json!("cancelled")));
        until("one is still asked", async || {
            let list = link.call("task.list", json!({})).await.unwrap();
            (list["tasks"][0]["permissions"] == 1).then_some(())
        })
        .await;
        assert_eq!(agent.waiting(), 0, "it is answered once, and the other not at all");
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn a_wait_that_an_agent_withdraws_is_answered_and_its_command_goes_on() {
    local(async {
        let node = Node::new();
        let (a, _link, mut agent, id) = begin_turn(&node).await;
        let terminal = agent.runs(json!(1)).await;
        let about = json!({"sessionId": "s1", "terminalId": terminal});
        agent.asks(json!(2), "terminal/wait_for_exit", about.clone());
        agent.asks(json!(3), "terminal/output", about.clone());
        assert_eq!(agent.line().await["id"], 3, "the wait is taken");
        let b = over_to(&node, &a, Slot::B, 2).await;
        let mut link = watch(&b, 2).await;
        agent.says(&withdraws(&json!(2)));
        let told = agent.line().await;
        assert_eq!((&told["id"], &told["error"]["code"]), (&json!(2), &json!(-32800)));
        agent.asks(json!(4), "terminal/wait_for_exit", about);
        node.exit(&terminal, 3, EndedBy::Worker);
        let waited = agent.line().await;
        assert_eq!((&waited["id"], &waited["result"]["exitCode"]), (&json!(4), &json!(3)));
        agent.says(&withdraws(&json!(4)));
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        assert_eq!(agent.waiting(), 0, "what is answered is not answered again");
    });
}

#[test]
fn what_is_no_valid_request_is_told_so() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent, id) = begin_turn(&node).await;
        agent.says(&json!({"jsonrpc": "2.0", "id": "odd", "method": 7}));
        let told = agent.line().await;
        assert_eq!((&told["id"], &told["error"]["code"]), (&json!("odd"), &json!(-32600)));
        agent.asks(json!([1]), "fs/read_text_file", json!({}));
        let told = agent.line().await;
        assert_eq!((&told["id"], &told["error"]["code"]), (&Value::Null, &json!(-32600)));
        let environment = json!([{"name": "HOLDFAST_TASK", "value": "other"}]);
        agent.asks(json!(1), "terminal/create", json!({"command": "true", "env": environment}));
        assert_eq!(agent.line().await["error"]["code"], -32602);
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
    });
}
