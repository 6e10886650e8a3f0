//! Homes that cannot be used: said plainly, with the file's name, and nothing of them is changed or destroyed.

use holdfast_shared::home::Home;
use holdfast_tests::node::{Node, NotReady, start};
use holdfast_tests::work;
use holdfast_tests::{processes, run};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every file below a directory with its bytes, without logs and what only lives with a process.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let transient = ["run", "logs"].iter().any(|name| path == directory.join(name));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !transient => open.push(path),
                Ok(kind) if kind.is_file() => {
                    drop(found.insert(path.clone(), std::fs::read(&path).unwrap_or_default()))
                }
                _ => {}
            }
        }
    }
    found
}

/// A home with a task in it, its tree stopped.
fn used_home() -> Node {
    let mut node = Node::up();
    run(async {
        let client = work::client(&node, &[]);
        client.ready().await;
        work::open_task(&client, "kept").await;
    });
    let stopped = node.holdfast(&["stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    node.wait_up_ended(std::time::Duration::from_secs(20));
    node
}

fn refused(node: &mut Node) -> NotReady {
    let failed = node.up_again().expect_err("this home cannot be used");
    assert_ne!(failed.code, Some(0), "{failed:?}");
    assert!(failed.stdout.is_empty(), "{failed:?}");
    failed
}

fn names(failed: &NotReady, words: &[&str]) {
    for word in words {
        assert!(failed.stderr.contains(word), "{word:?} is not said: {}", failed.stderr);
    }
    assert!(!failed.stderr.contains("panicked"), "{}", failed.stderr);
}

fn serves_its_task(node: &mut Node) {
    node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
    run(async {
        let client = work::client(node, &[]);
        client.ready().await;
        let list = client.command("task.list", json!({})).await.expect("a list");
        assert!(list.to_string().contains("\"kept\""), "{list}");
    });
}

#[test]
fn homes_from_a_newer_version_are_refused_and_left_as_they_are() {
    let mut node = used_home();
    let path = node.home().identity();
    let old = std::fs::read(&path).expect("home.json");
    let mut identity: serde_json::Value = serde_json::from_slice(&old).expect("JSON");
    identity["format"] = json!(9999);
    std::fs::write(&path, identity.to_string()).expect("writable");
    let before = contents(node.home().path());
    let failed = refused(&mut node);
    names(&failed, &["HOME_NEWER", "home.json"]);
    assert!(contents(node.home().path()) == before, "something was written");
    std::fs::write(&path, old).expect("writable");
    serves_its_task(&mut node);
}

#[test]
fn homes_with_missing_parts_are_refused_and_left_as_they_are() {
    let mut node = used_home();
    let home = node.home().clone();
    for missing in [home.identity(), home.journal()] {
        let aside = node.scratch().join("aside");
        std::fs::rename(&missing, &aside).expect("it is there");
        let before = contents(home.path());
        let failed = refused(&mut node);
        names(&failed, &["HOME_DAMAGED"]);
        assert!(
            contents(home.path()) == before,
            "something was written after {} was gone",
            missing.display()
        );
        assert!(!missing.exists(), "{} was made anew", missing.display());
        std::fs::rename(&aside, &missing).expect("still there");
    }
    serves_its_task(&mut node);
}

#[test]
fn homes_with_a_damaged_home_json_are_refused_and_left_as_they_are() {
    let mut node = used_home();
    let path = node.home().identity();
    let old = std::fs::read(&path).expect("home.json");
    for damaged in [&b""[..], b"{", b"[]", b"{\"format\":\"one\"}"] {
        std::fs::write(&path, damaged).expect("writable");
        let failed = refused(&mut node);
        names(&failed, &["HOME_DAMAGED", "home.json"]);
        assert_eq!(std::fs::read(&path).expect("still there"), damaged);
    }
    std::fs::write(&path, old).expect("writable");
    serves_its_task(&mut node);
}

/// A mount of its own, undone when it goes.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, options: &str) -> Option<Mounted> {
        std::fs::create_dir_all(at).expect("a new directory");
        did(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at))
            .then(|| Mounted(at.to_owned()))
    }

    fn read_only(&self) -> bool {
        did(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0))
    }
}

