//! Skills on a real node: installed, listed, removed, and what the supervisor makes workers of. The test asks for workers as
//! the runtime does, so that nothing here depends on what a runtime makes of a turn.

use holdfast_shared::control::{CallError, Client};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::inbox::{InboxWriter, Message};
use holdfast_shared::spool::{SpoolRecord, SpoolTail, Stream, TAIL_PIECE_BYTES_MAX};
use holdfast_shared::supervisor_control::{SpawnWorker, Spawned, Terminal};
use holdfast_shared::worker::{ExitStatus, Order, WorkerState};
use holdfast_tests::node::{Node, Options, told};
use holdfast_tests::{run, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

/// A directory with this manifest and, as `run`, this shell script.
fn skill(node: &Node, manifest: &str, script: &str) -> PathBuf {
    let directory = node.scratch().join("skill");
    std::fs::create_dir_all(&directory).expect("room");
    std::fs::write(directory.join("skill.toml"), manifest).expect("room");
    let program = directory.join("run");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("room");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("ours");
    directory
}

fn manifest(name: &str, protocol: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\nversion = \"1\"\nprotocol = \"{protocol}\"\nargv = [\"./run\", \"-v\"]\n{more}"
    )
}

fn install(node: &Node, directory: &Path) -> Value {
    node.json(&["skill", "install", &directory.to_string_lossy(), "--json"])
}

