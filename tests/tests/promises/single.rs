//! single: one active runtime at a time, and nothing a fenced one does has an effect.

use holdfast_shared::control::{CallError, Client};
use holdfast_shared::decision::Decision;
use holdfast_shared::error::Code;
use holdfast_shared::home::Role;
use holdfast_shared::runtime_control::{Activate, Activated, Fence, Fenced};
use holdfast_shared::slot::Slot;
use holdfast_tests::faults::Moments;
use holdfast_tests::journal_witness::JournalWitness;
use holdfast_tests::node::Node;
use holdfast_tests::work;
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const ANSWER: Duration = Duration::from_secs(5);

/// Both runtimes are asked all the time while switches, kills and stops happen: after one has said that it is active
/// with an epoch, none says so with a lower one; and the journal bears one writer after the other.
#[test]
fn single_no_two_runtimes_are_active_and_epochs_only_rise() {
    run(async {
        let node = Rc::new(Node::up());
        let mut moments = Moments::new("single");
        let client = work::client(&node, &[]);
        client.ready().await;
        work::open_task(&client, "t").await;
        let stop = Rc::new(Cell::new(false));
        let asking = tokio::task::spawn_local(ask_both(node.clone(), stop.clone()));
        for round in 0..12 {
            let (_, pid) = node.active().await;
            match round % 3 {
                0 => node.switch().await.expect("a switch"),
                1 => processes::signal(pid, Signal::SIGKILL),
                _ => {
                    processes::signal(pid, Signal::SIGSTOP);
                    let switching = node.switch();
                    let pause = moments.between(Duration::from_millis(50), Duration::from_secs(5));
                    let continued = async {
                        wait::pass(pause).await;
                        processes::signal(pid, Signal::SIGCONT);
                    };
                    let _ = tokio::join!(switching, continued);
                }
            }
            client
                .command("task.prompt", json!({"task": "t", "text": "true", "queue": true}))
                .await
                .expect("accepted");
        }
        node.active().await;
        stop.set(true);
        let looks = asking.await.expect("never two active");
        let mut witness = JournalWitness::new(&node.home().journal());
        witness.look().expect("one writer after the other");
        println!("{looks} looks, {} records, {} activations", witness.records, witness.activations.len());
        assert!(witness.activations.len() >= 12, "{:?}", witness.activations);
    });
}

async fn ask_both(node: Rc<Node>, stop: Rc<Cell<bool>>) -> u64 {
    let (mut highest, mut looks) = (0, 0);
    while !stop.get() {
        for slot in Slot::BOTH {
            if let Some(epoch) = node.runtime_report(slot).await.and_then(|report| report.epoch) {
                assert!(
                    epoch >= highest,
                    "slot {slot} says it is active with {epoch} after one was with {highest}"
                );
                highest = epoch;
            }
        }
        looks += 1;
        wait::pass(Duration::from_millis(2)).await;
    }
    looks
}

/// What an earlier supervisor says is refused by name and changes nothing.
#[test]
fn single_a_stale_decision_is_refused_by_every_runtime() {
    run(async {
        let node = Node::up();
        node.switch().await.expect("a switch");
        let (slot, pid) = node.active().await;
        let report = node.runtime_report(slot).await.expect("it answers");
        let runtime = Client::new(node.home().control(Role::Runtime(slot)));
        let stale = Decision { generation: 0, sequence: 0 };
        let fence = Fence { decision: stale, epoch: report.epoch.expect("it is active") };
        let refused = runtime.post::<_, Fenced>("/v1/fence", &fence, ANSWER).await;
        assert!(
            matches!(&refused, Err(CallError::Refused(error)) if error.code == Code::StaleDecision),
            "{refused:?}"
        );
        let activate = Activate { decision: stale, epoch: u64::MAX / 2, first: false };
        let refused = runtime.post::<_, Activated>("/v1/activate", &activate, ANSWER).await;
        assert!(
            matches!(&refused, Err(CallError::Refused(error)) if error.code == Code::StaleDecision),
            "{refused:?}"
        );
        assert_eq!(node.active().await, (slot, pid));
    });
}
