//! The keeper of a promoted release: it follows the one that runs in the same process, or never.

use super::*;
use holdfast_tests::faults::KEEPER_FAULTS;

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
