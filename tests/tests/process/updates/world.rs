//! A node that is given releases: faulty ones, and while a turn runs that none of them may harm.

use holdfast_shared::slot::Slot;
use holdfast_tests::client::{Client, Since, text_of};
use holdfast_tests::node::{Node, Options, copy_without_symbols, told};
use holdfast_tests::work::{self, PacedTurn, SEALED_DEADLINE, conversation};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::rc::Rc;

/// No waiting for people.
const AT_ONCE: &str = "countdown_ms = 0\nminimum_update_period_ms = 0\nautomatic_defer_ms = 500\n";

/// A node that trusts a key, with a turn that runs and a client that watches it; whatever happens to releases must
/// leave both alone.
pub struct World {
    pub node: Rc<Node>,
    key: PathBuf,
    client: Client,
    paced: PacedTurn,
    turn: String,
    /// The slot that served at first, and its process.
    pub serves: (Slot, i32),
}

impl World {
    pub async fn new(settings: &str) -> Self {
        Self::with(format!("[supervisor]\n{AT_ONCE}{settings}")).await
    }

    /// With these settings alone.
    pub async fn with(config: String) -> Self {
        let node = Rc::new(Node::up_with(&Options { config }));
        let out = node.scratch().join("keys");
        std::fs::create_dir(&out).expect("a new directory");
        let out_text = out.display().to_string();
        let made = node.holdfast(&["release", "keygen", "--trust", "--out", &out_text]);
        assert!(made.status.success(), "{}", told(&made));
        let opener = work::client(&node, &[]);
        opener.ready().await;
        work::open_task(&opener, "t").await;
        let client = work::recorder(&node, &[(&conversation("t"), Since::Start)]);
        client.ready().await;
        let paced = PacedTurn::every(node.scratch(), "0.05");
        let turn = work::prompt(&client, "t", &paced.command_line(), false).await.expect("an idle task");
        let serves = node.active().await;
        Self { node, key: out.join("holdfast-release.key"), client, paced, turn, serves }
    }

    /// This build's runtime as a release of this version.
    pub fn pack(&self, version: &str) -> String {
        let bin = self.bin(version);
        copy_without_symbols("holdfast-runtime", &bin.join("holdfast-runtime"));
        self.pack_from(version, bin.parent())
    }

    fn bin(&self, version: &str) -> PathBuf {
        let bin = self.node.scratch().join(version).join("bin");
        std::fs::create_dir_all(&bin).expect("a new directory");
        bin
    }

    /// What `from` holds as a release of this version; all that is built where nothing is named.
    pub fn pack_from(&self, version: &str, from: Option<&Path>) -> String {
        let bundle = self.node.scratch().join(format!("{version}.tar.zst")).display().to_string();
        let key = self.key.display().to_string();
        let mut arguments = vec!["release", "pack", "--key", &key, "--version", version, "--out", &bundle];
        let from = from.map(|from| from.display().to_string());
        if let Some(from) = &from {
            arguments.extend(["--from", from]);
        }
        let packed = self.node.holdfast(&arguments);
        assert!(packed.status.success(), "{}", told(&packed));
        bundle
    }

    /// A release whose runtime does this first. `$home` and `$slot` are its own; `abilities` is what it prints as its
    /// abilities, from those of the real one on stdin.
    pub fn faulty(&self, version: &str, fault: &str, abilities: &str) -> String {
        let bin = self.bin(version);
        copy_without_symbols("holdfast-runtime", &bin.join("real-runtime"));
        let wrapper = bin.join("holdfast-runtime");
        let script = format!(
            "#!/bin/sh\nreal=\"$(dirname \"$0\")/real-runtime\"\n\
             case \"$1\" in --abilities) \"$real\" --abilities | {abilities}; exit;; \
             --self-check) exec \"$real\" \"$@\";; esac\n\
             home=$2; slot=$4\n{fault}\nexec \"$real\" \"$@\"\n"
        );
        std::fs::write(&wrapper, script).expect("a new file");
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).expect("an own file");
        self.pack_from(version, bin.parent())
    }

    /// A release that starts as long as [`World::break_releases`] was not called.
    pub fn breakable(&self, version: &str) -> String {
        self.faulty(version, "[ ! -e \"$home/../broken\" ] || { echo 'no such luck' >&2; exit 1; }", "cat")
    }

    /// From now on no breakable release starts; `false`: they do again.
    pub fn break_releases(&self, broken: bool) {
        let path = self.node.scratch().join("broken");
        match broken {
            true => std::fs::write(path, "").expect("a new file"),
            false => std::fs::remove_file(path).expect("it was there"),
        }
    }

    pub async fn update(&self, bundle: &str) -> Output {
        self.node.holdfast_async(&["update", bundle]).await
    }

    /// A task is opened, and answered.
    pub async fn write(&self, task: &str) {
        work::open_task(&self.client, task).await;
    }

    /// The serving runtime knows the task.
    pub async fn knows(&self, task: &str) -> bool {
        let tasks = self.client.rpc("task.list", json!({})).await.expect("a list");
        tasks["tasks"].as_array().is_some_and(|tasks| tasks.iter().any(|one| one["task"] == task))
    }

    pub fn newest(&self) -> Value {
        self.node.json(&["attempts", "--json"])["attempts"][0].clone()
    }

    /// The update is refused with this reason at this stage; what served goes on serving.
    pub async fn fails(&self, bundle: &str, stage: &str, reason: &str) {
        let updated = self.update(bundle).await;
        assert_eq!(updated.status.code(), Some(5), "{}", told(&updated));
        let attempt = self.newest();
        assert_eq!(
            (&attempt["state"], &attempt["failed_stage"]),
            (&json!("failed"), &json!(stage)),
            "{attempt}"
        );
        assert_eq!(attempt["failure_reason"], reason, "{attempt}");
        assert_eq!(self.node.active().await, self.serves);
    }

    /// The turn has run on, and its watcher saw each line once, over one connection.
    pub async fn unharmed(self) {
        self.paced.end();
        let (channel, turn) = (conversation("t"), &self.turn);
        let sealed =
            |seen: &holdfast_tests::client::Observed| work::sealed(&seen.channel(&channel).events, turn);
        self.client.wait("the turn's end", SEALED_DEADLINE, sealed).await;
        self.client.observed(|seen| {
            work::check_paced(&text_of(&seen.channel(&channel).events, turn)).expect("every line once");
            assert_eq!(seen.disconnects, Vec::<String>::new());
            assert_eq!(seen.complaints(), Vec::<String>::new());
        });
    }
}
