//! An agent that cannot take up its session: whoever reads the conversation is told that it has begun anew.

use crate::agent::Agent;
use crate::agents::{open, prompt, sealed};
use crate::support::{Link, Node, local};
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};

/// One with this session, which it cannot load later.
async fn forgetful<'a>(node: &'a Node, session: &str, before: &[&str]) -> Agent<'a> {
    let mut agent = Agent::stands(node, "x", before).await;
    agent.greets(json!({})).await;
    let asked = agent.line().await;
    assert_eq!(asked["method"], "session/new");
    agent.answers(&asked["id"], json!({"sessionId": session}));
    agent
}

async fn one_turn(agent: &mut Agent<'_>, link: &mut Link, turn: &str, count: usize) {
    let asked = agent.prompted(turn, "p").await;
    agent.updates("hello");
    agent.ends_turn(&asked, "end_turn");
    sealed(link, count).await;
}

async fn readied(link: &mut Link, count: usize) -> Vec<Value> {
    loop {
        let events = link.channels[&2].events();
        let readied = events.into_iter().filter(|event| event["type"] == "task.ready");
        let sessions: Vec<Value> = readied.map(|event| event["session"].clone()).collect();
        if sessions.len() >= count {
            return sessions;
        }
        assert!(link.receive().await, "link closed");
    }
}

/// Said once, before the first word of the turn, wherever the loss was known: as the turn began, or between two turns. A
/// first start is none, and neither is one before which nothing was said.
#[test]
fn a_lost_session_is_said_in_the_turn_that_begins_anew_and_to_who_joins_late() {
    local(async {
        let node = Node::new();
        let runtime = node.active(Slot::A, 1).await;
        let mut link = runtime.route(1).await;
        open(&mut link, "x").await;
        let first = forgetful(&node, "s1", &[]).await;
        readied(&mut link, 1).await;
        first.dies();
        prompt(&mut link, "x", "p").await;
        let mut second = forgetful(&node, "s2", &[&first.worker]).await;
        one_turn(&mut second, &mut link, "t1", 1).await;
        second.dies();
        prompt(&mut link, "x", "p").await;
        let mut third = forgetful(&node, "s3", &[&first.worker, &second.worker]).await;
        one_turn(&mut third, &mut link, "t2", 2).await;
        third.dies();
        let before = [first.worker.as_str(), &second.worker, &third.worker];
        link.call("task.stop", json!({"task": "x"})).await.unwrap();
        link.call("task.open", json!({"task": "x", "skill": "demo"})).await.unwrap();
        let mut fourth = forgetful(&node, "s4", &before).await;
        let sessions = readied(&mut link, 4).await;
        prompt(&mut link, "x", "p").await;
        one_turn(&mut fourth, &mut link, "t3", 3).await;
        prompt(&mut link, "x", "p").await;
        one_turn(&mut fourth, &mut link, "t4", 4).await;
        let lost: Vec<&Value> = sessions.iter().map(|session| &session["lost"]).collect();
        assert_eq!(lost, [&Value::Null, &Value::Null, &json!(true), &json!(true)], "{sessions:?}");
        let events = link.channels[&1].events();
        let at = |turn: &str| {
            let of: Vec<&Value> = events.iter().filter(|event| event["turn"] == turn).collect();
            of.iter().position(|event| event["type"] == "session.lost")
        };
        assert_eq!([at("t1"), at("t2"), at("t3"), at("t4")], [None, Some(1), Some(1), None]);
        assert_eq!(events.iter().filter(|event| event["type"] == "session.lost").count(), 2);
        let read = link.read("conversation:x", 0, 1000, 1 << 20).await;
        let late: Vec<Value> =
            read.publications.iter().map(|one| serde_json::from_slice(&one.data).unwrap()).collect();
        assert_eq!(late, events);
    });
}
