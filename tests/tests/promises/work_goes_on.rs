//! work goes on: a running command does not notice what happens to the programs behind it.

use holdfast_shared::home::Role;
use holdfast_tests::client::{Since, text_of};
use holdfast_tests::node::Node;
use holdfast_tests::work::{self, PacedTurn, SEALED_DEADLINE, conversation};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;

/// Runtime, supervisor, sidecar and keeper are killed in turn; the command writes on and its own status is sealed.
#[test]
fn work_goes_on_through_the_death_of_every_other_process() {
    run(async {
        let mut node = Node::up();
        let channel = conversation("t");
        let operator = work::client(&node, &[]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        let client = work::recorder(&node, &[(&channel, Since::Start)]);
        let paced = PacedTurn::new(node.scratch());
        let line = format!("{}; exit 7", paced.command_line());
        let turn = work::prompt(&operator, "t", &line, false).await.expect("accepted");
        let grows = async |what: &str| {
            let before = client.observed(|seen| seen.channel(&channel).offset);
            client
                .wait(what, Duration::from_secs(40), |seen| seen.channel(&channel).offset > before + 5)
                .await;
        };
        grows("output").await;
        let (_, runtime) = node.active().await;
        processes::signal(runtime, Signal::SIGKILL);
        grows("output after the runtime died").await;
        node.signal(Role::Supervisor, Signal::SIGKILL);
        grows("output after the supervisor died").await;
        node.signal(Role::Sidecar, Signal::SIGKILL);
        grows("output after the sidecar died").await;
        processes::signal(node.up_pid(), Signal::SIGKILL);
        node.signal(Role::Keeper, Signal::SIGKILL);
        grows("output after the keeper died").await;
        node.wait_up_ended(Duration::from_secs(10));
        node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
        grows("output after up adopted it").await;
        node.switch().await.expect("a switch");
        paced.end();
        client
            .wait("sealed", SEALED_DEADLINE, |seen| work::sealed(&seen.channel(&channel).events, &turn))
            .await;
        client.observed(|seen| {
            let seen_channel = seen.channel(&channel);
            work::check_paced(&text_of(&seen_channel.events, &turn)).expect("every line once");
            let seal = work::seal_of(&seen_channel.events, &turn).expect("waited for");
            assert_eq!(seal["exit_code"], json!(7), "{seal}");
            assert_eq!(seen.complaints(), Vec::<String>::new());
        });
    });
}

/// `stop --keep-workers` leaves a command running, and the next `up` shows all of it.
#[test]
fn work_goes_on_over_stop_keep_workers_and_up() {
    run(async {
        let mut node = Node::up();
        let operator = work::client(&node, &[]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        let paced = PacedTurn::new(node.scratch());
        let turn = work::prompt(&operator, "t", &paced.command_line(), false).await.expect("accepted");
        let stopped = node.holdfast_async(&["stop", "--keep-workers"]).await;
        assert!(stopped.status.success(), "{}", holdfast_tests::node::told(&stopped));
        node.wait_up_ended(Duration::from_secs(20));
        assert_eq!(node.pid_of(Role::Sidecar), None);
        node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
        paced.end();
        let channel = conversation("t");
        let client = work::recorder(&node, &[(&channel, Since::Start)]);
        client
            .wait("sealed", SEALED_DEADLINE, |seen| work::sealed(&seen.channel(&channel).events, &turn))
            .await;
        let text = client.observed(|seen| text_of(&seen.channel(&channel).events, &turn));
        work::check_paced(&text).expect("every line once");
    });
}

/// A cancel ends all of a command's processes, also one that ignores TERM and one that left its session.
#[test]
fn work_ends_when_it_is_cancelled_and_leaves_no_process() {
    run(async {
        let node = Node::up();
        let channel = conversation("t");
        let operator = work::client(&node, &[]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        let client = work::recorder(&node, &[(&channel, Since::Start)]);
        let marked = node.scratch().join("marked-sleep");
        std::os::unix::fs::symlink("/bin/sleep", &marked).expect("a new link");
        let sleep = marked.display();
        let line = format!(
            "trap '' TERM; setsid '{sleep}' 300 & '{sleep}' 301 & echo started; wait; wait; '{sleep}' 302"
        );
        let turn = work::prompt(&operator, "t", &line, false).await.expect("accepted");
        client
            .wait("started", SEALED_DEADLINE, |seen| {
                text_of(&seen.channel(&channel).events, &turn).contains("started")
            })
            .await;
        operator.command("task.cancel", json!({"task": "t"})).await.expect("accepted");
        client
            .wait("sealed", SEALED_DEADLINE, |seen| work::sealed(&seen.channel(&channel).events, &turn))
            .await;
        let seal = client.observed(|seen| work::seal_of(&seen.channel(&channel).events, &turn).cloned());
        assert_eq!(seal.expect("waited for")["stop_reason"], json!("cancelled"));
        wait::until("no process of the command is left", Duration::from_secs(10), || {
            processes::below(&marked).is_empty().then_some(())
        })
        .await;
    });
}
