//! Tasks with agents: how tests of them begin, and what all of them look at.

use crate::agent::Agent;
use crate::support::{Link, Node, Runtime, Supervised, until};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Publication;
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};

/// A task with an agent, opened; channel 1 is its conversation, 2 its events.
pub async fn open(link: &mut Link, task: &str) {
    let opened = link.call("task.open", json!({"task": task, "skill": "demo"})).await.unwrap();
    assert_eq!(opened, json!({"task": task, "mode": "created", "state": "creating"}));
    link.subscribe(1, &format!("conversation:{task}"), "", Some(0)).await;
    link.subscribe(2, &format!("task:{task}"), "", Some(0)).await;
}

/// A runtime and a link to it, on which a task `x` was opened; nothing was heard of its agent yet.
pub async fn opened(node: &Node) -> (Runtime, Link) {
    let runtime = node.active(Slot::A, 1).await;
    let mut link = runtime.route(1).await;
    open(&mut link, "x").await;
    (runtime, link)
}

/// A task `x` whose agent has its session.
pub async fn begin(node: &Node) -> (Runtime, Link, Agent<'_>) {
    let (runtime, link) = opened(node).await;
    let agent = Agent::ready(node, "x", &[]).await;
    (runtime, link, agent)
}

/// The same, and its first turn was given to the agent; answers the prompt's id, too.
pub async fn begin_turn(node: &Node) -> (Runtime, Link, Agent<'_>, Value) {
    let (runtime, mut link, mut agent) = begin(node).await;
    prompt(&mut link, "x", "go").await;
    let id = agent.prompted("t1", "go").await;
    (runtime, link, agent, id)
}

/// A link whose channel 1 is the conversation of task `x` from its beginning.
pub async fn watch(runtime: &Runtime, epoch: u64) -> Link {
    let mut link = runtime.route(epoch).await;
    link.subscribe(1, "conversation:x", "", Some(0)).await;
    link
}

pub async fn prompt(link: &mut Link, task: &str, text: &str) {
    link.call("task.prompt", json!({"task": task, "text": text})).await.unwrap();
}

/// Receives until the conversation has so many seals; answers the last.
pub async fn sealed(link: &mut Link, count: usize) -> Value {
    loop {
        let events = link.channels[&1].events();
        let seals: Vec<&Value> = events.iter().filter(|event| event["type"] == "turn.sealed").collect();
        if seals.len() >= count {
            return seals[count - 1].clone();
        }
        assert!(link.receive().await, "link closed at {} of {count} seals", seals.len());
    }
}

/// The whole conversation, read from its beginning.
pub async fn history(link: &mut Link, task: &str) -> Vec<Publication> {
    let (channel, mut all) = (format!("conversation:{task}"), Vec::new());
    loop {
        let after = all.len() as u64;
        let piece = link.read(&channel, after, 1000, 1 << 20).await;
        if piece.publications.is_empty() {
            assert_eq!(piece.top, after);
            return all;
        }
        all.extend(piece.publications);
    }
}

/// The same for a watcher from the beginning and in history.
pub async fn same_everywhere(link: &mut Link, task: &str) {
    let read = history(link, task).await;
    let offsets: Vec<u64> = read.iter().map(|one| one.offset).collect();
    assert_eq!(offsets, (1..=read.len() as u64).collect::<Vec<u64>>());
    assert_eq!(read, link.channels[&1].publications);
}

/// A turn whose agent has asked for a command that the supervisor cannot start now; answers the prompt's id, too.
pub async fn command_asked_for(node: &Node) -> (Runtime, Link, Agent<'_>, Value) {
    let (runtime, link, agent, id) = begin_turn(node).await;
    node.supervised.borrow_mut().refuse = Some(ApiError::new(Code::Unavailable, "not now"));
    agent.asks(json!(1), "terminal/create", json!({"sessionId": "s1", "command": "sleep"}));
    let taken = |supervised: &Supervised| supervised.requests.len() > 1;
    until("the command is asked for", async || taken(&node.supervised.borrow()).then_some(())).await;
    (runtime, link, agent, id)
}
