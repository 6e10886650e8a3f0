//! The agents of the tests: the built-in demo, and those that `tests/agents/install` has installed.

mod stage;

pub use stage::{Stage, TASK};

use crate::client::{Client, Observed};
use crate::node::Node;
use crate::processes;
use crate::work::{SEALED_DEADLINE, conversation};
use serde_json::{Value, json};
use std::path::PathBuf;

/// An agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// Built in.
    Demo,
    /// On the npm SDK.
    Npm,
    /// On the PyPI SDK.
    Pypi,
    /// codex-acp against a stand-in for its model.
    Codex,
}

/// What an agent is asked to do, said in the way of each.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Numbers up to one, each so many milliseconds after the other.
    Count(u64, u64),
    /// Ask for permission.
    Ask,
    /// Keep a word.
    Remember(&'static str),
    /// Say the word that was kept.
    Recall,
}

impl Agent {
    /// Name of its skill.
    pub fn skill(self) -> &'static str {
        match self {
            Agent::Demo => "demo",
            Agent::Npm => "npm-sdk",
            Agent::Pypi => "pypi-sdk",
            Agent::Codex => "codex",
        }
    }

    /// A prompt of these steps.
    pub fn prompt(self, steps: &[Step]) -> String {
        let line = |step: &Step| match (self, step) {
            (Agent::Demo, Step::Count(to, pause)) => format!("count {to} {pause}"),
            (_, Step::Count(to, pause)) => format!("ticks {to} {pause}"),
            (Agent::Demo, Step::Ask) => "permit asked".into(),
            (_, Step::Ask) => "ask echo asked".into(),
            (_, Step::Remember(word)) => format!("remember {word}"),
            (Agent::Demo, Step::Recall) => "secret".into(),
            (_, Step::Recall) => "recall".into(),
        };
        steps.iter().map(line).collect::<Vec<String>>().join("\n")
    }

    /// Lets a node know it, where it is not built in.
    ///
    /// # Panics
    /// When it was not installed for the tests, or the node refuses it.
    pub fn install(self, node: &Node) {
        if self == Agent::Demo {
            return;
        }
        let directory = installed().join(self.skill());
        assert!(directory.is_dir(), "{} is not there: run tests/agents/install", directory.display());
        let directory = directory.to_string_lossy().into_owned();
        let output = node.holdfast(&["skill", "install", &directory]);
        assert!(output.status.success(), "{}", crate::node::told(&output));
    }

    /// The option that allows, as this agent names it.
    pub fn allows(self, permission: &Value) -> String {
        let options = permission["options"].as_array().expect("options");
        let allows =
            options.iter().find(|option| option["kind"] == "allow_once").expect("an option that allows");
        allows["optionId"].as_str().expect("a text").to_owned()
    }
}

/// Where `tests/agents/install` lays out skills.
pub fn installed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/agents/skills")
}

/// Opens a task of an agent.
///
/// # Panics
/// When it is refused.
pub async fn open(client: &Client, task: &str, skill: &str) -> Value {
    let opened = client.command("task.open", json!({"task": task, "skill": skill})).await;
    opened.unwrap_or_else(|refusal| panic!("task.open {task}: {refusal:?}"))
}

/// Switches a client's focus to another task, and waits until that is ready; the client keeps the events of the task's
/// own channel.
///
/// # Panics
/// When it is refused, or the task does not get ready.
pub async fn switch(client: &Client, task: &str) {
    let channel = format!("task:{task}");
    let readied = |seen: &Observed| {
        seen.channel(&channel).events.iter().filter(|event| event["type"] == "task.ready").count()
    };
    let before = client.observed(readied);
    client.command("task.switch", json!({"task": task})).await.expect("an open task");
    client.wait("the task is ready", SEALED_DEADLINE, |seen| readied(seen) > before).await;
}

/// What the agent said in a turn, put together.
pub fn said(events: &[Value], turn: &str) -> String {
    updates(events, turn)
        .filter(|update| update["sessionUpdate"] == "agent_message_chunk")
        .filter_map(|update| update["content"]["text"].as_str())
        .collect()
}

/// The updates of a turn.
pub fn updates<'a>(events: &'a [Value], turn: &'a str) -> impl Iterator<Item = &'a Value> {
    events
        .iter()
        .filter(move |event| event["type"] == "turn.update" && event["turn"] == turn)
        .map(|event| &event["update"])
}

/// The events of one kind in a turn.
pub fn of_kind<'a>(events: &'a [Value], turn: &str, kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind && event["turn"] == turn).collect()
}

/// Waits for an event of this kind in a turn, as a recorder sees it.
///
/// # Panics
/// When it does not come.
pub async fn wait_for(client: &Client, task: &str, turn: &str, kind: &str) -> Value {
    wait_for_nth(client, task, turn, kind, 1).await
}

/// The same for one that comes behind others of its kind, counted from 1.
///
/// # Panics
/// When it does not come.
pub async fn wait_for_nth(client: &Client, task: &str, turn: &str, kind: &str, nth: usize) -> Value {
    let channel = conversation(task);
    let found = |seen: &Observed| {
        of_kind(&seen.channel(&channel).events, turn, kind).get(nth - 1).map(|event| (*event).clone())
    };
    client.wait(kind, SEALED_DEADLINE, |seen| found(seen).is_some()).await;
    client.observed(found).expect("waited for")
}

/// Waits until the agent has said so much in a turn.
///
/// # Panics
/// When it does not.
pub async fn wait_said(client: &Client, task: &str, turn: &str, text: &str) {
    let channel = conversation(task);
    client
        .wait(text, SEALED_DEADLINE, |seen| said(&seen.channel(&channel).events, turn).contains(text))
        .await;
}

/// How often the agent counted up to a number in a turn.
///
/// # Panics
/// When a number is missing, doubled or out of order.
pub fn counts(events: &[Value], turn: &str, to: u64) -> usize {
    let chunks = updates(events, turn).filter(|update| update["sessionUpdate"] == "agent_message_chunk");
    let lines = chunks.flat_map(|update| update["content"]["text"].as_str().unwrap_or_default().lines());
    let numbers = lines.filter_map(|line| line.trim_start_matches("tick ").trim().parse::<u64>().ok());
    let (mut next, mut rounds) = (1, 0);
    for number in numbers {
        assert_eq!(number, next, "each number once and in order");
        next = if number == to { 1 } else { number + 1 };
        rounds += usize::from(number == to);
    }
    assert_eq!(next, 1, "it counted to the end");
    rounds
}

/// Pids of the processes that work in a task's workspace.
pub fn workers(node: &Node, task: &str) -> Vec<i32> {
    let workspace = node.home().workspaces().join(task);
    let works_there =
        |pid: &i32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == workspace);
    processes::below(node.home().path()).into_iter().filter(works_there).collect()
}
