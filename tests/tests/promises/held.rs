//! held: nothing that happens to runtime or supervisor closes a browser's socket.

use holdfast_shared::home::Role;
use holdfast_tests::client::{Client, Since};
use holdfast_tests::node::Node;
use holdfast_tests::work::{self, conversation};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use std::time::Duration;

fn never_disconnected(clients: &[Client]) {
    for client in clients {
        client.observed(|seen| {
            assert_eq!(seen.disconnects, Vec::<String>::new());
            assert_eq!(seen.complaints(), Vec::<String>::new());
        });
    }
}

/// The supervisor, then its keeper too, die under open sockets; both times everything goes on.
#[test]
fn held_when_the_supervisor_is_killed() {
    run(async {
        let node = Node::up();
        let operator = work::client(&node, &[("node", Since::Now)]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        let watchers: Vec<Client> =
            (0..20).map(|_| work::client(&node, &[(&conversation("t"), Since::Start)])).collect();
        for watcher in &watchers {
            watcher.ready().await;
        }
        for _ in 0..3 {
            let killed = node.signal(Role::Supervisor, Signal::SIGKILL);
            let turn = work::prompt(&operator, "t", "echo while it was away", true).await.expect("accepted");
            assert!(turn.starts_with('t'), "{turn}");
            wait::until("a new supervisor", Duration::from_secs(20), || {
                node.pid_of(Role::Supervisor).filter(|pid| *pid != killed)
            })
            .await;
            node.active().await;
        }
        node.switch().await.expect("the new supervisor can switch what it adopted");
        never_disconnected(&watchers);
        never_disconnected(&[operator]);
    });
}

/// A killed keeper takes nothing with it: sockets, turn and supervisor's children go on, and `up` adopts them.
#[test]
fn held_when_the_keeper_is_killed_and_up_adopts_what_lives() {
    run(async {
        let mut node = Node::up();
        let operator = work::client(&node, &[("node", Since::Now)]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        let (_, runtime) = node.active().await;
        let sidecar = node.pid_of(Role::Sidecar).expect("a living sidecar");
        processes::signal(node.up_pid(), Signal::SIGKILL);
        node.signal(Role::Keeper, Signal::SIGKILL);
        node.wait_up_ended(Duration::from_secs(10));
        node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
        let (_, adopted) = node.active().await;
        assert_eq!(adopted, runtime, "the runtime was adopted, not restarted");
        assert_eq!(node.pid_of(Role::Sidecar), Some(sidecar), "the sidecar was adopted, not restarted");
        work::prompt(&operator, "t", "true", false).await.expect("accepted");
        never_disconnected(&[operator]);
    });
}

/// With both runtimes killed again and again, sockets stay, pings are answered and commands wait.
#[test]
fn held_while_no_runtime_lives() {
    run(async {
        let node = Node::up();
        let operator = work::client(&node, &[("node", Since::Now)]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        for _ in 0..5 {
            let (slot, pid) = node.active().await;
            processes::signal(pid, Signal::SIGKILL);
            if let Some(other) = node.pid_of(Role::Runtime(slot.other())) {
                processes::signal(other, Signal::SIGKILL);
            }
            work::prompt(&operator, "t", "true", true).await.expect("held, then accepted");
        }
        never_disconnected(&[operator]);
    });
}
