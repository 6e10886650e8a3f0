//! Tasks with agents where something beside them is full, refused or changed.

use crate::agents::{begin, over_to, prompt, same_everywhere, sealed};
use crate::support::{Node, local};
use holdfast_shared::error::Code;
use holdfast_shared::slot::Slot;
use serde_json::json;

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
        let mut link = b.route(2).await;
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        let more = json!({"task": "x", "text": "three", "queue": true});
        let refused = link.call("task.prompt", more).await.unwrap_err();
        assert_eq!((refused.code, refused.retryable), (Code::StorageFull, true));
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        let running = |list: &serde_json::Value| list["tasks"][0]["turn"] == "t2";
        while !running(&link.call("task.list", json!({})).await.unwrap()) {}
        assert_eq!(agent.take(), None, "the queued prompt is not given to it");

        node.set("{}");
        let c = over_to(&node, &b, Slot::A, 3).await;
        let mut link = c.route(3).await;
        link.subscribe(1, "conversation:x", "", Some(0)).await;
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
        let mut link = b.route(2).await;
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        while link.call("task.cancel", json!({"task": "x"})).await.unwrap()["turn"] != "t2" {}
        let id = agent.prompted("t2", "two").await;
        assert_eq!(agent.line().await["method"], "session/cancel");
        agent.ends_turn(&id, "cancelled");
        assert_eq!(sealed(&mut link, 2).await["stop_reason"], "cancelled");
    });
}
