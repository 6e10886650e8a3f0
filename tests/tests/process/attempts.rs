//! Attempts to change the serving runtime: what is journaled, and what it comes to when the supervisor is killed.

use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::Wish;
use holdfast_tests::client::{Client, Since};
use holdfast_tests::node::{Node, Options, told};
use holdfast_tests::work::{self, SEALED_DEADLINE};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::process::Output;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;

const STATE_DEADLINE: Duration = Duration::from_secs(15);

/// Long admission and probation, for what is to happen in them.
const MANY_PROBES: &str = "[supervisor]\ngood_probes = 20\n";

fn node(config: &str) -> Rc<Node> {
    Rc::new(Node::up_with(&Options { config: config.into() }))
}

fn start(node: &Rc<Node>, arguments: &'static [&'static str]) -> JoinHandle<Output> {
    let node = node.clone();
    tokio::task::spawn_local(async move { node.holdfast_async(arguments).await })
}

async fn state_is(node: &Node, state: &str) {
    let looked = async || node.status_async().await.filter(|status| status["update"]["state"] == state);
    wait::until_asked(state, STATE_DEADLINE, looked).await;
}

/// A switch whose candidate stands still before it is ready.
struct Prewarming {
    old: (Slot, i32),
    candidate: i32,
    outcome: JoinHandle<Output>,
    /// Attempts before this one.
    earlier: usize,
}

/// Switches until a candidate was caught before it said READY; each other one is let finish.
async fn prewarming(node: &Rc<Node>) -> Prewarming {
    const TRIES: usize = 10;
    for _ in 0..TRIES {
        let (old, earlier) = (node.active().await, attempts(node).len());
        let outcome = start(node, &["switch"]);
        let living = async || node.pid_of(Role::Runtime(old.0.other()));
        let candidate = wait::until_asked("a candidate", STATE_DEADLINE, living).await;
        processes::stop(candidate);
        // What it said before it was stopped has been heard when the second of two answers comes.
        node.status_async().await;
        let status = node.status_async().await.unwrap_or_default();
        if status["update"]["state"] == "prewarming" {
            return Prewarming { old, candidate, outcome, earlier };
        }
        processes::signal(candidate, Signal::SIGCONT);
        let output = outcome.await.expect("the command came to its end");
        assert!(output.status.success(), "{}", told(&output));
    }
    panic!("{TRIES} candidates were ready before they could be stopped");
}

fn attempts(node: &Node) -> Vec<Value> {
    let told = node.json(&["attempts", "--json"]);
    told["attempts"].as_array().cloned().unwrap_or_default()
}

/// The states that the attempt went through.
fn steps(attempt: &Value) -> Vec<&str> {
    let steps = attempt["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    steps.iter().filter_map(|step| step["state"].as_str()).collect()
}

fn let_everybody_go_on(node: &Node) {
    for role in [Role::Runtime(Slot::A), Role::Runtime(Slot::B), Role::Sidecar] {
        if let Some(pid) = node.pid_of(role) {
            processes::signal(pid, Signal::SIGCONT);
        }
    }
}

/// Begins a switch and leaves it in this state; the slot that served, and the command.
async fn switching_in(node: &Rc<Node>, state: &str) -> (Slot, JoinHandle<Output>, usize) {
    if state == "prewarming" {
        let Prewarming { old, outcome, earlier, .. } = prewarming(node).await;
        return (old.0, outcome, earlier);
    }
    let (old, old_pid) = node.active().await;
    if state == "switching" {
        processes::stop(old_pid);
    }
    let switching = start(node, &["switch"]);
    if state == "switching" {
        let held = async || node.sidecar_report().await.filter(|report| report.effect == Wish::Hold);
        wait::until_asked("the sidecar holds", STATE_DEADLINE, held).await;
    }
    state_is(node, state).await;
    (old, switching, 0)
}

/// The supervisor is killed while the attempt is in this state; the attempt ends with a name, the node serves, and
/// `attempts`, the command's exit code and the serving slot agree.
async fn killed_in(state: &str) {
    let node = node(if ["admitted", "probation"].contains(&state) { MANY_PROBES } else { "" });
    let (old, switching, earlier) = switching_in(&node, state).await;
    let killed = node.signal(Role::Supervisor, Signal::SIGKILL);
    let_everybody_go_on(&node);
    let outcome = switching.await.expect("the command came to its end");
    let (now, _) = node.active().await;
    let supervisor = node.pid_of(Role::Supervisor).expect("a living supervisor");
    assert_ne!(supervisor, killed);

    let all = attempts(&node);
    let attempt = all.first().expect("the attempt is remembered");
    assert_eq!(all.len(), earlier + 1, "one request, one attempt: {all:?}");
    assert!(steps(attempt).contains(&state), "{attempt}");
    let succeeded = attempt["state"] == "succeeded";
    assert!(succeeded || attempt["failure_reason"].is_string(), "it ended with a name: {attempt}");
    assert_eq!(succeeded, now != old, "{attempt}");
    assert_eq!(succeeded, outcome.status.success(), "{attempt}: {}", told(&outcome));
    assert!(succeeded || state == "switching", "what had time left went on: {attempt}");

    let client = work::client(&node, &[("node", Since::Now)]);
    client.ready().await;
    work::open_task(&client, "t").await;
    work::prompt(&client, "t", "true", false).await.expect("the node serves");
    node.switch().await.expect("the next switch works");
}

#[test]
fn attempts_supervisor_killed_in_prewarming() {
    run(killed_in("prewarming"));
}

#[test]
fn attempts_supervisor_killed_in_admission() {
    run(killed_in("admitted"));
}

#[test]
fn attempts_supervisor_killed_in_switching() {
    run(killed_in("switching"));
}

#[test]
fn attempts_supervisor_killed_in_probation() {
    run(killed_in("probation"));
}

/// Commands with one effect each, and a look at all of them.
struct Counted<'a> {
    node: &'a Node,
    client: &'a Client,
}

