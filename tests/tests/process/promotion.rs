//! Root promotion: real bundles whose supervisor or sidecar are others than those that run.

mod keeper;
mod put_back;
mod stage;

use crate::updates::live_work::with_relay;
use holdfast_shared::home::Role;
use holdfast_tests::node::told;
use holdfast_tests::work::SEALED_DEADLINE;
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stage::{Program, STATE_DEADLINE, ended, node, pending, release, start, state_is, steps};
use stage::{supervisor_is_promoted, working};
use std::rc::Rc;

/// Asked for and confirmed: same pid, next generation, work and runtime go on, clients come back and miss nothing.
#[test]
fn promotion_replaces_supervisor_and_sidecar_under_running_work() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (_, runtime) = pending(&node, &Program::Other, &Program::Other).await;
        let before = node.status().expect("a status");
        let sidecar = node.pid_of(Role::Sidecar).expect("a living sidecar");
        let promoting = start(&node, &["promote", "--json"]);
        let mut commands = 0;
        while !promoting.is_finished() {
            let text = format!("echo {commands} >> '{}'", node.scratch().join("effects").display());
            let data = json!({"task": "count", "text": text, "queue": true});
            match working.client.command("task.prompt", data).await {
                Ok(_) => commands += 1,
                Err(refusal) => assert!(refusal.is("BUSY"), "{refusal:?}"),
            }
        }
        let promoted = promoting.await.expect("the command came to its end");
        assert!(promoted.status.success(), "{}", told(&promoted));

        let after = node.status().expect("a status");
        assert_eq!(after["supervisor"]["pid"], before["supervisor"]["pid"]);
        let generation = |status: &Value| status["supervisor"]["generation"].as_u64();
        assert_eq!(generation(&after), generation(&before).map(|before| before + 1));
        assert_eq!(after["supervisor"]["root"]["confirmed"], true, "{after}");
        assert!(supervisor_is_promoted(&node));
        assert_ne!(node.pid_of(Role::Sidecar), Some(sidecar));
        assert_eq!(node.active().await.1, runtime);
        let attempt = ended(&node).await;
        let passed = steps(&attempt);
        assert!(
            passed.ends_with(&[
                "root_promotion_pending",
                "root_promoting",
                "root_restart_in_progress",
                "succeeded"
            ]),
            "{attempt}"
        );
        working.ends_whole().await;
        let expected: String = (0..commands).map(|number| format!("{number}\n")).collect();
        wait::until("every accepted command had its effect, once", SEALED_DEADLINE, || {
            std::fs::read_to_string(node.scratch().join("effects")).ok().filter(|text| *text == expected)
        })
        .await;
        node.switch().await.expect("the promoted supervisor switches");
        let killed = node.signal(Role::Supervisor, Signal::SIGKILL);
        wait::until("a new supervisor", STATE_DEADLINE, || {
            node.pid_of(Role::Supervisor).filter(|pid| *pid != killed)
        })
        .await;
        assert!(supervisor_is_promoted(&node), "the keeper starts what is in use");
        node.active().await;

        let Ok(mut node) = Rc::try_unwrap(node) else { panic!("nobody else has it") };
        let stopped = node.holdfast_async(&["stop"]).await;
        assert!(stopped.status.success(), "{}", told(&stopped));
        node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
        assert!(supervisor_is_promoted(&node), "the next keeper too");
    });
}

/// With `auto_promote` nobody is asked; where the sidecar is the same, no connection closes.
#[test]
fn promotion_by_itself_closes_no_connection_when_the_sidecar_is_the_same() {
    run(async {
        let node = node("auto_promote = true\n");
        let working = working(&node).await;
        let supervisor = node.pid_of(Role::Supervisor);
        let bundle = release(&node, &Program::Other, &Program::Same).display().to_string();
        let updated = node.holdfast_async(&["update", &bundle]).await;
        assert!(updated.status.success(), "{}", told(&updated));
        let attempt = ended(&node).await;
        assert_eq!(attempt["state"], "succeeded", "{attempt}");
        assert!(!steps(&attempt).contains(&"root_promotion_pending"), "{attempt}");
        assert_eq!(node.pid_of(Role::Supervisor), supervisor);
        assert!(supervisor_is_promoted(&node));
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
        working.ends_whole().await;
    });
}

/// Work runs that it might end: it waits as if for people, and goes on by itself once that has ended.
#[test]
fn promotion_by_itself_waits_for_live_work() {
    run(async {
        let node = node("auto_promote = true\n");
        let working = working(&node).await;
        let bundle = release(&node, &Program::Other, &Program::Same).display().to_string();
        let updating = start(&node, &["update", &bundle]);
        state_is(&node, "probation").await;
        let busy = with_relay(&node).await;
        state_is(&node, "root_promotion_pending").await;
        assert!(!supervisor_is_promoted(&node));
        busy.set(false);
        let attempt = ended(&node).await;
        assert_eq!(attempt["state"], "succeeded", "{attempt}");
        assert!(supervisor_is_promoted(&node));
        updating.await.expect("the command came to its end");
        working.ends_whole().await;
    });
}

/// Killed while it is pending, while files are placed, and before the restart is confirmed: each time it goes on.
#[test]
fn promotion_goes_on_when_the_supervisor_is_killed_in_each_of_its_states() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (_, runtime) = pending(&node, &Program::Other, &Program::Other).await;
        let kill = async |state: &str| {
            let killed = node.signal(Role::Supervisor, Signal::SIGKILL);
            wait::until(&format!("a supervisor after the kill in {state}"), STATE_DEADLINE, || {
                node.pid_of(Role::Supervisor).filter(|pid| *pid != killed)
            })
            .await;
        };
        kill("root_promotion_pending").await;
        state_is(&node, "root_promotion_pending").await;
        node.active().await;
        let promoting = start(&node, &["promote"]);
        for state in ["root_promoting", "root_restart_in_progress"] {
            state_is(&node, state).await;
            kill(state).await;
        }
        let promoted = promoting.await.expect("the command came to its end");
        assert!(promoted.status.success(), "{}", told(&promoted));
        assert_eq!(ended(&node).await["state"], "succeeded");
        assert!(supervisor_is_promoted(&node));
        assert_eq!(node.active().await.1, runtime);
        working.ends_whole().await;
    });
}

/// Skipped: the runtime stays, the root files are not asked for again.
#[test]
fn promotion_that_is_skipped_keeps_the_runtime() {
    run(async {
        let node = node("");
        let serving = pending(&node, &Program::Other, &Program::Same).await;
        let skipped = node.holdfast_async(&["update", "cancel"]).await;
        assert!(skipped.status.success(), "{}", told(&skipped));
        assert_eq!(ended(&node).await["state"], "succeeded");
        assert_eq!(node.active().await, serving);
        assert!(!node.home().root().join("in-use.json").exists());
        let refused = node.holdfast_async(&["promote"]).await;
        assert_eq!(refused.status.code(), Some(5), "{}", told(&refused));
        assert!(processes::alive(serving.1));
    });
}
