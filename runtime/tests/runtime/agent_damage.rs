//! Spools that are damaged: only what is still needed of one ends its agent.

use crate::agent::{Agent, Heard};
use crate::agents::{begin, command_asked_for, prompt, sealed, watch};
use crate::support::{Node, Runtime, local, until};
use holdfast_shared::slot::Slot;
use holdfast_shared::spool::segment_path;
use holdfast_shared::worker::{EndedBy, Started};
use serde_json::{Value, json};

/// Changes a byte in the middle of one segment of the agent's spool.
fn damage(node: &Node, agent: &Agent<'_>, segment: u32) {
    let path = segment_path(&node.home.worker(&agent.worker), segment);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

/// From here on the disk refuses (EIO) what says that the agent was started, as memory at address 0 is refused.
fn refuse_started(node: &Node, agent: &Agent<'_>) {
    let started = Started::path(&node.home.worker(&agent.worker));
    std::fs::remove_file(&started).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", &started).unwrap();
    let refused = Started::read(&node.home.worker(&agent.worker)).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EIO));
}

/// A second turn is given to the agent, whose runtime is killed then; answers the prompt's id.
async fn second_turn(mut runtime: Runtime, agent: &mut Agent<'_>) -> Value {
    until("mark and prompt are written", async || (agent.waiting() == 2).then_some(())).await;
    runtime.kill();
    agent.prompted("t2", "two").await
}

#[test]
fn an_agent_outlives_damage_in_a_turn_that_is_sealed() {
    local(async {
        let node = Node::new();
        let (a, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "one").await;
        let id = agent.prompted("t1", "one").await;
        (0..9).for_each(|_| agent.updates("one"));
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        prompt(&mut link, "x", "two").await;
        let id = second_turn(a, &mut agent).await;
        damage(&node, &agent, 1);
        let b = node.active(Slot::B, 2).await;
        let mut link = watch(&b, 2).await;
        agent.ends_turn(&id, "end_turn");
        assert_eq!(sealed(&mut link, 2).await["stop_reason"], "end_turn");
        prompt(&mut link, "x", "three").await;
        agent.prompted("t3", "three").await;
        assert_eq!(node.supervised.borrow().requests.len(), 1, "it is the same agent");
    });
}

#[test]
fn what_was_asked_in_the_damaged_part_is_refused_and_holds_no_place() {
    local(async {
        let node = Node::new();
        let (a, mut link, mut agent, id) = command_asked_for(&node).await;
        (0..9).for_each(|_| agent.updates("one"));
        agent.ends_turn(&id, "end_turn");
        sealed(&mut link, 1).await;
        prompt(&mut link, "x", "two").await;
        let id = second_turn(a, &mut agent).await;
        let path = segment_path(&node.home.worker(&agent.worker), 1);
        let mut bytes = std::fs::read(&path).unwrap();
        let asked = bytes.windows(15).position(|text| text == b"terminal/create").unwrap();
        bytes[asked] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        // Still refused: what the killed runtime has just asked for must not begin now.
        let b = node.active(Slot::B, 2).await;
        let refused = agent.line().await;
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(1), &json!(-32603)), "{refused}");
        let mut link = watch(&b, 2).await;
        agent.ends_turn(&id, "end_turn");
        assert_eq!(sealed(&mut link, 2).await["stop_reason"], "end_turn");
        until("only the agent's directory is left", async || {
            (std::fs::read_dir(node.home.workers()).unwrap().count() == 1).then_some(())
        })
        .await;
    });
}

#[test]
fn damage_in_the_running_turn_ends_the_agent_with_a_reason_and_a_code() {
    local(async {
        let node = Node::new();
        let (mut a, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "one").await;
        agent.prompted("t1", "one").await;
        (0..9).for_each(|_| agent.updates("one"));
        link.event(1, "turn.update").await;
        a.kill();
        damage(&node, &agent, 1);
        let b = node.active(Slot::B, 2).await;
        let mut link = watch(&b, 2).await;
        while agent.hears().await != Heard::End {}
        agent.dies();
        let seal = sealed(&mut link, 1).await;
        assert_eq!((&seal["stop_reason"], &seal["code"]), (&json!("interrupted"), &json!("WORKER_DEAD")));
        assert_eq!(seal["detail"], "its output cannot be read any more");
        prompt(&mut link, "x", "two").await;
        Agent::ready(&node, "x", &[&agent.worker]).await.prompted("t2", "two").await;
    });
}

#[test]
fn an_agent_that_lives_is_not_lost_where_its_start_cannot_be_read_at_a_take_over() {
    local(async {
        let node = Node::new();
        let (mut a, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "one").await;
        let id = agent.prompted("t1", "one").await;
        a.kill();
        refuse_started(&node, &agent);
        let b = node.active(Slot::B, 2).await;
        let mut link = b.route(2).await;
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        agent.updates("one");
        link.event(1, "turn.update").await;
        agent.ends_turn(&id, "end_turn");
        assert_eq!(sealed(&mut link, 1).await["stop_reason"], "end_turn");
        assert_eq!(node.supervised.borrow().requests.len(), 1, "it is the same agent");
    });
}

#[test]
fn how_an_agent_ended_is_known_where_its_start_cannot_be_read_at_a_take_over() {
    local(async {
        let node = Node::new();
        let (mut a, mut link, mut agent) = begin(&node).await;
        prompt(&mut link, "x", "one").await;
        agent.prompted("t1", "one").await;
        a.kill();
        refuse_started(&node, &agent);
        node.exit(&agent.worker, 7, EndedBy::Worker);
        let b = node.active(Slot::B, 2).await;
        let mut link = b.route(2).await;
        link.subscribe(1, "conversation:x", "", Some(0)).await;
        let seal = sealed(&mut link, 1).await;
        assert_eq!(seal["detail"], "the agent exited with code 7");
    });
}
