//! durable: what was answered is on disk and takes effect exactly once, whatever dies next.

use holdfast_tests::client::Since;
use holdfast_tests::node::Node;
use holdfast_tests::work::{self, SEALED_DEADLINE, conversation};
use holdfast_tests::{processes, run};
use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// The same id gets the same answer from every runtime, and another payload under it is refused.
#[test]
fn durable_a_command_sent_again_after_a_kill_gets_its_first_answer() {
    run(async {
        let node = Node::up();
        let client = work::client(&node, &[]);
        client.ready().await;
        work::open_task(&client, "t").await;
        let id = Uuid::now_v7().to_string();
        let file = node.scratch().join("effect");
        let data = json!({"task": "t", "text": format!("echo done >> '{}'", file.display()), "queue": true});
        let first = client.command_with_id(&id, "task.prompt", data.clone()).await.expect("accepted");
        for _ in 0..3 {
            let (_, pid) = node.active().await;
            processes::signal(pid, Signal::SIGKILL);
            let again = client.command_with_id(&id, "task.prompt", data.clone()).await.expect("known");
            assert_eq!(again, first);
        }
        let other = json!({"task": "t", "text": "something else", "queue": true});
        let refused = client.command_with_id(&id, "task.prompt", other).await.expect_err("another payload");
        assert!(refused.is("COMMAND_ID_REUSED"), "{refused:?}");
        let watcher = work::recorder(&node, &[(&conversation("t"), Since::Start)]);
        watcher
            .wait("sealed", SEALED_DEADLINE, |seen| {
                work::sealed(&seen.channel(&conversation("t")).events, "t1")
            })
            .await;
        assert_eq!(std::fs::read_to_string(file).expect("the effect"), "done\n", "once");
    });
}

/// The whole tree dies right after the answer; the next start has the command and runs it once.
#[test]
fn durable_an_accepted_command_survives_the_death_of_everything() {
    run(async {
        let mut node = Node::up();
        let client = work::client(&node, &[]);
        client.ready().await;
        for round in 1..=3 {
            let task = format!("task-{round}");
            work::open_task(&client, &task).await;
            node.kill_everything();
            node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
            let list = client.command("task.list", json!({})).await.expect("a list");
            assert!(list.to_string().contains(&format!("\"{task}\"")), "{task} is gone: {list}");
            let opened = client.command("task.open", json!({"task": task, "skill": "command"})).await;
            assert!(opened.is_err(), "it is open already: {opened:?}");
        }
        client.wait("connected again", Duration::from_secs(30), |seen| seen.connected).await;
    });
}
