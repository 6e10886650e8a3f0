//! Root promotion: real bundles whose supervisor or sidecar are others than those that run.

mod keeper;

use crate::updates::live_work::with_relay;
use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use holdfast_tests::client::{Client, Since, text_of};
use holdfast_tests::node::{Node, Options, binaries, copy_without_symbols, told};
use holdfast_tests::work::{self, PacedTurn, SEALED_DEADLINE, conversation};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Verifying and unpacking, the stability window of an update, and a machine that does other things too.
const STATE_DEADLINE: Duration = Duration::from_secs(90);
const AT_ONCE: &str = "[supervisor]\ncountdown_ms = 0\nminimum_update_period_ms = 0\n";

/// A program that cannot start.
const FAILS: &str = "#!/bin/sh\nexit 1\n";

/// What a release has in place of a program.
enum Program {
    /// The same file.
    Same,
    /// The same program, with other bytes at its end.
    Other,
    /// And with more of them.
    Next,
    /// `holdfast` with this fault.
    Faulty(&'static str),
    /// This text.
    Text(&'static str),
}

/// A release of this build with other root files: its bundle.
fn release(node: &Node, operator: &Program, sidecar: &Program) -> PathBuf {
    let scratch = node.scratch();
    let (tree, keys, bundle) = (scratch.join("tree"), scratch.join("keys"), scratch.join("release.tar.zst"));
    // What an earlier release of the same test was packed from.
    let _ = std::fs::remove_dir_all(&tree);
    for directory in [&tree, &keys] {
        std::fs::create_dir_all(directory).expect("a new directory");
    }
    copy_without_symbols("holdfast-runtime", &tree.join("holdfast-runtime"));
    for (name, program) in [("holdfast", operator), ("holdfast-sidecar", sidecar)] {
        let path = tree.join(name);
        match program {
            Program::Same => drop(std::fs::copy(binaries().join(name), path).expect("a built program")),
            Program::Other => {
                copy_without_symbols(name, &path);
                append(&path, "another release");
            }
            Program::Next => {
                copy_without_symbols(name, &path);
                append(&path, "the next release");
            }
            Program::Faulty(fault) => {
                copy_without_symbols("faulty-holdfast", &path);
                append(&path, fault);
            }
            Program::Text(text) => {
                std::fs::copy(binaries().join(name), &path).expect("a built program");
                std::fs::write(path, text).expect("a copy");
            }
        }
    }
    let path = |path: &Path| path.display().to_string();
    let key = path(&keys.join("holdfast-release.key"));
    if !Path::new(&key).exists() {
        node.json(&["release", "keygen", "--out", &path(&keys), "--trust", "--json"]);
    }
    let (from, out) = (path(&tree), path(&bundle));
    node.json(&[
        "release",
        "pack",
        "--key",
        &key,
        "--from",
        &from,
        "--version",
        "0.2.0",
        "--out",
        &out,
        "--json",
    ]);
    bundle
}

fn append(program: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(program).expect("a copy");
    file.write_all(text.as_bytes()).expect("room");
}

fn start(node: &Rc<Node>, arguments: &[&str]) -> JoinHandle<Output> {
    let (node, arguments) = (node.clone(), arguments.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
    tokio::task::spawn_local(async move {
        node.holdfast_async(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    })
}

fn node(more: &str) -> Rc<Node> {
    Rc::new(Node::up_with(&Options { config: format!("{AT_ONCE}{more}") }))
}

async fn state_is(node: &Node, state: &str) -> Value {
    let looked = async || node.status_async().await.filter(|status| status["update"]["state"] == state);
    wait::until_asked(state, STATE_DEADLINE, looked).await
}

/// The attempt, once it has ended.
async fn ended(node: &Node) -> Value {
    let looked = async || {
        let output = node.holdfast_async(&["attempts", "--json"]).await;
        let all: Value = serde_json::from_slice(&output.stdout).ok()?;
        let attempt = all["attempts"].get(0)?.clone();
        attempt["ended_at"].is_i64().then_some(attempt)
    };
    wait::until_asked("the attempt has ended", STATE_DEADLINE, looked).await
}

fn steps(attempt: &Value) -> Vec<&str> {
    let steps = attempt["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    steps.iter().filter_map(|step| step["state"].as_str()).collect()
}

/// Installs it, until its runtime serves and its root files wait.
async fn pending(node: &Rc<Node>, operator: &Program, sidecar: &Program) -> (Slot, i32) {
    let bundle = release(node, operator, sidecar).display().to_string();
    let updated = node.holdfast_async(&["update", &bundle]).await;
    assert!(updated.status.success(), "{}", told(&updated));
    let status = state_is(node, "root_promotion_pending").await;
    assert_eq!(
        status["update"]["operator_actions"],
        json!(["cancel", "rollback", "promote_root"]),
        "{status}"
    );
    node.active().await
}

fn supervisor_is_promoted(node: &Node) -> bool {
    runs_promoted(node, Role::Supervisor).is_some()
}

/// The program that the role runs, where it is below the home's root files.
fn runs_promoted(node: &Node, role: Role) -> Option<PathBuf> {
    let program = std::fs::read_link(format!("/proc/{}/exe", node.pid_of(role)?)).ok()?;
    program.starts_with(node.home().root().canonicalize().ok()?).then_some(program)
}

/// A client with a task of its own, and a turn that runs until it is told to end.
struct Working {
    client: Client,
    paced: PacedTurn,
    turn: String,
}

async fn working(node: &Node) -> Working {
    let operator = work::client(node, &[("node", Since::Now)]);
    operator.ready().await;
    work::open_task(&operator, "t").await;
    work::open_task(&operator, "count").await;
    let client = work::recorder(node, &[(&conversation("t"), Since::Start), ("node", Since::Now)]);
    client.ready().await;
    let paced = PacedTurn::new(node.scratch());
    let turn = work::prompt(&client, "t", &paced.command_line(), false).await.expect("accepted");
    Working { client, paced, turn }
}

impl Working {
    /// The turn came through it whole, and each client saw everything once.
    async fn ends_whole(self) {
        let Working { client, paced, turn } = self;
        paced.end();
        let channel = conversation("t");
        let sealed =
            |seen: &holdfast_tests::client::Observed| work::sealed(&seen.channel(&channel).events, &turn);
        client.wait("the turn is sealed", SEALED_DEADLINE, sealed).await;
        client.observed(|seen| {
            assert_eq!(seen.complaints(), Vec::<String>::new());
            work::check_paced(&text_of(&seen.channel(&channel).events, &turn))
                .unwrap_or_else(|why| panic!("{why}"));
        });
    }
}

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

/// A supervisor that cannot start: the keeper brings the previous one back, and the node serves.
#[test]
fn promotion_of_a_supervisor_that_cannot_start_is_put_back() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (_, runtime) = pending(&node, &Program::Text(FAILS), &Program::Other).await;
        let promoted = node.holdfast_async(&["promote"]).await;
        assert_eq!(promoted.status.code(), Some(5), "{}", told(&promoted));
        let attempt = ended(&node).await;
        assert_eq!(
            (&attempt["state"], &attempt["failure_reason"]),
            (&json!("failed"), &json!("root_restored"))
        );
        assert!(!supervisor_is_promoted(&node));
        assert_eq!(node.active().await.1, runtime);
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
        working.ends_whole().await;
    });
}

/// Sets the time of a trial back, as if it had lasted for so long.
fn trial_has_lasted(node: &Node, milliseconds: i64) -> Option<()> {
    let path = node.home().root().join("in-use.json");
    let mut in_use: Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
    in_use["placed_at"] = json!(in_use["placed_at"].as_i64()? - milliseconds);
    let other = node.scratch().join("in-use.json");
    std::fs::write(&other, in_use.to_string()).expect("a new file");
    std::fs::rename(other, path).expect("the same file system");
    Some(())
}

/// A supervisor that hangs: when its time is over, the keeper ends it and brings the previous one back.
#[test]
fn promotion_of_a_supervisor_that_hangs_is_put_back_when_its_time_is_over() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let hangs = Program::Text("#!/bin/sh\nexec sleep 1000\n");
        let (_, runtime) = pending(&node, &hangs, &Program::Other).await;
        let supervisor = node.pid_of(Role::Supervisor).expect("a living supervisor");
        let promoting = start(&node, &["promote"]);
        wait::until("the supervisor hangs", STATE_DEADLINE, || {
            let line = std::fs::read(format!("/proc/{supervisor}/cmdline")).ok()?;
            line.starts_with(b"sleep").then_some(())
        })
        .await;
        trial_has_lasted(&node, 180_000).expect("a trial");
        let promoted = promoting.await.expect("the command came to its end");
        assert_eq!(promoted.status.code(), Some(5), "{}", told(&promoted));
        assert_eq!(ended(&node).await["failure_reason"], "root_restored");
        assert!(!processes::alive(supervisor) && !supervisor_is_promoted(&node));
        assert_eq!(node.active().await.1, runtime);
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
        working.ends_whole().await;
    });
}