impl Counted<'_> {
    async fn add(&self, number: u32) {
        let file = self.node.scratch().join("effects");
        let text = format!("echo {number} >> '{}'", file.display());
        let data = json!({"task": "count", "text": text, "queue": true});
        self.client.command("task.prompt", data).await.expect("accepted");
    }

    async fn are(&self, expected: &str) {
        let file = self.node.scratch().join("effects");
        wait::until("every command had its effect", SEALED_DEADLINE, || {
            std::fs::read_to_string(&file).ok().filter(|text| text == expected)
        })
        .await;
    }
}

/// A rollback of a switch that has settled, and one in probation, keep what was written since.
#[test]
fn attempts_a_rollback_keeps_every_write_made_since_the_switch() {
    run(async {
        let node = node(MANY_PROBES);
        let client = work::client(&node, &[("node", Since::Now)]);
        client.ready().await;
        work::open_task(&client, "count").await;
        let counted = Counted { node: &node, client: &client };
        let (first, _) = node.active().await;
        counted.add(1).await;
        node.switch().await.expect("a switch");
        counted.add(2).await;
        let back = node.holdfast_async(&["rollback"]).await;
        assert!(back.status.success(), "{}", told(&back));
        assert_eq!(node.active().await.0, first);
        counted.add(3).await;

        let switching = start(&node, &["switch"]);
        state_is(&node, "probation").await;
        counted.add(4).await;
        let back = node.holdfast_async(&["rollback"]).await;
        assert!(back.status.success(), "{}", told(&back));
        let switched = switching.await.expect("the command came to its end");
        assert_eq!(switched.status.code(), Some(5), "{}", told(&switched));
        assert_eq!(node.active().await.0, first);
        counted.add(5).await;
        counted.are("1\n2\n3\n4\n5\n").await;

        let all = attempts(&node);
        let ends: Vec<(&str, &str)> =
            all.iter().filter_map(|one| Some((one["action"].as_str()?, one["state"].as_str()?))).collect();
        assert_eq!(ends, [("switch", "rolled_back"), ("rollback", "succeeded"), ("switch", "succeeded")]);
        assert_eq!(all[0]["failure_reason"], "operator_rollback", "{}", all[0]);
        client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
    });
}

/// An attempt is cancelled while its candidate starts; the old runtime serves on.
#[test]
fn attempts_one_that_is_cancelled_leaves_the_old_runtime_serving() {
    run(async {
        let node = node("");
        let refused = node.holdfast_async(&["update", "cancel"]).await;
        assert_eq!(refused.status.code(), Some(5), "{}", told(&refused));
        let Prewarming { old, outcome, .. } = prewarming(&node).await;
        let status = node.json(&["update", "status", "--json"]);
        assert_eq!(status["operator_actions"], json!(["cancel"]), "{status}");
        let cancelled = node.holdfast_async(&["update", "cancel"]).await;
        assert!(cancelled.status.success(), "{}", told(&cancelled));
        let switched = outcome.await.expect("the command came to its end");
        assert_eq!(switched.status.code(), Some(5), "{}", told(&switched));
        assert_eq!(node.active().await, old);
        assert_eq!(attempts(&node)[0]["state"], "cancelled");
        let_everybody_go_on(&node);
        node.switch().await.expect("the next switch works");
    });
}

async fn one_waits(node: &Node) {
    let queued = async || {
        let status = node.status_async().await?;
        status["update"]["subsequent_transition"].is_object().then_some(())
    };
    wait::until_asked("one waits", STATE_DEADLINE, queued).await;
}

async fn succeed(commands: [JoinHandle<Output>; 2]) {
    for command in commands {
        let output = command.await.expect("the command came to its end");
        assert!(output.status.success(), "{}", told(&output));
    }
}

/// A switch asked for again while it is under way comes to the same and is dropped; another one runs after it.
#[test]
fn attempts_one_request_waits_and_an_equal_one_is_dropped() {
    run(async {
        let node = node("");
        let Prewarming { old, candidate, outcome, earlier } = prewarming(&node).await;
        let second = start(&node, &["switch"]);
        one_waits(&node).await;
        processes::signal(candidate, Signal::SIGCONT);
        succeed([outcome, second]).await;
        assert_eq!(node.active().await.0, old.0.other());
        assert_eq!(attempts(&node).len(), earlier + 1);

        let Prewarming { old, candidate, outcome, earlier } = prewarming(&node).await;
        let back = start(&node, if old.0 == Slot::A { &["switch", "a"] } else { &["switch", "b"] });
        one_waits(&node).await;
        processes::signal(candidate, Signal::SIGCONT);
        succeed([outcome, back]).await;
        assert_eq!(node.active().await.0, old.0);
        assert_eq!(attempts(&node).len(), earlier + 2);
    });
}

/// A candidate that is not ready in time is put off once by itself and then serves.
#[test]
fn attempts_a_late_candidate_is_tried_once_more() {
    run(async {
        let node = node("[supervisor]\nprewarming_ms = 3000\nautomatic_defer_ms = 2000\n");
        let Prewarming { old, outcome, .. } = prewarming(&node).await;
        state_is(&node, "planned").await;
        let output = outcome.await.expect("the command came to its end");
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(node.active().await.0, old.0.other());
        let all = attempts(&node);
        assert_eq!(all[0]["deferred"], json!(true), "{all:?}");
        let passed =
            ["prewarming", "planned", "prewarming", "admitted", "switching", "probation", "succeeded"];
        assert_eq!(steps(&all[0]), passed);
    });
}
