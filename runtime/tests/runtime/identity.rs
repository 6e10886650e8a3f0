//! Workspaces of commands: each worker starts in the task's own, or not at all.

use crate::agents::{begin_turn, sealed};
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

#[test]
fn nothing_is_served_to_an_agent_that_lives_once_another_directory_is_in_its_workspaces_place() {
    local(async {
        let node = Node::new();
        let (_runtime, mut link, mut agent, id) = begin_turn(&node).await;
        let workspace = std::path::absolute(node.home.workspaces().join("x")).unwrap();
        let aside = workspace.with_file_name("aside");
        let write = json!({"sessionId": "s1", "path": workspace.join("a"), "content": "text"});
        let read = json!({"sessionId": "s1", "path": workspace.join("a")});
        let run = json!({"sessionId": "s1", "command": "true"});
        let run_in = json!({"sessionId": "s1", "command": "true", "cwd": workspace});
        agent.asks(json!("before"), "fs/write_text_file", write.clone());
        assert_eq!(agent.line().await["result"], json!({}));
        std::fs::rename(&workspace, &aside).unwrap();
        for is_there in [false, true] {
            if is_there {
                std::fs::create_dir(&workspace).unwrap();
                std::fs::write(workspace.join("a"), "of another").unwrap();
            }
            for (method, params) in [
                ("fs/write_text_file", &write),
                ("fs/read_text_file", &read),
                ("terminal/create", &run),
                ("terminal/create", &run_in),
            ] {
                agent.asks(json!(method), method, params.clone());
                let refused = agent.line().await;
                assert_eq!(refused["error"]["code"], -32603, "{refused}");
                let message = refused["error"]["message"].as_str().unwrap();
                assert!(message.contains("not the task's workspace"), "{refused}");
            }
        }
        assert_eq!(std::fs::read(workspace.join("a")).unwrap(), b"of another");
        assert_eq!(node.supervised.borrow().requests.len(), 1, "no command was asked for");
        std::fs::remove_dir_all(&workspace).unwrap();
        std::fs::rename(&aside, &workspace).unwrap();
        agent.asks(json!("after"), "fs/read_text_file", read);
        assert_eq!(agent.line().await["result"]["content"], "text");
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
    });
}
