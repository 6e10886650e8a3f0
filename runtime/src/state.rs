//! The runtime's state: a fold of the journal. Live path, followers and checkpoints run the same [`State::take`].
//!
//! A fold never fails and never decides: what a record says happened. Whatever could have been refused was refused
//! in `commands` before the record was written.

mod agents;
mod turns;

use crate::agent::Agent;
use crate::channels::{Channel, Log};
use crate::command_id::CommandIds;
use crate::conversation::Conversation;
use crate::record::{self, Body, KINDS, OpenMode, Record};
use crate::task::{Running, Standing, Task};
use holdfast_shared::journal::{Fold, LoadError, Record as JournalRecord};
use holdfast_shared::worker::Protocol;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Everything that is alive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Tasks by id, stopped ones included.
    pub tasks: BTreeMap<String, Task>,
    /// Answers to commands.
    pub commands: CommandIds,
    /// Channel `tasks`.
    pub tasks_log: Log,
    /// Channel `members`.
    pub members_log: Log,
    /// Epoch of `tasks`, `task:<id>` and `members`; empty before the first activation.
    pub channel_epoch: String,
    /// The boot of the machine in which the last active ran.
    pub boot_id: String,
    /// The first record of a kind of ours that could not be read: this state is not what the journal says, and
    /// must not become active.
    pub unreadable: Option<String>,
}

/// An event that a record placed in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The channel.
    pub channel: Channel,
    /// Its offset.
    pub offset: u64,
}

impl State {
    /// Takes the record `lsn`; answers the events it placed.
    pub fn take(&mut self, lsn: u64, record: &Record) -> Vec<Placed> {
        if let Some(answered) = &record.command {
            self.commands.keep(answered, lsn, record.at);
        }
        let mut placed = Vec::new();
        self.change(record, &mut placed);
        if let Some((task, kind, fields)) = self.task_event(&record.body) {
            self.tell(task, kind, record, fields, &mut placed);
        }
        placed
    }

