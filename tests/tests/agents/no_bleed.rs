//! Many tasks at once: nothing of one is seen in another.

use holdfast_tests::agents::{self, said, wait_for};
use holdfast_tests::client::{Client, Since};
use holdfast_tests::faults::Moments;
use holdfast_tests::node::Node;
use holdfast_tests::run;
use holdfast_tests::work::{self, conversation};
use serde_json::json;

const TASKS: usize = 50;
const FOCUS_SWITCHES: usize = 500;
const RUNTIME_SWITCHES: usize = 5;

/// 50 tasks, each told a secret; after 500 switches of focus and 5 of the runtime each knows its own, and no event of a
/// conversation has another's.
#[test]
fn no_task_shows_anothers_secret() {
    run(async {
        let node = Node::up();
        let mut moments = Moments::new("no bleed");
        let names: Vec<String> = (0..TASKS).map(|task| format!("task:t{task}")).collect();
        let channels: Vec<(&str, Since)> = names.iter().map(|name| (name.as_str(), Since::Now)).collect();
        let operator = work::client(&node, &[]);
        operator.ready().await;
        let secret = |task: usize| format!("hush-{:04}", task * 7919 % 10_000);
        let mut watchers: Vec<Client> = Vec::new();
        for task in 0..TASKS {
            let name = format!("t{task}");
            agents::open(&operator, &name, "demo").await;
            let watcher = work::recorder(&node, &[(&conversation(&name), Since::Start)]);
            watcher.ready().await;
            let remember = format!("remember {}", secret(task));
            let turn = work::prompt(&operator, &name, &remember, false).await.expect("an idle task");
            wait_for(&watcher, &name, &turn, "turn.sealed").await;
            watchers.push(watcher);
        }
        let person = work::recorder(&node, &channels);
        person.ready().await;
        let mut focus = 0;
        for switch in 0..FOCUS_SWITCHES {
            // To a task in focus there is nothing to switch.
            focus = (focus + 1 + moments.below(TASKS as u64 - 1)) % TASKS as u64;
            agents::switch(&person, &format!("t{focus}")).await;
            if switch % (FOCUS_SWITCHES / RUNTIME_SWITCHES) == FOCUS_SWITCHES / RUNTIME_SWITCHES / 2 {
                node.switch().await.expect("a runtime switch");
            }
        }
        for (task, watcher) in watchers.iter().enumerate() {
            let name = format!("t{task}");
            let turn = work::prompt(&operator, &name, "secret", false).await.expect("an idle task");
            wait_for(watcher, &name, &turn, "turn.sealed").await;
            let channel = conversation(&name);
            let (told, all) = watcher.observed(|seen| {
                let events = &seen.channel(&channel).events;
                (said(events, &turn), json!(events).to_string())
            });
            assert!(told.contains(&secret(task)), "{name} says {told:?}");
            for other in (0..TASKS).filter(|other| *other != task) {
                assert!(!all.contains(&secret(other)), "{name} shows the secret of t{other}");
            }
            watcher.observed(|seen| assert_eq!(seen.complaints(), Vec::<String>::new(), "{name}"));
        }
    });
}
