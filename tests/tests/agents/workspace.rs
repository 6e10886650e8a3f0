//! What an agent may touch of the machine through the node: its workspace, and no more.

use holdfast_tests::agents::{self, Agent, Stage, TASK};
use holdfast_tests::run;
use holdfast_tests::work::{self, conversation};
use std::os::unix::fs::symlink;
use std::path::Path;

/// Files and links that lead out of a workspace, and what the agent is told about each.
fn lay_traps(workspace: &Path, outside: &Path) {
    std::fs::create_dir_all(outside).expect("a new directory");
    std::fs::write(outside.join("secret"), "of another").expect("a new file");
    symlink(outside, workspace.join("link")).expect("a new link");
    symlink(outside.join("secret"), workspace.join("linked")).expect("a new link");
    symlink(outside.join("new"), workspace.join("dangling")).expect("a new link");
    std::fs::hard_link(outside.join("secret"), workspace.join("hard")).expect("the same file system");
    nix::unistd::mkfifo(&workspace.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a new FIFO");
    std::fs::create_dir(workspace.join("directory")).expect("a new directory");
}

fn confined(agent: Agent) {
    run(async {
        let stage = Stage::of(agent).await;
        let node = &stage.node;
        let workspace = node.home().workspaces().join(TASK);
        let inside = |path: &str| match agent {
            // The demo agent makes paths absolute by itself.
            Agent::Demo => path.to_owned(),
            _ => workspace.join(path).to_string_lossy().into_owned(),
        };
        let refused = |answer: &str| answer.contains("refused") || answer.contains("error");
        let wrote = stage.answered(&format!("write {} mine", inside("file"))).await;
        assert!(!refused(&wrote), "{wrote}");
        let read = stage.answered(&format!("read {}", inside("file"))).await;
        assert!(read.contains("mine"), "{read}");
        assert_eq!(std::fs::read_to_string(workspace.join("file")).expect("it was written"), "mine");

        let outside = node.scratch().join("outside");
        lay_traps(&workspace, &outside);
        let absolute = outside.join("secret").to_string_lossy().into_owned();
        let up = format!("../../../outside/{}", "secret");
        let traps = [
            "/etc/passwd",
            absolute.as_str(),
            &up,
            "link/secret",
            "linked",
            "dangling",
            "hard",
            "fifo",
            "directory",
            "",
            ".",
            "..",
            "directory/../file",
            "file/below",
        ];
        for trap in traps {
            let path = if trap.starts_with('/') { trap.to_owned() } else { inside(trap) };
            if path.is_empty() {
                continue;
            }
            let read = stage.answered(&format!("read {path}")).await;
            assert!(refused(&read) && !read.contains("of another"), "read {path}: {read}");
            let write = stage.answered(&format!("write {path} evil")).await;
            assert!(refused(&write), "write {path}: {write}");
        }
        assert_eq!(std::fs::read_to_string(outside.join("secret")).expect("it is there"), "of another");
        let mut left: Vec<_> = std::fs::read_dir(&outside).expect("it is there").flatten().collect();
        assert_eq!(left.pop().map(|entry| entry.file_name()), Some("secret".into()));
        assert!(left.is_empty(), "nothing was made outside");
        assert_eq!(std::fs::read_to_string(workspace.join("file")).expect("it is there"), "mine");
    });
}

#[test]
fn demo_file_requests_stay_in_the_workspace() {
    confined(Agent::Demo);
}

#[test]
fn npm_sdk_file_requests_stay_in_the_workspace() {
    confined(Agent::Npm);
}

/// A terminal runs in the workspace, its output and exit code come back, and a runtime that dies meanwhile is not
/// noticed.
#[test]
fn a_terminal_runs_in_the_workspace_and_outlives_the_runtime() {
    run(async {
        let stage = Stage::of(Agent::Demo).await;
        let node = &stage.node;
        let workspace = node.home().workspaces().join(TASK);
        // The first prompt makes the workspace. The demo's own words end at a semicolon: the line is a script.
        stage.answered("say ready").await;
        let line = "pwd; while [ ! -e go ]; do sleep 0.05; done; echo after";
        std::fs::write(workspace.join("script"), line).expect("a new file");
        let turn = stage.prompt("run sh script").await;
        stage
            .watcher
            .wait("the terminal runs", work::SEALED_DEADLINE, |seen| {
                let events = &seen.channel(&conversation(TASK)).events;
                agents::updates(events, &turn).any(|update| update["status"] == "in_progress")
            })
            .await;
        let (_, pid) = node.active().await;
        holdfast_tests::processes::signal(pid, nix::sys::signal::Signal::SIGKILL);
        // A switch from one whose death is not known yet would be refused.
        while node.active().await.1 == pid {}
        node.switch().await.expect("a switch");
        std::fs::write(workspace.join("go"), "").expect("a new file");
        let seal = stage.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], "end_turn", "{seal}");
        assert_eq!(stage.said(&turn), format!("{}\nafter\n", workspace.display()));
    });
}