    /// The task with this id.
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.get(id)
    }

    /// Tasks in which a turn runs, with it.
    pub fn running(&self) -> impl Iterator<Item = (&Task, &Running)> {
        self.tasks.values().filter_map(|task| task.running.as_ref().map(|running| (task, running)))
    }

    /// Tasks for which a worker is alive or ordered, with it.
    pub fn workers(&self) -> impl Iterator<Item = (&Task, &str)> {
        self.tasks.values().filter_map(|task| task.worker().map(|worker| (task, worker)))
    }

    /// All workers whose spools are of use, with their tasks and what they speak: those of [`workers`](Self::workers), and
    /// the commands of agents.
    pub fn followed(&self) -> impl Iterator<Item = (&Task, &str, Protocol)> {
        let commands = self.tasks.values().flat_map(|task| {
            let terminals = task.agent.iter().flat_map(|agent| &agent.terminals);
            terminals.map(move |terminal| (task, terminal.spawn_id.as_str(), Protocol::Command))
        });
        self.workers().map(|(task, worker)| (task, worker, task.protocol)).chain(commands)
    }

    /// Tasks with something left to do: a worker to be looked after, a turn that runs or waits, or an ended one without
    /// its file.
    pub fn unfinished(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| {
            let agent = task.agent.as_ref();
            task.running.is_some()
                || !task.queue.is_empty()
                || !task.conversation.unfiled.is_empty()
                || agent.is_some_and(Agent::is_unfinished)
        })
    }

    fn change(&mut self, record: &Record, placed: &mut Vec<Placed>) {
        let at = record.at;
        match &record.body {
            Body::NodeBooted(booted) => self.booted(booted),
            Body::TaskOpened(opened) => self.opened(opened, at),
            Body::CommandAnswered(_) => {}
            Body::TaskReady(ready) => self.agent(&ready.task, |agent| {
                agent.switching = None;
                agent.worker.iter_mut().for_each(|worker| worker.used_at = at);
            }),
            Body::SpanFiled(filed) => {
                if let Some(task) = self.tasks.get_mut(&filed.task) {
                    task.conversation.filed(filed.first);
                }
            }
            Body::SpoolSynced(synced) => self.synced(synced),
            Body::TurnStarted(started) => {
                self.with(&started.task, |task| turns::start(task, started, at), placed)
            }
            Body::TurnQueued(queued) => {
                self.with(&queued.task, |task| turns::queue(task, queued, at), placed)
            }
            Body::TurnDequeued(taken) => {
                self.with(&taken.task, |task| turns::dequeue(task, taken, at), placed)
            }
            Body::TurnCancelled(cancelled) => {
                self.with(&cancelled.task, |task| turns::cancel(task, cancelled.number, at), placed)
            }
            Body::TaskStopped(stopped) => {
                self.with(&stopped.task, |task| turns::stop(task, stopped, at), placed)
            }
            Body::OrderRetried(retried) => {
                self.with(&retried.task, |task| turns::retry(task, retried, at), placed)
            }
            Body::TurnSealed(sealed) => self.with(&sealed.task, |task| turns::seal(task, sealed, at), placed),
            body => self.with_agent(body, at, placed),
        }
    }

    /// Runs a change of one task; it answers the offsets it placed in the conversation.
    fn with(&mut self, id: &str, change: impl FnOnce(&mut Task) -> Vec<u64>, placed: &mut Vec<Placed>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let offsets = change(task).into_iter();
        placed.extend(offsets.map(|offset| Placed { channel: Channel::Conversation(id.to_owned()), offset }));
    }

    /// One record is one event of `task:<id>` and, but for `task.ready`, of `tasks`.
    fn tell(&mut self, id: &str, kind: &str, record: &Record, fields: Value, placed: &mut Vec<Placed>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.updated_at = record.at;
        let mut event = json!({
            "type": kind, "task": id, "state": task.state().name(), "queued": task.queue.len(),
            "permissions": task.permissions(), "at": record.at,
        });
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        let offset = task.log.push(event.clone());
        placed.push(Placed { channel: Channel::Task(id.to_owned()), offset });
        // That somebody looks at a task changes nothing that a list of tasks shows, and each page does it as it opens.
        if !matches!(record.body, Body::TaskReady(_)) {
            placed.push(Placed { channel: Channel::Tasks, offset: self.tasks_log.push(event) });
        }
    }

    fn booted(&mut self, booted: &record::NodeBooted) {
        self.boot_id = booted.boot_id.clone();
        if self.channel_epoch.is_empty() {
            self.channel_epoch = booted.channel_epoch.clone();
        }
        for cut in &booted.cut {
            if let Some(task) = self.tasks.get_mut(&cut.task) {
                task.conversation.cut(&cut.epoch, cut.outputs);
            }
        }
    }

    fn opened(&mut self, opened: &record::TaskOpened, at: u64) {
        let task = self.tasks.entry(opened.task.clone()).or_insert_with(|| Task {
            id: opened.task.clone(),
            skill: opened.skill.clone(),
            protocol: opened.protocol,
            agent: None,
            workspace: None,
            standing: Standing::Open,
            turns: 0,
            running: None,
            queue: VecDeque::new(),
            conversation: Conversation::new(&opened.conversation_epoch),
            log: Log::default(),
            created_at: at,
            updated_at: at,
        });
        task.skill = opened.skill.clone();
        task.standing = Standing::Open;
        if opened.protocol == Protocol::Acp {
            let agent = task.agent.get_or_insert_default();
            (agent.wanted, agent.failed) = (true, None);
        }
    }

    fn synced(&mut self, synced: &record::SpoolSynced) {
        let Some(task) = self.tasks.get_mut(&synced.task) else { return };
        let running = task.running.as_mut();
        if let Some(running) = running.filter(|running| running.order.spawn_id == synced.spawn_id) {
            running.order.synced_outputs = synced.outputs;
        }
        if let Some(worker) = task.agent.as_mut().and_then(|agent| agent.worker_mut(&synced.spawn_id)) {
            worker.synced_outputs = synced.outputs;
        }
    }

    /// The task whose channels tell of a record, the event's type, and what it says beside the usual.
    fn task_event<'a>(&self, body: &'a Body) -> Option<(&'a str, &'a str, Value)> {
        let (task, fields) = match body {
            Body::TaskOpened(opened) => (
                &opened.task,
                json!({"skill": opened.skill, "mode": opened.mode, "protocol": opened.protocol}),
            ),
            Body::TaskReady(ready) => return Some((&ready.task, TASK_READY, self.ready_fields(&ready.task))),
            Body::SessionReady(ready) => {
                return Some((&ready.task, TASK_READY, self.ready_fields(&ready.task)));
            }
            Body::WorkerEnded(record::WorkerEnded { task, error: Some(error), .. })
            | Body::TaskError(record::TaskError { task, error }) => {
                return Some((task, TASK_ERROR, json!({"code": error.code, "message": error.message})));
            }
            Body::PermissionsPending(counted) => {
                return Some((&counted.task, TASK_PERMISSIONS, json!({})));
            }
            Body::TaskStopped(stopped) => (&stopped.task, json!({})),
            Body::TurnStarted(started) => (&started.task, json!({"turn": started.turn})),
            Body::TurnQueued(queued) => (&queued.task, json!({"turn": queued.turn})),
            Body::TurnDequeued(dequeued) => (&dequeued.task, json!({"turn": dequeued.turn})),
            Body::TurnCancelled(cancelled) => (&cancelled.task, json!({"turn": cancelled.turn})),
            Body::TurnSealed(sealed) => (&sealed.task, sealed_fields(sealed)),
            _ => return None,
        };
        Some((task, body.kind(), fields))
    }
}

