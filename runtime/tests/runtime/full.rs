//! A disk without room, and a journal that takes no more for the moment.

use crate::support::{Node, local, new_id, operator, until};
use holdfast_shared::error::Code;
use holdfast_shared::slot::Slot;
use holdfast_shared::worker::EndedBy;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The journal's reserve, headroom and twice its low mark (144 MiB, from which on there is room again), and some more.
const DISK: &str = "size=192m";

/// A disk of its own, undone when it goes.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(at).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    /// Shows a directory of it at another place.
    fn bind(&self, name: &str, at: &Path) -> Self {
        let directory = self.0.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::create_dir_all(at).unwrap();
        let bound = Command::new("mount").arg("--bind").arg(&directory).arg(at).status().unwrap();
        assert!(bound.success());
        Self(at.to_owned())
    }

    /// Takes all there is; what answers gives it back.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut filler = std::fs::File::create(&path).unwrap();
        while filler.write_all(&[1; 64 * 1024]).is_ok() {}
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_refuses_commands_and_still_takes_seals_and_a_switch() {
    local(async {
        let node = Node::new();
        let Some(disk) = Mounted::tmpfs(&node.home.journal()) else {
            println!("SKIPPED: a disk that fills up: this process may not mount a tmpfs");
            return eprintln!("SKIPPED: a disk that fills up: this process may not mount a tmpfs");
        };
        let a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let worker = link.begin(&node, "demo").await;
        link.subscribe(1, "conversation:demo", "", Some(0)).await;

        let filler = disk.fill();
        let mut tasks = 0;
        let refused = until("a command is refused", async || {
            tasks += 1;
            let open = json!({"task": format!("more-{tasks}"), "skill": "command"});
            link.call("task.open", open).await.err()
        })
        .await;
        assert_eq!((refused.code, refused.retryable), (Code::StorageFull, true));
        let report = node.ask(&a).await;
        assert!(report.healthy && !report.problems.is_empty(), "it serves, and says what does not work");
        link.call("task.list", json!({})).await.expect("reads go on");
        node.exit(&worker, 0, EndedBy::Worker);
        assert_eq!(link.event(1, "turn.sealed").await["stop_reason"], "end_turn");

        let b = node.runtime(Slot::B).await;
        node.fence(&a, 1).await.unwrap();
        node.activate(&b, 2).await.unwrap();
        let mut link = b.route(2).await;
        link.subscribe(1, "conversation:demo", "", Some(0)).await;
        link.event(1, "turn.sealed").await;
        let open = json!({"task": "last", "skill": "command"});
        assert_eq!(link.call("task.open", open.clone()).await.unwrap_err().code, Code::StorageFull);

        std::fs::remove_file(filler).unwrap();
        until("room again", async || link.call("task.open", open.clone()).await.ok()).await;
        until("nothing is wrong any more", async || node.ask(&b).await.problems.is_empty().then_some(()))
            .await;
    });
}

#[test]
fn a_turn_that_fills_the_disk_is_cancelled_all_the_same() {
    local(async {
        let node = Node::new();
        // The prompt is taken; that there is room for work is another test's.
        node.set(r#"{"min_free_bytes": 0}"#);
        let Some(disk) = Mounted::tmpfs(&node.home.journal().with_file_name("disk")) else {
            return eprintln!("SKIPPED: a disk that fills up: this process may not mount a tmpfs");
        };
        let _mounted =
            [disk.bind("journal", &node.home.journal()), disk.bind("workers", &node.home.workers())];
        let a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let worker = link.begin(&node, "demo").await;
        link.subscribe(1, "conversation:demo", "", Some(0)).await;

        let filler = disk.fill();
        until("a command is refused", async || {
            let open = json!({"task": new_id(), "skill": "command"});
            link.call("task.open", open).await.err()
        })
        .await;
        link.call("task.cancel", json!({"task": "demo"})).await.expect("it is what makes room");
        until("the worker is told", async || {
            let supervised = node.supervised.borrow();
            supervised.workers[&worker].told_to_end()
        })
        .await;
        std::fs::remove_file(filler).unwrap();
        node.exit(&worker, 0, EndedBy::Cancel);
        assert_eq!(link.event(1, "turn.sealed").await["stop_reason"], "cancelled");
    });
}

#[test]
fn past_the_journals_queue_commands_are_refused_and_nothing_else_is_lost() {
    local(async {
        let node = Node::new();
        // While one record is being written no other is taken.
        node.set(r#"{"journal_queue_bytes": 1}"#);
        let a = node.active(Slot::A, 1).await;
        let mut link = a.route(1).await;
        let worker = until("a turn runs", async || {
            let open = json!({"task": "demo", "skill": "command"});
            let _again = link.call("task.open", open).await;
            let prompted = link.call("task.prompt", json!({"task": "demo", "text": "echo"})).await;
            prompted.ok()
        });
        worker.await;
        let worker = node.worker("demo", "t1").await;
        link.subscribe(1, "conversation:demo", "", Some(0)).await;

        let (mut opened, mut refused) = (Vec::new(), Vec::new());
        let mut ended = false;
        until("one is refused", async || {
            let mut calls = Vec::new();
            for _ in 0..32 {
                let (task, id) = (format!("n{}", opened.len() + refused.len() + calls.len()), new_id());
                let open = json!({"task": task, "skill": "command"});
                calls.push((link.start("task.open", open, &id, operator()).await, task, id));
            }
            if !std::mem::replace(&mut ended, true) {
                node.exit(&worker, 0, EndedBy::Worker);
            }
            for (call, task, id) in calls {
                match link.answer(call).await {
                    Ok(_) => opened.push(task),
                    Err(error) => {
                        assert_eq!((error.code, error.retryable), (Code::Busy, true));
                        refused.push((task, id));
                    }
                }
            }
            (!refused.is_empty()).then_some(())
        })
        .await;
        link.event(1, "turn.sealed").await;
        for (task, id) in refused {
            let open = json!({"task": task, "skill": "command"});
            let answer = until("it is taken", async || {
                let call = link.start("task.open", open.clone(), &id, operator()).await;
                link.answer(call).await.ok()
            });
            assert_eq!(answer.await["mode"], "created", "nothing had happened");
        }
    });
}