fn did(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        did(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn skipped(what: &str) {
    println!("SKIPPED: {what}: this process may not mount a tmpfs");
    eprintln!("SKIPPED: {what}: this process may not mount a tmpfs");
}

#[test]
fn homes_that_are_read_only_are_said_plainly() {
    let directory = tempfile::Builder::new().prefix("home.").tempdir().expect("room below TMPDIR");
    let Some(mounted) = Mounted::tmpfs(&directory.path().join("disk"), "size=16m") else {
        return skipped("a read-only home");
    };
    let home = Home::new(mounted.0.join("home"));
    std::fs::create_dir(home.path()).expect("writable before");
    assert!(mounted.read_only(), "remounted");
    let failed = start(directory.path(), &home).expect_err("nothing can be written");
    processes::end_below(directory.path());
    names(&failed, &[&*home.path().to_string_lossy()]);
    assert!(failed.stderr.to_lowercase().contains("read-only"), "{}", failed.stderr);
    assert!(failed.code.is_some(), "it hangs: {failed:?}");
}

#[test]
fn homes_on_a_full_disk_are_said_plainly() {
    let directory = tempfile::Builder::new().prefix("home.").tempdir().expect("room below TMPDIR");
    let Some(mounted) = Mounted::tmpfs(&directory.path().join("disk"), "size=64k") else {
        return skipped("a home on a full disk");
    };
    let home = Home::new(mounted.0.join("home"));
    std::fs::create_dir(home.path()).expect("room for a directory");
    let filler = mounted.0.join("filler");
    let filled =
        Command::new("dd").args(["if=/dev/zero", "bs=1k", &format!("of={}", filler.display())]).output();
    assert!(filled.is_ok(), "dd runs");
    let failed = start(directory.path(), &home).expect_err("nothing can be written");
    processes::end_below(directory.path());
    assert!(failed.code.is_some(), "it hangs: {failed:?}");
    assert!(
        failed.stderr.to_lowercase().contains("no space") || failed.stderr.contains("STORAGE_FULL"),
        "{}",
        failed.stderr
    );
    assert!(!failed.stderr.contains("panicked"), "{}", failed.stderr);
}

/// The disk fills up under a running node: new commands are refused as `STORAGE_FULL`, nothing dies, and with room
/// again everything works.
#[test]
fn homes_whose_disk_fills_up_refuse_new_commands_and_recover() {
    let directory = tempfile::Builder::new().prefix("home.").tempdir().expect("room below TMPDIR");
    // Both slots take a copy of the binaries where the file system cannot share them.
    let Some(mounted) = Mounted::tmpfs(&directory.path().join("disk"), "size=600m") else {
        return skipped("a disk that fills up");
    };
    let home = Home::new(mounted.0.join("home"));
    std::fs::create_dir(home.path()).expect("room");
    let (mut up, ready) = start(directory.path(), &home).unwrap_or_else(|failed| panic!("{failed:?}"));
    run(async {
        let client = holdfast_tests::client::Client::start(holdfast_tests::client::Wanted {
            address: ready.address(),
            token: ready.token.clone(),
            channels: Vec::new(),
            keep_data: false,
        });
        client.ready().await;
        work::open_task(&client, "kept").await;
        let filler = mounted.0.join("filler");
        let _ =
            Command::new("dd").args(["if=/dev/zero", "bs=64k", &format!("of={}", filler.display())]).output();
        let full = async {
            for number in 0..2000 {
                let data = json!({"task": format!("more-{number}"), "skill": "command"});
                if let Err(holdfast_tests::client::RpcError::Refused(refusal)) =
                    client.rpc("task.open", data).await
                    && refusal.is("STORAGE_FULL")
                {
                    return refusal;
                }
            }
            panic!("never full");
        };
        let refusal = full.await;
        assert!(refusal.temporary, "{refusal:?}");
        std::fs::remove_file(filler).expect("it is there");
        client.command("task.open", json!({"task": "after", "skill": "command"})).await.expect("room again");
        client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
    });
    processes::end_below(directory.path());
    let _ = up.wait();
}
