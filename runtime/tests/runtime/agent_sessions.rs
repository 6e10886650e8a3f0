//! Sessions of agents: warm, taken up again, in a mode.

use crate::agent::{Agent, Heard};
use crate::agents::{begin, opened};
use crate::support::{Link, Node, local, until};
use holdfast_shared::error::Code;
use holdfast_shared::slot::Slot;
use holdfast_shared::worker::EndedBy;
use serde_json::{Value, json};

#[test]
fn a_switch_is_answered_at_once_and_in_time_with_a_session_or_an_error() {
    local(async {
        let node = Node::new();
        node.set(r#"{"switch_timeout_ms": 1}"#);
        let (_runtime, mut link) = opened(&node).await;
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
        let (_runtime, mut link) = opened(&node).await;
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
