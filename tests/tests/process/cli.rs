//! The operator's command line as people use it.

use holdfast_shared::home::Role;
use holdfast_tests::client::Since;
use holdfast_tests::node::{Node, start, told};
use holdfast_tests::work::{self, PacedTurn, SEALED_DEADLINE, conversation};
use holdfast_tests::{http, processes, run};
use nix::sys::signal::Signal;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const END: Duration = Duration::from_secs(20);

#[test]
fn up_prints_one_ready_line_and_nothing_else() {
    let mut node = Node::up();
    assert!(
        node.ready.url.starts_with("http://127.0.0.1:") && node.ready.url.ends_with('/'),
        "{:?}",
        node.ready
    );
    assert_eq!(node.ready.open, format!("{}#token={}", node.ready.url, node.ready.token));
    assert_eq!(std::fs::read_to_string(node.home().token()).expect("kept").trim(), node.ready.token);
    let mode = std::fs::metadata(node.home().token()).expect("kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    processes::signal(node.up_pid(), Signal::SIGINT);
    assert!(node.wait_up_ended(END).is_some());
    for role in [Role::Keeper, Role::Supervisor, Role::Sidecar] {
        assert_eq!(node.pid_of(role), None, "{} lives after Ctrl-C", role.name());
    }
}

#[test]
fn up_on_a_living_home_says_so_and_exits_5() {
    let node = Node::up();
    let url = node.ready.url.clone();
    let failed = start(node.scratch(), node.home()).expect_err("it lives");
    assert_eq!(failed.code, Some(5), "{failed:?}");
    assert!(failed.stderr.contains(&url), "{failed:?}");
    run(async {
        node.active().await;
    });
}

#[test]
fn status_has_what_is_promised_and_says_when_nothing_runs() {
    let mut node = Node::up();
    let (slot, pid) = run(node.active());
    let status = node.json(&["status", "--json"]);
    assert_eq!(status["active"]["slot"], json!(slot.name()));
    assert_eq!(status["active"]["pid"], json!(pid));
    assert_eq!(status["update"]["state"], json!("idle"));
    for path in [
        "/node",
        "/supervisor/pid",
        "/sidecar/pid",
        "/active/epoch",
        "/active/runtime_instance_id",
        "/active/release",
    ] {
        assert!(status.pointer(path).is_some_and(|value| !value.is_null()), "{path} is missing: {status}");
    }
    let text = node.holdfast(&["status"]);
    assert!(text.status.success(), "{}", told(&text));
    let stopped = node.holdfast(&["stop"]);
    assert!(stopped.status.success(), "{}", told(&stopped));
    node.wait_up_ended(END);
    assert_eq!(node.holdfast(&["status"]).status.code(), Some(3));
    assert_eq!(node.holdfast(&["nonsense"]).status.code(), Some(2));
}

#[test]
fn stop_works_with_a_dead_supervisor() {
    let mut node = Node::up();
    // A keeper that stands still does not bring the supervisor back.
    let keeper = node.pid_of(Role::Keeper).expect("a living keeper");
    processes::stop(keeper);
    node.signal(Role::Supervisor, Signal::SIGKILL);
    let stopped = node.holdfast(&["stop"]);
    assert!(stopped.status.success(), "{}", told(&stopped));
    processes::signal(keeper, Signal::SIGCONT);
    node.wait_up_ended(END);
    for role in [Role::Keeper, Role::Supervisor, Role::Sidecar] {
        assert_eq!(node.pid_of(role), None, "{} lives after stop", role.name());
    }
}

#[test]
fn task_prompt_wait_streams_and_exits_with_the_code_of_the_command() {
    let node = Node::up();
    let opened = node.holdfast(&["task", "open", "t"]);
    assert!(opened.status.success(), "{}", told(&opened));
    let ran = node.holdfast(&["task", "prompt", "t", "echo out; echo err >&2; exit 9", "--wait"]);
    assert_eq!(ran.status.code(), Some(9), "{}", told(&ran));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("out"), "{}", told(&ran));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("err"), "{}", told(&ran));
    let unknown = node.holdfast(&["task", "prompt", "u", "true", "--wait"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("TASK_NOT_FOUND") && said.contains("holdfast task open u"), "{said}");
    let list = node.json(&["rpc", "task.list", "{}"]);
    assert!(list.to_string().contains("\"t\""), "{list}");
    let unknown = node.holdfast(&["rpc", "no.such", "{}"]);
    assert_eq!(unknown.status.code(), Some(5), "{}", told(&unknown));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("UNKNOWN_METHOD"), "{}", told(&unknown));
}

