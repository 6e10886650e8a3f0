//! An agent and its holder, played by the test.

use crate::support::{Node, until};
use holdfast_shared::inbox::{InboxReader, Kind, highest_epoch};
use holdfast_shared::spool::{Control, Flushed, RECORD_BYTES_MAX, Stream};
use holdfast_shared::supervisor_control::SpawnWorker;
use holdfast_shared::worker::EndedBy;
use serde_json::{Value, json};

/// What the holder takes from the inbox.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// A turn begins.
    Mark(String),
    /// A line for the agent.
    Line(Value),
    /// The agent is to end.
    End,
}

/// See the module.
pub struct Agent<'a> {
    node: &'a Node,
    pub worker: String,
    inbox: Option<InboxReader>,
    taken: u64,
}

impl<'a> Agent<'a> {
    /// The standing worker of a task that was asked for, other than those of before.
    pub async fn stands(node: &'a Node, task: &str, before: &[&str]) -> Self {
        let worker = until("an agent", async || {
            let supervised = node.supervised.borrow();
            let mut workers = supervised.workers.values().map(|worker| &worker.order);
            let is_it = |id: &str| !before.contains(&id);
            let is_standing = |order: &SpawnWorker| order.turn.is_empty() && order.terminal.is_none();
            workers
                .find(|order| order.task == task && is_standing(order) && is_it(&order.spawn_id))
                .map(|order| order.spawn_id.clone())
        })
        .await;
        Self { node, worker, inbox: None, taken: 0 }
    }

    /// One that has its session.
    pub async fn ready(node: &'a Node, task: &str, before: &[&str]) -> Self {
        let mut agent = Self::stands(node, task, before).await;
        agent.greets(json!({"loadSession": true})).await;
        let asked = agent.line().await;
        match asked["method"].as_str().unwrap() {
            "session/new" => agent.answers(&asked["id"], json!({"sessionId": "s1", "modes": modes()})),
            "session/load" => agent.answers(&asked["id"], json!({"modes": modes()})),
            other => panic!("{other}"),
        }
        agent
    }

    pub async fn greets(&mut self, capabilities: Value) {
        let asked = self.line().await;
        assert_eq!((&asked["method"], &asked["id"]), (&json!("initialize"), &json!(1)));
        self.answers(&asked["id"], json!({"protocolVersion": 1, "agentCapabilities": capabilities}));
    }

    /// Takes the next message, as a holder does.
    pub async fn hears(&mut self) -> Heard {
        until("a message to the agent", async || self.take()).await
    }

    pub fn take(&mut self) -> Option<Heard> {
        let mut supervised = self.node.supervised.borrow_mut();
        let played = supervised.workers.get_mut(&self.worker)?;
        let highest = highest_epoch(&played.directory).unwrap()?;
        if self.inbox.as_ref().is_none_or(|inbox| inbox.epoch() < highest) {
            self.inbox = Some(InboxReader::open(&played.directory, highest).unwrap());
        }
        let inbox = self.inbox.as_mut()?;
        loop {
            let message = inbox.peek().unwrap()?;
            let mut bytes = vec![0; message.length];
            inbox.payload(&message).read(0, &mut bytes).unwrap();
            inbox.advance(&message);
            if message.number <= self.taken {
                continue;
            }
            self.taken = message.number;
            let heard = match message.kind.unwrap() {
                Kind::TurnMark => Heard::Mark(String::from_utf8(bytes).unwrap()),
                Kind::Input => Heard::Line(serde_json::from_slice(&bytes).unwrap()),
                Kind::Cancel | Kind::Kill | Kind::CloseStdin => Heard::End,
            };
            match &heard {
                Heard::Mark(turn) => {
                    assert_eq!(played.writer.next_segment(turn, message.number).unwrap(), Flushed::Done);
                }
                _ => played.writer.control(&Control::Consumed { number: message.number }),
            }
            assert_eq!(played.writer.flush().unwrap(), Flushed::Done);
            return Some(heard);
        }
    }

