//! `doctor` and `attempts`: what is wrong, why, and the next step.

use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use holdfast_tests::node::{Node, Options, told};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

fn doctor(node: &Node) -> Value {
    let output = node.holdfast(&["doctor", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(&output)))
}

fn check<'a>(found: &'a Value, name: &str) -> &'a Value {
    let checks = found["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name} in {found}"))
}

/// What the kernel says of a process, by the name of the field.
fn field(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn doctor_tells_the_restrictions_of_each_process_as_the_kernel_has_them() {
    let node = Node::up();
    let (slot, pid) = run(node.active());
    let found = doctor(&node);
    let restrictions = found["restrictions"].as_array().expect("a list");
    let named = |name: &str| restrictions.iter().find(|one| one["process"] == name);
    for role in [Role::Keeper, Role::Supervisor, Role::Sidecar, Role::Runtime(slot)] {
        let one = named(role.name()).unwrap_or_else(|| panic!("{} is missing: {found}", role.name()));
        assert_eq!(one["pid"], json!(node.pid_of(role)), "{one}");
        assert_eq!(one["no_new_privs"], json!(field(pid, "NoNewPrivs:") == "1"), "{one}");
        let mask = u64::from_str_radix(&field(pid, "CapEff:"), 16).expect("hexadecimal");
        let names = one["effective_capabilities"].as_array().map_or(0, Vec::len);
        assert_eq!(names, mask.count_ones() as usize, "{one}");
        assert_eq!(one["uid"], json!(nix::unistd::geteuid().as_raw()), "{one}");
    }
    let text = node.holdfast(&["doctor"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("no_new_privs") && text.contains("seccomp"), "{text}");
}

#[test]
fn doctor_names_what_is_wrong_and_the_next_step() {
    let mut node = Node::up();
    run(node.active());
    assert_eq!(check(&doctor(&node), "node")["state"], "ok");

    std::fs::write(node.home().config(), "[runtime]\njournal_queue_bytes = 1000000\n").expect("written");
    let found = doctor(&node);
    let applied = check(&found, "applied");
    assert!(applied["next"].as_str().is_some_and(|next| next.contains("holdfast switch")), "{applied}");

    let made = node.json(&["token", "new", "--expires-in", "1s", "--json"]);
    let id = made["id"].as_str().expect("its id").to_owned();
    let expired = wait::until_blocking("the token has expired", DEADLINE, || {
        let found = doctor(&node);
        let tokens = check(&found, "tokens").clone();
        (tokens["state"] == "warn").then_some(tokens)
    });
    assert!(expired["message"].as_str().is_some_and(|message| message.contains(&id)), "{expired}");

    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(node.home().path(), open).expect("ours");
    let found = doctor(&node);
    assert_eq!(check(&found, "home mode")["state"], "fail", "{found}");
    std::fs::set_permissions(node.home().path(), std::fs::Permissions::from_mode(0o700)).expect("ours");

    assert!(node.holdfast(&["stop"]).status.success());
    node.wait_up_ended(DEADLINE);
    let found = doctor(&node);
    let stopped = check(&found, "node");
    assert_eq!((&stopped["message"], &stopped["state"]), (&json!("not running"), &json!("warn")));
    assert!(stopped["next"].as_str().is_some_and(|next| next.contains("holdfast up")), "{stopped}");

    let slot = node.home().slot(Slot::B);
    std::fs::remove_file(slot.join("manifest.json")).expect("a manifest");
    let found = doctor(&node);
    let empty = check(&found, "slot b")["message"].as_str().unwrap_or_default().to_owned();
    assert!(empty.contains("missing_manifest"), "{found}");
}

#[test]
fn doctor_says_why_a_node_is_degraded_and_which_slot_is_not_whole() {
    let node = Node::up();
    let (slot, pid) = run(node.active());
    for slot in Slot::BOTH {
        let program = node.home().slot(slot).join(holdfast_supervisor::io::slots::RUNTIME);
        std::fs::remove_file(&program).expect("a program");
        std::fs::write(&program, "#!/bin/false\n").expect("ours");
    }
    processes::signal(pid, Signal::SIGKILL);
    let degraded = wait::until_blocking("it is degraded", DEADLINE, || {
        let found = doctor(&node);
        let node = check(&found, "node").clone();
        node["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("degraded"))
            .then_some((node, found))
    });
    let (about, found) = degraded;
    assert_eq!(about["state"], "fail");
    assert!(about["message"].as_str().is_some_and(|message| message.contains("digest_mismatch")), "{about}");
    assert!(about["next"].as_str().is_some_and(|next| next.contains("holdfast logs")), "{about}");
    let broken = check(&found, if slot == Slot::A { "slot a" } else { "slot b" });
    assert_eq!(broken["state"], "fail", "{broken}");
    assert_eq!(node.holdfast(&["doctor"]).status.code(), Some(4));
}

#[test]
fn attempts_show_the_last_lines_of_a_failed_candidate() {
    let node =
        std::rc::Rc::new(Node::up_with(&Options { config: "[supervisor]\ngood_probes = 50\n".into() }));
    run(async {
        let (slot, _) = node.active().await;
        let candidate = Role::Runtime(slot.other());
        let switching = tokio::task::spawn_local({
            let node = node.clone();
            async move { node.holdfast_async(&["switch"]).await }
        });
        // It is probed for some seconds, so it dies before it could take over.
        let warm = async || {
            let status = node.status_async().await?;
            (status["update"]["state"] == "admitted").then(|| node.pid_of(candidate)).flatten()
        };
        processes::signal(wait::until_asked("a candidate", DEADLINE, warm).await, Signal::SIGKILL);
        let outcome = switching.await.expect("it comes to its end");
        assert_eq!(outcome.status.code(), Some(5), "{}", told(&outcome));
        let output = node.holdfast_async(&["attempts"]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let head = format!("last lines of `holdfast logs {}`", candidate.name());
        assert!(
            text.contains("candidate_died") && text.contains(&head) && text.contains("\n         | "),
            "{text}"
        );
        let all = node.holdfast_async(&["attempts", "--json"]).await;
        let all: Value = serde_json::from_slice(&all.stdout).expect("JSON");
        let lines = all["attempts"][0]["candidate_log"]["lines"].as_array().map_or(0, Vec::len);
        assert!((1..=5).contains(&lines), "{all}");
        let found = doctor(&node);
        let update = check(&found, "update");
        assert!(
            update["message"].as_str().is_some_and(|message| message.contains("candidate_died")),
            "{update}"
        );
    });
}