#[test]
fn attach_detaches_on_ctrl_c_and_the_turn_goes_on() {
    let node = Node::up();
    assert!(node.holdfast(&["task", "open", "t"]).status.success());
    let paced = PacedTurn::new(node.scratch());
    let prompted = node.holdfast(&["task", "prompt", "t", &paced.command_line()]);
    assert!(prompted.status.success(), "{}", told(&prompted));
    let mut command = node.command(&["task", "attach", "t"]);
    let mut attached = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut first = [0_u8; 8];
    std::io::Read::read_exact(attached.stdout.as_mut().expect("piped"), &mut first).expect("output");
    processes::signal(attached.id().cast_signed(), Signal::SIGINT);
    let output = attached.wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cancel"), "{}", told(&output));
    run(async {
        let channel = conversation("t");
        let client = work::recorder(&node, &[(&channel, Since::Start)]);
        client.ready().await;
        let before = client.observed(|seen| seen.channel(&channel).offset);
        client.wait("it goes on", SEALED_DEADLINE, |seen| seen.channel(&channel).offset > before + 5).await;
    });
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let node = Node::up();
    let made = node.json(&["token", "new", "--role", "viewer", "--json"]);
    let token = made["token"].as_str().expect("the token, once").to_owned();
    let id = made["id"].as_str().expect("its id").to_owned();
    let list = node.holdfast(&["token", "list"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains(&id), "{}", told(&list));
    assert!(!String::from_utf8_lossy(&list.stdout).contains(&token), "a list shows no token");
    let address = node.ready.address();
    let (reading, writing) = run(async {
        let reading =
            http::post(&address, "/api/v1/rpc/task.list", Some(&token), "{}").await.expect("answered");
        let body = json!({"task": "x", "skill": "command"}).to_string();
        let writing =
            http::post(&address, "/api/v1/rpc/task.open", Some(&token), &body).await.expect("answered");
        (reading, writing)
    });
    assert_eq!(reading.status, 200, "{reading:?}");
    assert_eq!(writing.status, 403, "{writing:?}");
    let revoked = node.holdfast(&["token", "revoke", &id]);
    assert!(revoked.status.success(), "{}", told(&revoked));
    let after = run(async {
        http::post(&address, "/api/v1/rpc/task.list", Some(&token), "{}").await.expect("answered")
    });
    assert_eq!(after.status, 401, "{after:?}");
}

#[test]
fn a_token_with_a_scope_reaches_its_tasks_alone() {
    let node = Node::up();
    let made = node.json(&["token", "new", "--scope", "task:mine", "--json"]);
    assert_eq!(made["scope"], json!({"tasks": ["mine"]}));
    let token = made["token"].as_str().expect("the token, once");
    let address = node.ready.address();
    let open = |task: &str| json!({"task": task, "skill": "command"}).to_string();
    for (method, body, status) in [
        ("task.open", open("mine"), 200),
        ("task.open", open("other"), 403),
        ("conversation.history", json!({"conversation": "mine"}).to_string(), 200),
        ("conversation.history", json!({"conversation": "other"}).to_string(), 403),
        ("task.list", "{}".to_owned(), 403),
    ] {
        let path = format!("/api/v1/rpc/{method}");
        let answer = run(async { http::post(&address, &path, Some(token), &body).await.expect("answered") });
        assert_eq!(answer.status, status, "{method} {body}: {answer:?}");
    }
    let refused = node.holdfast(&["token", "new", "--scope", "mine"]);
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
}

#[test]
fn open_logs_doctor_completion_and_version_answer() {
    let node = Node::up();
    let open = node.holdfast(&["open"]);
    assert!(String::from_utf8_lossy(&open.stdout).contains(&node.ready.open), "{}", told(&open));
    for arguments in [&["logs"][..], &["doctor"], &["completion", "bash"], &["--version"], &["--help"]] {
        let output = node.holdfast(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        assert!(!output.stdout.is_empty(), "{arguments:?} says nothing");
    }
}

/// The control sockets are for the owner: no other mode, and unknown fields or malformed JSON have a code.
#[test]
fn control_sockets_are_private_and_refuse_what_they_do_not_know() {
    let node = Node::up();
    for role in [Role::Supervisor, Role::Sidecar] {
        let path = node.home().control(role);
        let mode = std::fs::metadata(&path).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let socket = node.home().control(Role::Supervisor);
    for (method, path, body, code) in [
        ("POST", "/v1/switch", "{\"to\":\"b\",\"nonsense\":1}", "INVALID_REQUEST"),
        ("POST", "/v1/switch", "{", "INVALID_REQUEST"),
        ("GET", "/v1/nothing", "", "UNKNOWN_METHOD"),
    ] {
        let answer = curl(&socket, method, path, body);
        assert!(answer.contains(code), "{method} {path} {body}: {answer}");
    }
}

fn curl(socket: &std::path::Path, method: &str, path: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("it listens");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// A watcher through the sidecar's control socket is held like a browser: the CLI waits out a switch.
#[test]
fn rpc_waits_out_switches_and_crashes() {
    run(async {
        let node = Node::up();
        let watcher = work::client(&node, &[("tasks", Since::Start)]);
        watcher.ready().await;
        for round in 0..4 {
            let (_, pid) = node.active().await;
            processes::signal(pid, Signal::SIGKILL);
            let data = json!({"task": format!("t{round}"), "skill": "command"}).to_string();
            let opened = node.holdfast_async(&["rpc", "task.open", &data]).await;
            assert!(opened.status.success(), "{}", told(&opened));
        }
    });
}
