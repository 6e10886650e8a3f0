//! What the tests of root promotions stand on: releases with other root files, a node that installs them, its work.

use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use holdfast_tests::client::{Client, Observed, Since, text_of};
use holdfast_tests::node::{Node, Options, binaries, copy_without_symbols, told};
use holdfast_tests::wait;
use holdfast_tests::work::{self, PacedTurn, SEALED_DEADLINE, conversation};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Verifying and unpacking, the stability window of an update, and a machine that does other things too.
pub(super) const STATE_DEADLINE: Duration = Duration::from_secs(90);

const AT_ONCE: &str = "[supervisor]\ncountdown_ms = 0\nminimum_update_period_ms = 0\n";

/// What a release has in place of a program.
pub(super) enum Program {
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
pub(super) fn release(node: &Node, operator: &Program, sidecar: &Program) -> PathBuf {
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

pub(super) fn start(node: &Rc<Node>, arguments: &[&str]) -> JoinHandle<Output> {
    let (node, arguments) = (node.clone(), arguments.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
    tokio::task::spawn_local(async move {
        node.holdfast_async(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    })
}

pub(super) fn node(more: &str) -> Rc<Node> {
    Rc::new(Node::up_with(&Options { config: format!("{AT_ONCE}{more}") }))
}

pub(super) async fn state_is(node: &Node, state: &str) -> Value {
    let looked = async || node.status_async().await.filter(|status| status["update"]["state"] == state);
    wait::until_asked(state, STATE_DEADLINE, looked).await
}

/// The attempt, once it has ended.
pub(super) async fn ended(node: &Node) -> Value {
    let looked = async || {
        let output = node.holdfast_async(&["attempts", "--json"]).await;
        let all: Value = serde_json::from_slice(&output.stdout).ok()?;
        let attempt = all["attempts"].get(0)?.clone();
        attempt["ended_at"].is_i64().then_some(attempt)
    };
    wait::until_asked("the attempt has ended", STATE_DEADLINE, looked).await
}

pub(super) fn steps(attempt: &Value) -> Vec<&str> {
    let steps = attempt["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    steps.iter().filter_map(|step| step["state"].as_str()).collect()
}

/// Installs it, until its runtime serves and its root files wait.
pub(super) async fn pending(node: &Rc<Node>, operator: &Program, sidecar: &Program) -> (Slot, i32) {
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

pub(super) fn supervisor_is_promoted(node: &Node) -> bool {
    runs_promoted(node, Role::Supervisor).is_some()
}

/// The program that the role runs, where it is below the home's root files.
pub(super) fn runs_promoted(node: &Node, role: Role) -> Option<PathBuf> {
    let program = std::fs::read_link(format!("/proc/{}/exe", node.pid_of(role)?)).ok()?;
    program.starts_with(node.home().root().canonicalize().ok()?).then_some(program)
}

/// A client with a task of its own, and a turn that runs until it is told to end.
pub(super) struct Working {
    pub(super) client: Client,
    paced: PacedTurn,
    turn: String,
}

pub(super) async fn working(node: &Node) -> Working {
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
    pub(super) async fn ends_whole(self) {
        let Working { client, paced, turn } = self;
        paced.end();
        let channel = conversation("t");
        let sealed = |seen: &Observed| work::sealed(&seen.channel(&channel).events, &turn);
        client.wait("the turn is sealed", SEALED_DEADLINE, sealed).await;
        client.observed(|seen| {
            assert_eq!(seen.complaints(), Vec::<String>::new());
            work::check_paced(&text_of(&seen.channel(&channel).events, &turn))
                .unwrap_or_else(|why| panic!("{why}"));
        });
    }
}
