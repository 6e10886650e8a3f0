//! Workspaces of commands: each worker starts in the task's own, or not at all.

use crate::support::{Node, local};
use holdfast_shared::slot::Slot;
use holdfast_shared::worker::EndedBy;
use serde_json::json;
use std::path::Path;

/// What the workspace's directory says it is.
fn identity(workspace: &Path) -> Vec<u8> {
    let mut bytes = [0; 256];
    let length = rustix::fs::getxattr(workspace, "user.holdfast.workspace", &mut bytes).unwrap();
    bytes[..length].to_vec()
}

#[test]
fn a_command_starts_only_in_the_workspace_of_its_tasks_first_turn() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        let worker = link.begin(&node, "demo").await;
        link.subscribe(1, "conversation:demo", "", Some(0)).await;
        link.subscribe(2, "task:demo", "", Some(0)).await;
        let workspace = node.home.workspaces().join("demo");
        let first = identity(&workspace);
        node.exit(&worker, 0, EndedBy::Worker);
        link.event(1, "turn.sealed").await;
        link.call("task.prompt", json!({"task": "demo", "text": "b"})).await.unwrap();
        let worker = node.worker("demo", "t2").await;
        assert_eq!(identity(&workspace), first, "the same for every turn");
        node.exit(&worker, 0, EndedBy::Worker);
        while link.channels[&1].types().iter().filter(|kind| *kind == "turn.sealed").count() < 2 {
            assert!(link.receive().await);
        }

        // Somebody puts another in its place.
        std::fs::rename(&workspace, workspace.with_file_name("aside")).unwrap();
        std::fs::create_dir(&workspace).unwrap();
        link.call("task.prompt", json!({"task": "demo", "text": "c"})).await.unwrap();
        while link.channels[&1].types().iter().filter(|kind| *kind == "turn.sealed").count() < 3 {
            assert!(link.receive().await);
        }
        assert_eq!(link.channels[&1].events().last().unwrap()["stop_reason"], "failed");
        let listed = &link.call("task.list", json!({})).await.unwrap()["tasks"][0];
        assert_eq!(listed["state"], "errored");
        let error = listed["error"].as_str().unwrap();
        assert!(error.starts_with("WORKSPACE_POLICY_VIOLATION: "), "{error}");
        assert_eq!(node.supervised.borrow().requests.len(), 2, "nothing was started in it");

        // It is back.
        std::fs::remove_dir_all(&workspace).unwrap();
        std::fs::rename(workspace.with_file_name("aside"), &workspace).unwrap();
        let opened = link.call("task.open", json!({"task": "demo", "skill": "command"})).await.unwrap();
        assert_eq!(opened["mode"], "recovered");
        link.call("task.prompt", json!({"task": "demo", "text": "d"})).await.unwrap();
        node.worker("demo", "t4").await;
    });
}