const TASK_READY: &str = "task.ready";
const TASK_ERROR: &str = "task.error";
/// Others or none of its agent's requests wait for people now.
const TASK_PERMISSIONS: &str = "task.permissions";

fn sealed_fields(sealed: &record::TurnSealed) -> Value {
    let mut fields = json!({"turn": sealed.turn, "stop_reason": sealed.stop_reason});
    if let Some(code) = sealed.exit_code {
        fields["exit_code"] = json!(code);
    }
    if let Some(error) = &sealed.errored {
        fields["error"] = json!(error);
    }
    if let Some(code) = &sealed.code {
        fields["code"] = json!(code);
    }
    if let Some(detail) = sealed.agent.as_ref().and_then(|agent| agent.detail.as_ref()) {
        fields["detail"] = json!(detail);
    }
    fields
}

/// How a task came to be opened from the state it is in.
pub fn open_mode(task: Option<&Task>) -> OpenMode {
    match task.map(|task| &task.standing) {
        None => OpenMode::Created,
        Some(Standing::Errored(_)) => OpenMode::Recovered,
        Some(Standing::Open | Standing::Stopping | Standing::Stopped) => OpenMode::Resumed,
    }
}

impl Fold for State {
    const VERSION: u32 = 1;

    fn empty() -> Self {
        Self::default()
    }

    fn apply(&mut self, record: &JournalRecord) {
        match Record::of(record) {
            Ok(Some(typed)) => drop(self.take(record.lsn, &typed)),
            Ok(None) => {}
            Err(error) => {
                self.unreadable.get_or_insert_with(|| format!("record {}: {error}", record.lsn));
            }
        }
    }

    fn save(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("the state has string keys and cannot fail to serialize")
    }

    fn load(version: u32, bytes: &[u8]) -> Result<Self, LoadError> {
        if version > Self::VERSION {
            return Err(LoadError::Version { found: version, newest: Self::VERSION });
        }
        serde_json::from_slice(bytes)
            .map_err(|error| LoadError::Malformed { version, reason: error.to_string() })
    }

    fn kinds() -> &'static [&'static str] {
        KINDS
    }
}

#[cfg(test)]
mod tests;
