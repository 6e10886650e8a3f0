//! What agents say at such length that it is not held.

use crate::agent::{Agent, Heard};
use crate::agents::{begin_turn, opened, prompt, same_everywhere, sealed, watch};
use crate::support::{Node, local, over_to};
use holdfast_runtime::acp::LINE_BYTES_MAX;
use holdfast_shared::slot::Slot;
use holdfast_shared::worker::EndedBy;
use serde_json::{Value, json};

fn long() -> String {
    "x".repeat(LINE_BYTES_MAX)
}

#[test]
fn a_request_past_the_bound_is_refused_and_a_file_within_the_policy_is_written() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent, id) = begin_turn(&node).await;
        let path = std::path::absolute(node.home.workspaces().join("x/a.txt")).unwrap();
        let write = |content: String| json!({"sessionId": "s1", "path": path, "content": content});
        agent.asks_long(json!("long"), "fs/write_text_file", write(long()));
        let refused = agent.line().await;
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("long"), &json!(-32600)));
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("longer than 16777216 bytes"), "{message}");
        // As JSON twice as long.
        let lines = "\n".repeat(4 * 1024 * 1024);
        agent.asks_long(json!("fits"), "fs/write_text_file", write(lines.clone()));
        let written = agent.line().await;
        assert_eq!((&written["id"], &written["result"]), (&json!("fits"), &json!({})));
        assert!(std::fs::read_to_string(&path).unwrap() == lines);
        agent.asks(json!("back"), "fs/read_text_file", json!({"sessionId": "s1", "path": path}));
        assert!(agent.line().await["result"]["content"] == lines);
        agent.ends_turn(&id, "end_turn");
        assert_eq!(sealed(&mut link, 1).await["stop_reason"], "end_turn");
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn an_answer_past_the_bound_ends_its_turn_and_the_agent_goes_on() {
    local(async {
        let node = Node::new();
        let (a, _link, mut agent, id) = begin_turn(&node).await;
        let b = over_to(&node, &a, Slot::B, 2).await;
        agent.answers_long(&id, json!({"stopReason": "end_turn", "_meta": {"id": 99, "long": long()}}));
        let mut link = watch(&b, 2).await;
        let seal = sealed(&mut link, 1).await;
        assert_eq!((&seal["stop_reason"], &seal["code"]), (&json!("failed"), &json!("OUTPUT_LIMIT")));
        let detail = seal["detail"].as_str().unwrap();
        assert!(detail.contains("an answer longer than 16777216 bytes"), "{detail}");
        prompt(&mut link, "x", "more").await;
        let id = agent.prompted("t2", "more").await;
        agent.ends_turn(&id, "end_turn");
        assert_eq!(sealed(&mut link, 2).await["stop_reason"], "end_turn");
        same_everywhere(&mut link, "x").await;
    });
}

#[test]
fn a_message_past_the_bound_that_nobody_can_answer_ends_the_agent() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent, _id) = begin_turn(&node).await;
        agent.asks_long(json!({"no": "id"}), "fs/write_text_file", json!({"content": long()}));
        assert_eq!(agent.hears().await, Heard::End);
        node.exit(&agent.worker, 143, EndedBy::Cancel);
        let seal = sealed(&mut link, 1).await;
        assert_eq!((&seal["stop_reason"], &seal["code"]), (&json!("interrupted"), &json!("OUTPUT_LIMIT")));
        let detail = seal["detail"].as_str().unwrap();
        assert!(detail.contains("longer than 16777216 bytes"), "{detail}");
    });
}

#[test]
fn a_handshake_that_is_answered_past_the_bound_is_over_at_once() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link) = opened(&node).await;
        let mut agent = Agent::stands(&node, "x", &[]).await;
        let asked = agent.line().await;
        agent.answers_long(&asked["id"], json!({"protocolVersion": 1, "_meta": long()}));
        while agent.hears().await != Heard::End {}
        agent.dies();
        let list: Value = loop {
            let list = link.call("task.list", json!({})).await.unwrap();
            if list["tasks"][0]["state"] == "errored" {
                break list;
            }
        };
        let why = list["tasks"][0]["error"].as_str().unwrap();
        assert!(why.contains("longer than 16777216 bytes"), "{why}");
    });
}
