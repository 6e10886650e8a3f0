//! What anybody may read of a node: whole, and there while runtime and supervisor are down.

use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use holdfast_tests::node::{Node, Options};
use holdfast_tests::{http, processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);
const PATH: &str = "/supervisor/public/update-status";
/// CONTRACTS.md 2, "Public status": the fields that are always there.
const FIELDS: [&str; 25] = [
    "/update/state",
    "/update/action",
    "/update/message",
    "/update/target_version",
    "/update/planned_reason",
    "/update/scheduled_for",
    "/update/countdown_remaining_sec",
    "/update/subsequent_transition",
    "/update/failure_reason",
    "/update/updated_at",
    "/update/operator_actions",
    "/runtime/active_slot",
    "/runtime/state",
    "/runtime/runtime_instance_id",
    "/runtime/release",
    "/runtime/epoch",
    "/candidate",
    "/transition_mode",
    "/admission/allowed",
    "/admission/reason",
    "/root_promotion_required",
    "/sidecar/state",
    "/served_by",
    "/update/state_since",
    "/update/state_until",
];

async fn public(node: &Node) -> Value {
    let reply = http::get(&node.ready.address(), PATH, None).await.expect("the sidecar answers");
    assert_eq!(reply.status, 200, "{}", reply.head);
    serde_json::from_str(&reply.body).expect("JSON")
}

/// No paths, pids, tokens, command lines.
fn tells_nothing_of_the_machine(node: &Node, status: &Value) {
    let text = status.to_string();
    let home = node.home().path().display().to_string();
    assert!(!text.contains(&home) && !text.contains(&node.ready.token), "{text}");
    for field in ["\"pid\"", "\"path\"", "\"home\"", "\"token\"", "--home"] {
        assert!(!text.contains(field), "{field} in {text}");
    }
}

#[test]
fn public_status_is_whole_and_answers_while_runtime_and_supervisor_are_down() {
    let node = Node::up();
    run(async {
        let (slot, _) = node.active().await;
        let routed =
            async || Some(public(&node).await).filter(|status| status["runtime"]["state"] == "running");
        let status = wait::until_asked("it runs", DEADLINE, routed).await;
        for field in FIELDS {
            assert!(status.pointer(field).is_some(), "{field} is missing in {status}");
        }
        assert_eq!(status["served_by"], "sidecar");
        assert_eq!(status["runtime"]["active_slot"], json!(slot.name()));
        assert_eq!(status["sidecar"], json!({"state": "serving", "link_up": true}));
        tells_nothing_of_the_machine(&node, &status);

        // The keeper stands still, so nothing comes back.
        processes::stop(node.pid_of(Role::Keeper).expect("a keeper"));
        node.signal(Role::Supervisor, Signal::SIGKILL);
        for slot in Slot::BOTH {
            if let Some(pid) = node.pid_of(Role::Runtime(slot)) {
                processes::signal(pid, Signal::SIGKILL);
            }
        }
        let down =
            async || Some(public(&node).await).filter(|status| status["sidecar"]["link_up"] == json!(false));
        let status = wait::until_asked("the link is down", DEADLINE, down).await;
        for field in FIELDS {
            assert!(status.pointer(field).is_some(), "{field} is missing in {status}");
        }
    });
}

#[test]
fn public_status_says_what_an_attempt_is_at_after_its_supervisor_has_died() {
    let config = "[supervisor]\ngood_probes = 60\nautomatic_defer_ms = 600000\n";
    let node = std::rc::Rc::new(Node::up_with(&Options { config: config.into() }));
    run(async {
        node.active().await;
        let switching = tokio::task::spawn_local({
            let node = node.clone();
            async move { node.holdfast_async(&["switch"]).await }
        });
        // The candidate is told once it has said what it is.
        let admitted = async || {
            let known = |status: &Value| {
                status["update"]["state"] == "admitted" && status["candidate"]["slot"].is_string()
            };
            Some(public(&node).await).filter(known)
        };
        let status = wait::until_asked("admitted", DEADLINE, admitted).await;
        assert_eq!(status["update"]["action"], "switch");
        assert!(status["update"]["state_left_sec"].as_i64().is_some_and(|left| left > 0), "{status}");
        assert_eq!(status["update"]["operator_actions"], json!(["cancel"]));
        tells_nothing_of_the_machine(&node, &status);

        let keeper = node.pid_of(Role::Keeper).expect("a keeper");
        processes::stop(keeper);
        node.signal(Role::Supervisor, Signal::SIGKILL);
        assert_eq!(public(&node).await["update"]["state"], "admitted", "it is still known");
        let said = node.holdfast_async(&["status", "--json"]).await;
        let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        assert_eq!(
            (&said["update"]["state"], &said["node"]["state"]),
            (&json!("admitted"), &json!("degraded"))
        );
        assert_eq!(said["active"], Value::Null, "which one is active, the supervisor says: {said}");
        assert_eq!(said["sidecar"]["pid"], json!(node.pid_of(Role::Sidecar)), "{said}");
        assert_eq!(said["node"]["url"], json!(node.ready.url), "{said}");
        processes::signal(keeper, Signal::SIGCONT);
        let gone_on =
            async || node.status_async().await.filter(|status| status["node"]["ready"] == json!(true));
        wait::until_asked("the next supervisor", DEADLINE, gone_on).await;
        node.holdfast_async(&["update", "cancel"]).await;
        switching.await.expect("it comes to its end");
    });
}
