//! The runtime's state: a fold of the journal. Live path, followers and checkpoints run the same [`State::take`].
//!
//! A fold never fails and never decides: what a record says happened. Whatever could have been refused was refused
//! in `commands` before the record was written.

use crate::channels::{Channel, Log};
use crate::command_id::CommandIds;
use crate::conversation::Conversation;
use crate::event;
use crate::order::{END_MESSAGE, WorkOrder};
use crate::record::{self, Body, KINDS, OpenMode, Record};
use crate::span::Seal;
use crate::task::{Queued, Running, Standing, Task};
use crate::turn::TurnState;
use holdfast_shared::journal::{Fold, LoadError, Record as JournalRecord};
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
        if let Some((task, fields)) = task_event(&record.body) {
            self.tell(task, record, fields, &mut placed);
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

    /// Tasks with something left to do: a turn that runs or waits, or an ended one without its file.
    pub fn unfinished(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| {
            task.running.is_some() || !task.queue.is_empty() || !task.conversation.unfiled.is_empty()
        })
    }

    fn change(&mut self, record: &Record, placed: &mut Vec<Placed>) {
        let at = record.at;
        match &record.body {
            Body::NodeBooted(booted) => self.booted(booted),
            Body::TaskOpened(opened) => self.opened(opened, at),
            Body::TaskReady(_) | Body::CommandAnswered(_) => {}
            Body::SpanFiled(filed) => {
                if let Some(task) = self.tasks.get_mut(&filed.task) {
                    task.conversation.filed(filed.first);
                }
            }
            Body::SpoolSynced(synced) => self.synced(synced),
            Body::TurnStarted(started) => self.with(&started.task, |task| start(task, started, at), placed),
            Body::TurnQueued(queued) => self.with(&queued.task, |task| queue(task, queued, at), placed),
            Body::TurnDequeued(taken) => self.with(&taken.task, |task| dequeue(task, taken, at), placed),
            Body::TurnCancelled(cancelled) => self.with(&cancelled.task, cancel, placed),
            Body::TaskStopped(stopped) => {
                self.with(&stopped.task, |task| stop(task, stopped.after, at), placed)
            }
            Body::OrderRetried(retried) => self.with(&retried.task, |task| retry(task, retried), placed),
            Body::TurnSealed(sealed) => self.with(&sealed.task, |task| seal(task, sealed, at), placed),
        }
    }

    /// Runs a change of one task; it answers the offsets it placed in the conversation.
    fn with(&mut self, id: &str, change: impl FnOnce(&mut Task) -> Vec<u64>, placed: &mut Vec<Placed>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let offsets = change(task).into_iter();
        placed.extend(offsets.map(|offset| Placed { channel: Channel::Conversation(id.to_owned()), offset }));
    }

    /// One record is one event of `task:<id>` and, but for `task.ready`, of `tasks`.
    fn tell(&mut self, id: &str, record: &Record, fields: Value, placed: &mut Vec<Placed>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.updated_at = record.at;
        let mut event = json!({
            "type": record.body.kind(), "task": id, "state": task.state().name(), "queued": task.queue.len(),
            "at": record.at,
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
    }

    fn synced(&mut self, synced: &record::SpoolSynced) {
        let running = self.tasks.get_mut(&synced.task).and_then(|task| task.running.as_mut());
        if let Some(running) = running.filter(|running| running.order.spawn_id == synced.spawn_id) {
            running.order.synced_outputs = synced.outputs;
        }
    }
}

/// The task whose channels tell of a record, and what its event says beside the usual.
fn task_event(body: &Body) -> Option<(&str, Value)> {
    match body {
        Body::TaskOpened(opened) => Some((&opened.task, json!({"skill": opened.skill, "mode": opened.mode}))),
        Body::TaskReady(ready) => Some((&ready.task, json!({}))),
        Body::TaskStopped(stopped) => Some((&stopped.task, json!({}))),
        Body::TurnStarted(started) => Some((&started.task, json!({"turn": started.turn}))),
        Body::TurnQueued(queued) => Some((&queued.task, json!({"turn": queued.turn}))),
        Body::TurnDequeued(dequeued) => Some((&dequeued.task, json!({"turn": dequeued.turn}))),
        Body::TurnCancelled(cancelled) => Some((&cancelled.task, json!({"turn": cancelled.turn}))),
        Body::TurnSealed(sealed) => {
            let mut fields = json!({"turn": sealed.turn, "stop_reason": sealed.stop_reason});
            if let Some(code) = sealed.exit_code {
                fields["exit_code"] = json!(code);
            }
            if let Some(error) = &sealed.errored {
                fields["error"] = json!(error);
            }
            Some((&sealed.task, fields))
        }
        Body::NodeBooted(_)
        | Body::OrderRetried(_)
        | Body::SpoolSynced(_)
        | Body::SpanFiled(_)
        | Body::CommandAnswered(_) => None,
    }
}

fn start(task: &mut Task, started: &record::TurnStarted, at: u64) -> Vec<u64> {
    match task.queue.front() {
        Some(first) if first.turn == started.turn => drop(task.queue.pop_front()),
        _ => task.turns += 1,
    }
    let order = WorkOrder::new(&started.spawn_id, 1, &started.text);
    let worker = order.spawn_id.clone();
    task.running = Some(Running { turn: started.turn.clone(), state: TurnState::Ordered, order });
    let event = event::turn_started(&started.turn, &started.text, at);
    vec![task.conversation.begin(&task.id, &started.turn, &worker, event)]
}

fn queue(task: &mut Task, queued: &record::TurnQueued, at: u64) -> Vec<u64> {
    task.turns += 1;
    task.queue.push_back(Queued { turn: queued.turn.clone(), text: queued.text.clone() });
    let event = event::turn_queued(&queued.turn, &queued.text, at);
    task.conversation.place(queued.after, event).into_iter().collect()
}

fn dequeue(task: &mut Task, taken: &record::TurnDequeued, at: u64) -> Vec<u64> {
    task.queue.retain(|queued| queued.turn != taken.turn);
    task.conversation.place(taken.after, event::turn_dequeued(&taken.turn, at)).into_iter().collect()
}

fn cancel(task: &mut Task) -> Vec<u64> {
    if let Some(running) = &mut task.running {
        running.state = TurnState::Cancelling;
        running.order.end_message = Some(END_MESSAGE);
    }
    Vec::new()
}

fn stop(task: &mut Task, after: u64, at: u64) -> Vec<u64> {
    let offsets = seal_queue(task, after, at);
    task.standing = if task.running.is_some() { Standing::Stopping } else { Standing::Stopped };
    cancel(task);
    offsets
}

/// Prompts that will not run any more are sealed where they stand.
fn seal_queue(task: &mut Task, after: u64, at: u64) -> Vec<u64> {
    let turns: Vec<String> = task.queue.drain(..).map(|queued| queued.turn).collect();
    let events = turns.iter().map(|turn| event::turn_dequeued(turn, at));
    events.filter_map(|event| task.conversation.place(after, event)).collect()
}

fn retry(task: &mut Task, retried: &record::OrderRetried) -> Vec<u64> {
    if let Some(running) = &mut task.running {
        running.order = WorkOrder::new(&retried.spawn_id, running.order.number + 1, &running.order.text);
    }
    if let Some(span) = &mut task.conversation.open {
        span.given_up.extend(span.worker.replace(retried.spawn_id.clone()));
    }
    Vec::new()
}

fn seal(task: &mut Task, sealed: &record::TurnSealed, at: u64) -> Vec<u64> {
    let mut offsets = Vec::new();
    if let Some(error) = &sealed.errored {
        // Nobody waits for prompts that cannot run.
        offsets = seal_queue(task, sealed.outputs, at);
        if task.standing == Standing::Open {
            task.standing = Standing::Errored(error.clone());
        }
    }
    if task.standing == Standing::Stopping {
        task.standing = Standing::Stopped;
    }
    task.running = None;
    let (stop_reason, exit_code, outputs) = (sealed.stop_reason, sealed.exit_code, sealed.outputs);
    offsets.extend(task.conversation.seal(Seal { stop_reason, exit_code, sealed_at: at, outputs }));
    offsets
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
