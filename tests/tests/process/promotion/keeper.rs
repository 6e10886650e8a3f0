//! The keeper of a promoted release: it follows the one that runs in the same process, or never.

use super::stage::{
    Program, STATE_DEADLINE, ended, node, pending, runs_promoted, supervisor_is_promoted, working,
};
use holdfast_shared::home::Role;
use holdfast_tests::faults::KEEPER_FAULTS;
use holdfast_tests::node::{Node, told};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::PathBuf;
use std::rc::Rc;

/// Waits until a promoted keeper has shown itself; its program.
async fn keeper_has_followed(node: &Node, before: Option<&PathBuf>) -> PathBuf {
    wait::until_asked("a promoted keeper that has shown itself", STATE_DEADLINE, async || {
        let keeper = node.status_async().await?["keeper"].clone();
        let program = runs_promoted(node, Role::Keeper).filter(|program| Some(program) != before)?;
        (keeper["attempt"].is_string() && keeper["has_shown_itself"] == true).then_some(program)
    })
    .await
}

async fn promote(node: &Rc<Node>, operator: &Program) {
    pending(node, operator, &Program::Same).await;
    let promoted = node.holdfast_async(&["promote"]).await;
    assert!(promoted.status.success(), "{}", told(&promoted));
}

async fn supervisor_is_mended(node: &Node) {
    let killed = node.signal(Role::Supervisor, Signal::SIGKILL);
    wait::until("another supervisor", STATE_DEADLINE, || {
        node.pid_of(Role::Supervisor).filter(|pid| *pid != killed)
    })
    .await;
    node.active().await;
}

/// Same process, same child, no connection closed; the next release's keeper follows in the same way, and the base is
/// what a node is started with.
#[test]
fn promotion_of_a_keeper_replaces_it_in_its_process() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (keeper, supervisor) = (node.pid_of(Role::Keeper), node.pid_of(Role::Supervisor));
        promote(&node, &Program::Other).await;
        let first = keeper_has_followed(&node, None).await;
        assert_eq!((node.pid_of(Role::Keeper), node.pid_of(Role::Supervisor)), (keeper, supervisor));
        supervisor_is_mended(&node).await;
        assert!(supervisor_is_promoted(&node));

        promote(&node, &Program::Next).await;
        let supervisor = node.pid_of(Role::Supervisor);
        keeper_has_followed(&node, Some(&first)).await;
        assert_eq!((node.pid_of(Role::Keeper), node.pid_of(Role::Supervisor)), (keeper, supervisor));
        supervisor_is_mended(&node).await;
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
        working.ends_whole().await;

        let Ok(mut node) = Rc::try_unwrap(node) else { panic!("nobody else has it") };
        let stopped = node.holdfast_async(&["stop"]).await;
        assert!(stopped.status.success(), "{}", told(&stopped));
        node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
        keeper_has_followed(&node, None).await;
        assert!(supervisor_is_promoted(&node));
    });
}

/// One that cannot keep is never become: the keeper that runs goes on, and says so.
fn never_follows(fault: &'static str) {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let keeper = node.pid_of(Role::Keeper);
        promote(&node, &Program::Faulty(fault)).await;
        let attempt = ended(&node).await;
        assert_eq!(attempt["state"], "succeeded", "{attempt}");
        wait::until_asked("the keeper gives it up", STATE_DEADLINE, async || {
            node.status_async().await.filter(|status| status["keeper"]["gave_up"] == attempt["attempt"])
        })
        .await;
        assert_eq!((node.pid_of(Role::Keeper), runs_promoted(&node, Role::Keeper)), (keeper, None));
        supervisor_is_mended(&node).await;
        assert!(supervisor_is_promoted(&node));
        let doctor = node.holdfast_async(&["doctor", "--json"]).await;
        let doctor: Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
        let checks = doctor["checks"].as_array().expect("a list");
        assert!(checks.iter().any(|check| check["check"] == "keeper"), "{doctor}");
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
        working.ends_whole().await;
    });
}

#[test]
fn promotion_of_a_keeper_that_exits_at_once_leaves_the_one_that_runs() {
    never_follows(KEEPER_FAULTS[0]);
}

#[test]
fn promotion_of_a_keeper_that_hangs_at_its_start_leaves_the_one_that_runs() {
    never_follows(KEEPER_FAULTS[1]);
}

/// A dead keeper leaves what lives, and `up` brings the installed one, which a promoted one follows again.
#[test]
fn promotion_of_a_keeper_that_is_killed_leaves_what_lives_to_the_next_up() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        promote(&node, &Program::Other).await;
        keeper_has_followed(&node, None).await;
        let (_, runtime) = node.active().await;
        let (supervisor, sidecar) = (node.pid_of(Role::Supervisor), node.pid_of(Role::Sidecar));
        let Ok(mut node) = Rc::try_unwrap(node) else { panic!("nobody else has it") };
        let killed = node.signal(Role::Keeper, Signal::SIGKILL);
        node.wait_up_ended(STATE_DEADLINE);
        assert_eq!((node.pid_of(Role::Supervisor), node.pid_of(Role::Keeper)), (supervisor, None));
        assert!(node.status_async().await.is_some(), "the supervisor answers");
        node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
        keeper_has_followed(&node, None).await;
        assert_ne!(node.pid_of(Role::Keeper), Some(killed));
        assert!(supervisor_is_promoted(&node));
        assert_eq!((node.active().await.1, node.pid_of(Role::Sidecar)), (runtime, sidecar));
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
        working.ends_whole().await;
    });
}

/// Told to go in the middle of a hand-over it goes, whichever of the two it is by then; what it leaves works on, and the
/// start counts for nothing.
fn goes_when_told(fault: &'static str) {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (keeper, supervisor) = (node.pid_of(Role::Keeper), node.pid_of(Role::Supervisor));
        let (keeper, supervisor) = (keeper.expect("it lives"), supervisor.expect("it lives"));
        let (_, runtime) = pending(&node, &Program::Faulty(fault), &Program::Same).await;
        let sidecar = node.pid_of(Role::Sidecar);
        let mut promoting = node.command(&["promote"]).spawn().expect("a process");
        wait::until("keeper and supervisor are gone", STATE_DEADLINE, || {
            (!processes::alive(keeper) && !processes::alive(supervisor)).then_some(())
        })
        .await;
        // It may still wait for an answer.
        let _ = promoting.kill();
        promoting.wait().expect("it has ended");
        assert!(processes::alive(runtime));
        assert_eq!(node.pid_of(Role::Sidecar), sidecar);
        let tried = std::fs::read(node.home().root().join("keeper.json")).unwrap_or_else(|_| b"{}".to_vec());
        let tried: Value = serde_json::from_slice(&tried).expect("JSON");
        assert_eq!(tried["starts"].as_u64().unwrap_or(0), 0, "{tried}");
        working.ends_whole().await;
    });
}

#[test]
fn promotion_of_a_keeper_ends_with_the_first_when_it_is_told_to_go_before() {
    goes_when_told(KEEPER_FAULTS[5]);
}

#[test]
fn promotion_of_a_keeper_ends_with_the_next_when_it_is_told_to_go_meanwhile() {
    goes_when_told(KEEPER_FAULTS[6]);
}