    /// Messages that it has not taken yet.
    pub fn waiting(&self) -> usize {
        let directory = self.node.home.worker(&self.worker);
        let Some(epoch) = highest_epoch(&directory).unwrap() else { return 0 };
        let mut inbox = InboxReader::open(&directory, epoch).unwrap();
        let mut waiting = 0;
        while let Some(message) = inbox.peek().unwrap() {
            waiting += usize::from(message.number > self.taken);
            inbox.advance(&message);
        }
        waiting
    }

    /// The next message is a line for the agent: this one.
    pub async fn line(&mut self) -> Value {
        match self.hears().await {
            Heard::Line(line) => line,
            other => panic!("{other:?}"),
        }
    }

    /// The next two messages bring this turn; answers the prompt's id.
    pub async fn prompted(&mut self, turn: &str, text: &str) -> Value {
        assert_eq!(self.hears().await, Heard::Mark(turn.to_owned()));
        let prompt = self.line().await;
        assert_eq!(prompt["method"], "session/prompt");
        assert_eq!(prompt["params"]["prompt"][0]["text"], text);
        prompt["id"].clone()
    }

    /// Writes a record of standard output.
    pub fn writes(&self, more: bool, bytes: &[u8]) {
        let mut supervised = self.node.supervised.borrow_mut();
        let played = supervised.workers.get_mut(&self.worker).unwrap();
        played.writer.output(Stream::Stdout, more, bytes);
        assert_eq!(played.writer.flush().unwrap(), Flushed::Done);
    }

    /// Says what is longer than a record.
    pub fn says_long(&self, message: &Value) {
        let line = format!("{message}\n");
        let parts: Vec<&[u8]> = line.as_bytes().chunks(RECORD_BYTES_MAX).collect();
        let (last, front) = parts.split_last().unwrap();
        front.iter().for_each(|part| self.writes(true, part));
        self.writes(false, last);
    }

    pub fn answers_long(&self, id: &Value, result: Value) {
        self.says_long(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    pub fn asks_long(&self, id: Value, method: &str, params: Value) {
        self.says_long(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }

    /// Writes several records at once.
    pub fn flushes(&self, lines: &[&str]) {
        let mut supervised = self.node.supervised.borrow_mut();
        let played = supervised.workers.get_mut(&self.worker).unwrap();
        for line in lines {
            played.writer.output(Stream::Stdout, false, line.as_bytes());
        }
        assert_eq!(played.writer.flush().unwrap(), Flushed::Done);
    }

    pub fn says(&self, message: &Value) {
        self.writes(false, format!("{message}\n").as_bytes());
    }

    pub fn answers(&self, id: &Value, result: Value) {
        self.says(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    pub fn asks(&self, id: Value, method: &str, params: Value) {
        self.says(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }

    /// Has a command run; answers its terminal.
    pub async fn runs(&mut self, id: Value) -> String {
        self.asks(id, "terminal/create", json!({"sessionId": "s1", "command": "sleep"}));
        self.line().await["result"]["terminalId"].as_str().unwrap().to_owned()
    }

    pub fn updates(&self, text: &str) {
        self.says(&update(text));
    }

    pub fn asks_permission(&self, id: Value) {
        let option = |id: &str, kind: &str| json!({"optionId": id, "name": id, "kind": kind});
        let options = [option("yes", "allow_once"), option("no", "reject_once")];
        let params = json!({"sessionId": "s1", "toolCall": {"toolCallId": "c1"}, "options": options});
        self.asks(id, "session/request_permission", params);
    }

    pub fn ends_turn(&self, prompt: &Value, stop_reason: &str) {
        self.answers(prompt, json!({"stopReason": stop_reason}));
    }

    pub fn dies(&self) {
        self.node.exit(&self.worker, 1, EndedBy::Worker);
    }
}

pub fn modes() -> Value {
    let mode = |id: &str| json!({"id": id, "name": id});
    json!({"currentModeId": "ask", "availableModes": [mode("ask"), mode("code")]})
}

pub fn update(text: &str) -> Value {
    let content = json!({"type": "text", "text": text});
    let update = json!({"sessionUpdate": "agent_message_chunk", "content": content});
    json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s1", "update": update}})
}