/// A sidecar that cannot start: the promoted supervisor gives up at once, and everything is put back.
#[test]
fn promotion_of_a_sidecar_that_cannot_start_is_put_back() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (_, runtime) = pending(&node, &Program::Other, &Program::Text(FAILS)).await;
        let promoted = node.holdfast_async(&["promote"]).await;
        assert_eq!(promoted.status.code(), Some(5), "{}", told(&promoted));
        let attempt = ended(&node).await;
        assert_eq!(
            (&attempt["state"], &attempt["failure_reason"]),
            (&json!("failed"), &json!("root_not_placed"))
        );
        wait::until("the previous supervisor", STATE_DEADLINE, || {
            (node.pid_of(Role::Supervisor).is_some() && !supervisor_is_promoted(&node)).then_some(())
        })
        .await;
        assert_eq!(node.active().await.1, runtime);
        working.ends_whole().await;
    });
}

/// One that the kernel does not execute is never placed; the supervisor does not even restart.
#[test]
fn promotion_of_what_is_no_program_is_not_placed() {
    run(async {
        let node = node("");
        pending(&node, &Program::Text("no program"), &Program::Same).await;
        let before = node.status().expect("a status");
        let promoted = node.holdfast_async(&["promote"]).await;
        assert_eq!(promoted.status.code(), Some(5), "{}", told(&promoted));
        let attempt = ended(&node).await;
        assert_eq!(
            (&attempt["state"], &attempt["failure_reason"]),
            (&json!("failed"), &json!("root_not_placed"))
        );
        assert_eq!(node.status().expect("a status")["supervisor"], before["supervisor"]);
        node.switch().await.expect("the node serves");
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

/// Confirmed, and later no program any more (a disk, a library, a mount): the keeper leaves it for what was before it.
#[test]
fn promotion_that_can_no_longer_be_executed_is_left_by_the_keeper() {
    run(async {
        let node = node("");
        let working = working(&node).await;
        let (_, runtime) = pending(&node, &Program::Other, &Program::Same).await;
        let promoted = node.holdfast_async(&["promote"]).await;
        assert!(promoted.status.success(), "{}", told(&promoted));
        let supervisor = node.pid_of(Role::Supervisor).expect("a living supervisor");
        let program = std::fs::read_link(format!("/proc/{supervisor}/exe")).expect("it lives");
        let damaged = node.scratch().join("damaged");
        std::fs::write(&damaged, "no program any more").expect("a new file");
        std::fs::set_permissions(&damaged, std::fs::Permissions::from_mode(0o700)).expect("an own file");
        std::fs::rename(damaged, program).expect("the same file system");
        node.signal(Role::Supervisor, Signal::SIGKILL);
        wait::until("the supervisor before it", STATE_DEADLINE, || {
            (node.pid_of(Role::Supervisor).is_some_and(|pid| pid != supervisor)
                && !supervisor_is_promoted(&node))
            .then_some(())
        })
        .await;
        assert_eq!(node.active().await.1, runtime);
        wait::until("what is left of it is removed", STATE_DEADLINE, || {
            let below = std::fs::read_dir(node.home().root()).ok()?.flatten();
            (below.filter(|entry| entry.path().is_dir()).count() == 0).then_some(())
        })
        .await;
        working.client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
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
