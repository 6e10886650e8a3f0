//! How many agents wait for their next prompt, and what becomes of the others.

use holdfast_tests::agents::{self, said, wait_for};
use holdfast_tests::client::Since;
use holdfast_tests::node::{Node, Options};
use holdfast_tests::work::{self, SEALED_DEADLINE, conversation};
use holdfast_tests::{run, wait};
use serde_json::{Value, json};

/// With room for two, a third task's worker ends that of the task used longest ago; its session is resumed with its
/// next prompt.
#[test]
fn past_the_warm_cap_the_least_recently_used_worker_is_ended_and_resumed_later() {
    run(async {
        let node = Node::up_with(&Options { config: "[runtime]\nwarm_workers = 2\n".into() });
        let operator = work::client(&node, &[]);
        operator.ready().await;
        let tasks = ["one", "two", "three"];
        let channels = tasks.map(conversation);
        let wanted: Vec<(&str, Since)> = channels.iter().map(|name| (name.as_str(), Since::Start)).collect();
        for task in tasks {
            agents::open(&operator, task, "demo").await;
        }
        let watcher = work::recorder(&node, &wanted);
        watcher.ready().await;
        let prompt = async |task: &str, text: &str| {
            let turn = work::prompt(&operator, task, text, false).await.expect("an idle task");
            wait_for(&watcher, task, &turn, "turn.sealed").await;
            watcher.observed(|seen| said(&seen.channel(&conversation(task)).events, &turn))
        };
        for task in tasks {
            prompt(task, &format!("remember of {task}")).await;
        }
        let warm = async |expected: &[&str]| {
            wait::until_asked("these are warm", SEALED_DEADLINE, async || {
                let list = operator.command("task.list", json!({})).await.expect("a read");
                let mut warm: Vec<String> = list["tasks"]
                    .as_array()
                    .expect("tasks")
                    .iter()
                    .filter(|task| task["worker"] == "warm")
                    .map(|task: &Value| task["task"].as_str().expect("a text").to_owned())
                    .collect();
                warm.sort_unstable();
                (warm == expected).then_some(())
            })
            .await;
        };
        warm(&["three", "two"]).await;
        wait::until("its process is gone", SEALED_DEADLINE, || {
            agents::workers(&node, "one").is_empty().then_some(())
        })
        .await;
        assert!(prompt("one", "secret").await.contains("of one"), "resumed with its session");
        warm(&["one", "three"]).await;
        assert!(prompt("two", "secret").await.contains("of two"));
        assert!(prompt("three", "secret").await.contains("of three"));
    });
}
