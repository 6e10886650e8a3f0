//! A node with one task of an agent, who prompts it, and who looks at it.

use super::{Agent, open, said, wait_for};
use crate::client::{Client, Refusal, Since};
use crate::node::{Node, Options};
use crate::work::{self, conversation};
use serde_json::{Value, json};

/// The task.
pub const TASK: &str = "t";

/// See the module.
pub struct Stage {
    /// The node.
    pub node: Node,
    /// Sends commands.
    pub operator: Client,
    /// Keeps every event of the task and its conversation, from the first on.
    pub watcher: Client,
}

impl Stage {
    /// With default settings.
    ///
    /// # Panics
    /// When the node does not start, or refuses the agent.
    pub async fn of(agent: Agent) -> Stage {
        Self::of_skill("", agent.skill(), |node| agent.install(node)).await
    }

    /// With these settings, of a skill that is installed by `prepare`.
    ///
    /// # Panics
    /// When the node does not start, or refuses the skill.
    pub async fn of_skill(config: &str, skill: &str, prepare: impl FnOnce(&Node)) -> Stage {
        let node = Node::up_with(&Options { config: config.into() });
        prepare(&node);
        let operator = work::client(&node, &[]);
        operator.ready().await;
        let opened = open(&operator, TASK, skill).await;
        assert_eq!(opened["mode"], json!("created"), "{opened}");
        let watcher = Self::another_watcher(&node).await;
        Stage { node, operator, watcher }
    }

    async fn another_watcher(node: &Node) -> Client {
        let channels = [(&*conversation(TASK), Since::Start), (&*format!("task:{TASK}"), Since::Start)];
        let watcher = work::recorder(node, &channels);
        watcher.ready().await;
        watcher
    }

    /// One more that sees what the watcher sees.
    pub async fn joiner(&self) -> Client {
        Self::another_watcher(&self.node).await
    }

    /// Starts everything again and has new clients, after it was stopped or killed.
    ///
    /// # Panics
    /// When the node does not start.
    pub async fn up_again(&mut self) {
        self.node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
        self.operator = work::client(&self.node, &[]);
        self.operator.ready().await;
        self.watcher = Self::another_watcher(&self.node).await;
    }

    /// Sends a command about the task.
    ///
    /// # Errors
    /// The refusal.
    pub async fn command(&self, method: &str, mut data: Value) -> Result<Value, Refusal> {
        data["task"] = json!(TASK);
        self.operator.command(method, data).await
    }

    /// Prompts the idle task; the turn's id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn prompt(&self, text: &str) -> String {
        work::prompt(&self.operator, TASK, text, false).await.expect("an idle task")
    }

    /// Waits for an event of a turn.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn wait(&self, turn: &str, kind: &str) -> Value {
        wait_for(&self.watcher, TASK, turn, kind).await
    }

    /// Waits for a turn's seal.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn sealed(&self, turn: &str) -> Value {
        self.wait(turn, "turn.sealed").await
    }

    /// Prompts and waits for the end; what the agent said.
    ///
    /// # Panics
    /// When the prompt is refused or the turn not sealed.
    pub async fn answered(&self, text: &str) -> String {
        let turn = self.prompt(text).await;
        self.sealed(&turn).await;
        self.said(&turn)
    }

    /// What the agent said in a turn.
    pub fn said(&self, turn: &str) -> String {
        said(&self.events(), turn)
    }

    /// The conversation's events so far.
    pub fn events(&self) -> Vec<Value> {
        self.watcher.observed(|seen| seen.channel(&conversation(TASK)).events.clone())
    }
}
