//! always visible: what the node does can be read whatever is down.

use holdfast_shared::home::Role;
use holdfast_tests::client::Since;
use holdfast_tests::node::Node;
use holdfast_tests::work;
use holdfast_tests::{http, processes, run, wait};
use serde_json::{Value, json};
use std::time::Duration;

async fn public_status(node: &Node) -> Value {
    let reply =
        http::get(&node.ready.address(), "/supervisor/public/update-status", None).await.expect("answered");
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.body))
}

/// The runtime stands still: the public status, `node.state` and `status` answer, and say so within seconds.
#[test]
fn always_visible_while_the_runtime_is_stopped() {
    run(async {
        let node = Node::up();
        let client = work::recorder(&node, &[("node", Since::Now)]);
        client.ready().await;
        let (slot, pid) = node.active().await;
        let standby = node.pid_of(Role::Runtime(slot.other()));
        for pid in [Some(pid), standby].into_iter().flatten() {
            processes::stop(pid);
        }
        let status = public_status(&node).await;
        assert_eq!(status["update"]["state"], json!("idle"), "{status}");
        let state = client.command("node.state", json!({})).await.expect("answered without a runtime");
        assert!(state.is_object(), "{state}");
        client
            .wait("a node event about it", Duration::from_secs(20), |seen| {
                !seen.channel("node").events.is_empty()
            })
            .await;
        let secret = node.ready.token.as_str();
        let told = client
            .observed(|seen| seen.channel("node").events.iter().map(Value::to_string).collect::<String>());
        for text in [told, public_status(&node).await.to_string()] {
            assert!(!text.contains(secret), "a token in public");
            assert!(!text.contains(&*node.home().path().to_string_lossy()), "a path in public: {text}");
            assert!(!text.contains("\"pid\""), "a pid in public: {text}");
        }
        node.active().await;
    });
}

/// The supervisor stands still: the public status is still served, and `status` ends with a code, not with a hang.
#[test]
fn always_visible_while_the_supervisor_is_stopped() {
    run(async {
        let node = Node::up();
        let supervisor = node.pid_of(Role::Supervisor).expect("a living supervisor");
        processes::stop(supervisor);
        let status = public_status(&node).await;
        assert!(status["runtime"].is_object(), "{status}");
        let told = node.holdfast_async(&["status", "--json"]).await;
        assert!(told.status.code().is_some(), "{told:?}");
        processes::signal(supervisor, nix::sys::signal::Signal::SIGCONT);
        wait::until("status answers", Duration::from_secs(20), || {
            node.status().filter(|status| status["active"].is_object())
        })
        .await;
    });
}

/// A switch is seen on the `node` channel by those who watch it.
#[test]
fn always_visible_a_switch_is_told_on_the_node_channel() {
    run(async {
        let node = Node::up();
        let client = work::recorder(&node, &[("node", Since::Now)]);
        client.ready().await;
        let before = node.active().await.0;
        node.switch().await.expect("a switch");
        let after = before.other().name();
        client
            .wait("the new slot on channel node", Duration::from_secs(20), |seen| {
                let events = &seen.channel("node").events;
                events.iter().any(|event| event["active"]["slot"] == after)
            })
            .await;
        client.observed(|seen| assert_eq!(seen.complaints(), Vec::<String>::new()));
    });
}