fn states(node: &Node) -> BTreeMap<String, String> {
    let list = node.json(&["skill", "list", "--json"]);
    let skills = list["skills"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    skills.map(|skill| (text(&skill["name"]), text(&skill["state"]))).collect()
}

fn request(node: &Node, spawn: &str, skill: &str, prompt: &str) -> SpawnWorker {
    let epoch = node.status().expect("it lives")["active"]["epoch"].as_u64().expect("an active one");
    SpawnWorker {
        spawn_id: spawn.into(),
        skill: skill.into(),
        version: String::new(),
        task: "made".into(),
        turn: "t1".into(),
        epoch,
        prompt: prompt.into(),
        terminal: None,
    }
}

fn spawn(node: &Node, request: &SpawnWorker) -> Result<Spawned, ApiError> {
    let client = Client::new(node.home().control(Role::Supervisor));
    match run(client.post("/v1/workers", request, DEADLINE)) {
        Ok(spawned) => Ok(spawned),
        Err(CallError::Refused(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// What a worker has said on stdout and stderr, once it has ended, and how it ended.
fn ended(node: &Node, spawn: &str) -> (String, ExitStatus) {
    let directory = node.home().worker(spawn);
    let exit = wait::until_blocking("the worker's end", DEADLINE, || match WorkerState::read(&directory) {
        Ok(WorkerState::Ended(exit)) => Some(exit),
        _ => None,
    });
    (said(&directory), exit.status)
}

fn said(directory: &Path) -> String {
    let mut tail = SpoolTail::open(directory);
    let mut bytes = Vec::new();
    while let Ok(piece) = tail.poll(TAIL_PIECE_BYTES_MAX) {
        if piece.is_empty() {
            break;
        }
        for record in piece {
            if let SpoolRecord::Output { bytes: said, stream: Stream::Stdout | Stream::Stderr, .. } = record {
                bytes.extend_from_slice(&said);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn ready(options: &Options) -> Node {
    let node = Node::up_with(options);
    run(node.active());
    node
}

#[test]
fn skills_are_installed_listed_and_removed() {
    let mut node = ready(&Options::default());
    assert_eq!(states(&node).into_values().collect::<Vec<_>>(), ["built_in", "built_in"]);
    let directory = skill(&node, &manifest("mine", "command", ""), "echo");
    let valid = node.holdfast(&["skill", "validate", &directory.to_string_lossy()]);
    assert!(valid.status.success(), "{}", told(&valid));
    assert_eq!(install(&node, &directory)["name"], "mine");
    assert_eq!(states(&node)["mine"], "ok");
    let text = node.holdfast(&["skill", "list"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("mine"), "{}", told(&text));
    for _ in 0..2 {
        assert_eq!(install(&node, &directory)["replaced"], "1", "again is another one in its place");
    }
    let removed = node.holdfast(&["skill", "remove", "mine"]);
    assert!(removed.status.success(), "{}", told(&removed));
    assert!(!states(&node).contains_key("mine"));
    for name in ["mine", "command", "../x"] {
        assert_eq!(node.holdfast(&["skill", "remove", name]).status.code(), Some(5), "{name}");
    }
    // What is installed while nothing runs is there at the next start.
    assert!(node.holdfast(&["stop"]).status.success());
    node.wait_up_ended(DEADLINE);
    install(&node, &directory);
    node.up_again().expect("ready");
    assert_eq!(states(&node)["mine"], "ok");
}

#[test]
fn skills_with_mistakes_are_refused_with_all_of_them() {
    let node = ready(&Options::default());
    for (text, says) in [
        ("", &["name", "version", "protocol", "argv"][..]),
        ("name = \"demo\"\nversion = \"1\"\nprotocol = \"acp\"\nargv = [\"sh\"]", &["built in"]),
        (&manifest("x", "mcp", "argw = 1"), &["protocol", "argw"]),
        (&manifest("x", "acp", "[limits]\nopen_files = 1\ncpus = 2"), &["limits.open_files", "limits.cpus"]),
        (&manifest("x", "acp", "").replace("./run", "./other"), &["other", "No such file"]),
        (&manifest("x", "acp", "").replace("./run", "../run"), &["neither absolute"]),
        (&manifest("x", "acp", "user = \"no-such-user-here\""), &["no-such-user-here"]),
        ("name = ", &["skill.toml"]),
    ] {
        let directory = skill(&node, text, "true").to_string_lossy().into_owned();
        let refused = node.holdfast(&["skill", "install", &directory]);
        assert_eq!(refused.status.code(), Some(5), "{text}: {}", told(&refused));
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(says.iter().all(|what| stderr.contains(what)), "{text}: {says:?} in {stderr}");
        if !text.contains("user") {
            let invalid = node.holdfast(&["skill", "validate", &directory, "--json"]);
            assert_eq!(invalid.status.code(), Some(5), "{text}: {}", told(&invalid));
        }
    }
    assert_eq!(states(&node).len(), 2);
}

#[test]
fn skills_of_commands_get_their_prompt_as_one_word_in_the_workspace() {
    let node = ready(&Options { config: "[command]\nenvironment = [\"PATH\"]\n".into() });
    let more = "env = { COLOUR = \"blue\" }\npass_env = [\"HOLDFAST_NOT\"]\n";
    assert_eq!(
        node.holdfast(&[
            "skill",
            "validate",
            &skill(&node, &manifest("mine", "command", more), "").to_string_lossy()
        ])
        .status
        .code(),
        Some(5),
        "our own variables are not given away"
    );
    let script = "for word; do echo \"[$word]\"; done; pwd; echo $COLOUR $HOLDFAST_TASK $HOLDFAST_SKILL; env | grep -c HOME";
    let more = "env = { COLOUR = \"blue\" }\nlimits = { open_files = 64, file_bytes = 1000000 }\n";
    install(
        &node,
        &skill(&node, &manifest("mine", "command", more), &format!("{script}; ulimit -n; exit 3")),
    );
    let request = request(&node, "w-test-1", "mine", "two  words; $(id)");
    assert!(spawn(&node, &request).expect("started").started);
    let (text, status) = ended(&node, "w-test-1");
    let workspace = node.home().workspaces().join("made");
    let expected = format!("[-v]\n[two  words; $(id)]\n{}\nblue made mine\n0\n64\n", workspace.display());
    assert_eq!((text, status), (expected, ExitStatus::Code(3)));
    assert!(!spawn(&node, &request).expect("the same").started, "asked again, it is the same worker");
}

#[test]
fn skills_that_were_changed_or_are_unknown_start_nothing() {
    let node = ready(&Options::default());
    let directory = skill(&node, &manifest("mine", "command", ""), "echo ran");
    install(&node, &directory);
    let unknown = spawn(&node, &request(&node, "w-test-1", "other", "")).expect_err("unknown");
    assert_eq!(unknown.code, Code::InvalidRequest);
    let mut wrong = request(&node, "w-test-2", "mine", "");
    wrong.version = "9".into();
    assert!(spawn(&node, &wrong).expect_err("another version").message.contains("version 1, not 9"));
    let installed = node.home().skills().join("mine/skill.toml");
    let text = std::fs::read_to_string(&installed).expect("it is there");
    std::fs::write(&installed, text.replace("-v", "-w")).expect("ours");
    let changed = spawn(&node, &request(&node, "w-test-3", "mine", "")).expect_err("changed");
    assert!(changed.code == Code::Refused && changed.message.contains("was changed"), "{changed}");
    assert_eq!(states(&node)["mine"], "refused");
    let doctor = node.holdfast(&["doctor", "--json"]);
    let found: Value = serde_json::from_slice(&doctor.stdout).unwrap_or_else(|_| panic!("{}", told(&doctor)));
    let checks = found["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["check"] == "skills").expect("a line");
    assert!(check["message"].as_str().is_some_and(|message| message.contains("was changed")), "{check}");
    for name in ["memory limits", "process limits", "cpu limits", "cgroup v2", "task user"] {
        assert!(checks.iter().any(|check| check["check"] == name), "{name} in {found}");
    }
    for spawn in ["w-test-1", "w-test-2", "w-test-3"] {
        assert!(
            !node.home().worker(spawn).exists(),
            "{spawn}: it may be asked for again once that is mended"
        );
    }
    install(&node, &directory);
    spawn(&node, &request(&node, "w-test-3", "mine", "")).expect("mended");
    assert_eq!(ended(&node, "w-test-3").1, ExitStatus::Code(0));
}

#[test]
fn skills_are_not_changed_under_a_running_worker() {
    let node = ready(&Options::default());
    let directory = skill(&node, &manifest("mine", "command", ""), "exec sleep 1000");
    install(&node, &directory);
    spawn(&node, &request(&node, "w-test-1", "mine", "")).expect("started");
    let worker = node.home().worker("w-test-1");
    wait::until_blocking("it runs", DEADLINE, || {
        matches!(WorkerState::read(&worker), Ok(WorkerState::Alive(Some(_)))).then_some(())
    });
    for arguments in [["skill", "remove", "mine"], ["skill", "install", &directory.to_string_lossy()]] {
        let refused = node.holdfast(&arguments);
        assert_eq!(refused.status.code(), Some(5), "{}", told(&refused));
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(stderr.contains("BUSY") && stderr.contains("made"), "{stderr}");
    }
    InboxWriter::create(&worker, 1).and_then(|mut inbox| inbox.send(1, &Message::Kill)).expect("sent");
    ended(&node, "w-test-1");
    assert!(node.holdfast(&["skill", "remove", "mine"]).status.success());
}

#[test]
fn skills_may_ask_for_terminals_below_their_workspace_alone() {
    let node = ready(&Options::default());
    let more = "env = { COLOUR = \"blue\" }\nlimits = { open_files = 50 }\n";
    install(&node, &skill(&node, &manifest("agent", "acp", more), "cat"));
    let workspace = node.home().workspaces().join("made");
    std::fs::create_dir_all(workspace.join("a/b")).expect("room");
    std::os::unix::fs::symlink("/etc", workspace.join("link")).expect("room");
    let terminal = |spawn_id: &str, cwd: &str| {
        let terminal = Terminal {
            command: "/bin/sh".into(),
            args: vec!["-c".into(), "pwd; echo $COLOUR $MORE; ulimit -n; exit 4".into()],
            env: BTreeMap::from([("MORE".into(), "more".into())]),
            cwd: cwd.into(),
        };
        let request = SpawnWorker { terminal: Some(terminal), ..request(&node, spawn_id, "agent", "") };
        spawn(&node, &request)
    };
    terminal("w-test-1", "a/b").expect("started");
    let expected = format!("{}\nblue more\n50\n", workspace.join("a/b").display());
    assert_eq!(ended(&node, "w-test-1"), (expected, ExitStatus::Code(4)));
    for (number, cwd) in ["../..", "/etc", "link", "a/../../x", "link/ssl"].into_iter().enumerate() {
        let refused = terminal(&format!("w-test-no-{number}"), cwd).expect_err("it leads elsewhere");
        assert_eq!(refused.code, Code::WorkspacePolicyViolation, "{cwd}");
    }
    assert_eq!(terminal("w-test-none", "gone").expect_err("not there").code, Code::InvalidRequest);
}

#[test]
fn skills_with_a_demo_agent_are_there_without_installing_any() {
    let node = ready(&Options::default());
    let request = SpawnWorker { turn: String::new(), ..request(&node, "w-test-1", "demo", "") };
    spawn(&node, &request).expect("started");
    let worker = node.home().worker("w-test-1");
    let message =
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}});
    let mut inbox = InboxWriter::create(&worker, 1).expect("its directory is there");
    inbox.send(1, &Message::Input { bytes: format!("{message}\n").into_bytes() }).expect("sent");
    wait::until_blocking("its answer", DEADLINE, || said(&worker).contains("loadSession").then_some(()));
    inbox.send(2, &Message::CloseStdin).expect("sent");
    let (text, status) = ended(&node, "w-test-1");
    let answer: Value = serde_json::from_str(text.trim_end()).expect("one line of JSON");
    assert_eq!((&answer["id"], status), (&json!(1), ExitStatus::Code(0)));
}

#[test]
fn skills_with_a_user_work_as_it_in_a_workspace_of_its_own() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: work as another user needs root");
        return;
    }
    let node = ready(&Options::default());
    // The scratch directory is this test's alone; others have to get through it.
    std::fs::set_permissions(node.scratch(), PermissionsExt::from_mode(0o711)).expect("ours");
    let script = "id -un; touch mine && stat -c %U mine; cat ../../token 2>/dev/null || echo closed; \
        ls ../.. 2>/dev/null || echo hidden";
    install(&node, &skill(&node, &manifest("theirs", "command", "user = \"nobody\""), script));
    if let Err(error) = spawn(&node, &request(&node, "w-test-1", "theirs", "")) {
        assert!(error.message.contains("lets user"), "{error}");
        eprintln!("SKIPPED: {error}");
        return;
    }
    let order = Order::read(&node.home().worker("w-test-1")).expect("an order");
    assert_ne!(order.user.expect("a user").uid, 0);
    assert_eq!(ended(&node, "w-test-1").0, "nobody\nnobody\nclosed\nhidden\n");
    let workspace = node.home().workspaces().join("made").metadata().expect("it is there");
    assert_eq!(workspace.mode() & 0o777, 0o700);
    assert_ne!(workspace.uid(), 0);
    let journal = node.home().journal().metadata().expect("it is there");
    assert_eq!(journal.mode() & 0o007, 0);
}

#[test]
fn skills_are_not_installed_on_a_disk_that_they_would_fill() {
    let node = ready(&Options::default());
    let directory = skill(&node, &manifest("mine", "command", ""), "echo");
    std::fs::create_dir(node.home().skills()).expect("room");
    let Some(disk) = Small::mount(&node.home().skills(), "size=100m") else {
        eprintln!("SKIPPED: this process may not mount a tmpfs");
        return;
    };
    let refused = node.holdfast(&["skill", "install", &directory.to_string_lossy()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("STORAGE_FULL"), "{}", told(&refused));
    let left: Vec<_> =
        std::fs::read_dir(&disk.0).expect("readable").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [".lock"]);
    assert!(Small::mount(&disk.0, "remount,size=400m").map(std::mem::forget).is_some());
    install(&node, &directory);
    assert_eq!(states(&node)["mine"], "ok");
}

/// A mount that goes with the test.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, options: &str) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
        command.output().is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn skills_are_given_no_work_before_their_disk_is_full() {
    let node = ready(&Options::default());
    let Some(disk) = Small::mount(&node.home().workspaces(), "size=100m") else {
        eprintln!("SKIPPED: this process may not mount a tmpfs");
        return;
    };
    let request = request(&node, "w-test-1", "command", "echo ran");
    let refused = spawn(&node, &request).expect_err("less than 128 MiB are free");
    assert!(refused.code == Code::StorageFull && refused.retryable, "{refused}");
    assert!(refused.message.contains("workspaces") && refused.message.contains("128 MiB"), "{refused}");
    assert!(!node.home().worker("w-test-1").exists());
    assert!(Small::mount(&disk.0, "remount,size=400m").map(std::mem::forget).is_some());
    spawn(&node, &request).expect("there is room");
    assert_eq!(ended(&node, "w-test-1").0, "ran\n");
}
