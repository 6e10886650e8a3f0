//! The runtime's state: a fold of the journal. Live path, followers and checkpoints run the same [`State::take`].
//!
//! A fold never fails and never decides: what a record says happened. Whatever could have been refused was refused
//! in `commands` before the record was written.

use crate::agent::{Agent, What};
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
                || agent
                    .is_some_and(|agent| agent.worker.is_some() || agent.wanted || agent.switching.is_some())
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
            Body::TurnStarted(started) => self.with(&started.task, |task| start(task, started, at), placed),
            Body::TurnQueued(queued) => self.with(&queued.task, |task| queue(task, queued, at), placed),
            Body::TurnDequeued(taken) => self.with(&taken.task, |task| dequeue(task, taken, at), placed),
            Body::TurnCancelled(cancelled) => {
                self.with(&cancelled.task, |task| cancel(task, cancelled.number, at), placed)
            }
            Body::TaskStopped(stopped) => self.with(&stopped.task, |task| stop(task, stopped, at), placed),
            Body::OrderRetried(retried) => self.with(&retried.task, |task| retry(task, retried, at), placed),
            Body::TurnSealed(sealed) => self.with(&sealed.task, |task| seal(task, sealed, at), placed),
            body => self.with_agent(body, at, placed),
        }
    }

    /// The kinds that are about agents alone.
    fn with_agent(&mut self, body: &Body, at: u64, placed: &mut Vec<Placed>) {
        match body {
            Body::WorkerOrdered(ordered) => self.agent(&ordered.task, |agent| {
                agent.order(&ordered.spawn_id, ordered.number, at);
            }),
            Body::WorkspaceFixed(fixed) => {
                if let Some(task) = self.tasks.get_mut(&fixed.task) {
                    task.workspace = Some(fixed.id.clone());
                }
            }
            Body::SessionReady(ready) => self.agent(&ready.task, |agent| agent.ready(ready, at)),
            Body::WorkerEnding(ending) => self.agent(&ending.task, |agent| worker_ending(agent, ending)),
            Body::WorkerEnded(ended) => {
                if let Some(task) = self.tasks.get_mut(&ended.task) {
                    worker_ended(task, ended);
                }
            }
            Body::RequestTaken(taken) => self.agent(&taken.task, |agent| agent.take(taken)),
            Body::TerminalExited(exited) => self.agent(&exited.task, |agent| agent.exited(exited)),
            Body::TerminalGone(gone) => self.agent(&gone.task, |agent| {
                agent.terminals.retain(|terminal| terminal.spawn_id != gone.terminal);
            }),
            Body::PermissionAnswered(answered) => {
                self.with(&answered.task, |task| permission_answered(task, answered, at), placed)
            }
            Body::ModeSet(set) => self.agent(&set.task, |agent| agent.ask_mode(set)),
            Body::ModeSaid(said) => self.agent(&said.task, |agent| agent.mode_said(said)),
            Body::TaskSwitching(switching) => self.agent(&switching.task, |agent| {
                (agent.wanted, agent.switching) = (true, Some(switching.deadline));
                agent.worker.iter_mut().for_each(|worker| worker.used_at = at);
            }),
            Body::TaskError(error) => self.agent(&error.task, |agent| agent.switching = None),
            _ => {}
        }
    }

    fn agent(&mut self, task: &str, change: impl FnOnce(&mut Agent)) {
        if let Some(agent) = self.tasks.get_mut(task).and_then(|task| task.agent.as_mut()) {
            change(agent);
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
            task.agent.get_or_insert_default().wanted = true;
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

    fn ready_fields(&self, task: &str) -> Value {
        let agent = self.task(task).and_then(|task| task.agent.as_ref());
        let Some(session) = agent.and_then(|agent| agent.session.as_ref()) else { return json!({}) };
        let mut said = json!({"resumed": session.resumed});
        if let Some(modes) = &session.modes {
            said["modes"] = json!(modes);
        }
        json!({"session": said})
    }
}

const TASK_READY: &str = "task.ready";
const TASK_ERROR: &str = "task.error";

fn sealed_fields(sealed: &record::TurnSealed) -> Value {
    let mut fields = json!({"turn": sealed.turn, "stop_reason": sealed.stop_reason});
    if let Some(code) = sealed.exit_code {
        fields["exit_code"] = json!(code);
    }
    if let Some(error) = &sealed.errored {
        fields["error"] = json!(error);
    }
    if let Some(detail) = sealed.agent.as_ref().and_then(|agent| agent.detail.as_ref()) {
        fields["detail"] = json!(detail);
    }
    fields
}

fn worker_ending(agent: &mut Agent, ending: &record::WorkerEnding) {
    let Some(worker) = agent.worker_mut(&ending.spawn_id) else { return };
    let (why, number, detail) = (ending.why, ending.number, ending.detail.clone());
    worker.next = worker.next.max(number + 1);
    worker.ending = Some(crate::agent::Ending { why, number, detail });
}

fn worker_ended(task: &mut Task, ended: &record::WorkerEnded) {
    let Some(agent) = &mut task.agent else { return };
    if agent.worker_mut(&ended.spawn_id).is_some() {
        agent.worker_gone();
    }
    if let Some(error) = &ended.error {
        (agent.wanted, agent.switching) = (false, None);
        if task.standing == Standing::Open {
            task.standing = Standing::Errored(error.message.clone());
        }
    }
}

fn permission_answered(task: &mut Task, answered: &record::PermissionAnswered, at: u64) -> Vec<u64> {
    let worker = task.agent.as_mut().and_then(|agent| agent.worker_mut(&answered.spawn_id));
    if let Some(worker) = worker {
        worker.permitted(answered);
    }
    let event = event::permission_answered(answered, at);
    task.conversation.place(answered.after, event).into_iter().collect()
}

fn start(task: &mut Task, started: &record::TurnStarted, at: u64) -> Vec<u64> {
    match task.queue.front() {
        Some(first) if first.turn == started.turn => drop(task.queue.pop_front()),
        _ => task.turns += 1,
    }
    let order = WorkOrder::new(&started.spawn_id, 1, &started.text);
    let worker = order.spawn_id.clone();
    if let (Some(agent), Some(numbers)) = (&mut task.agent, started.numbers) {
        let standing = match agent.worker_mut(&worker) {
            Some(_) => agent.worker.as_mut(),
            None => Some(agent.order(&worker, 1, at)),
        };
        if let Some(standing) = standing {
            standing.bring(&started.turn, numbers, at);
        }
    }
    let (turn, numbers) = (started.turn.clone(), started.numbers);
    task.running = Some(Running { turn, state: TurnState::Ordered, order, numbers, cancelled_at: None });
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

fn cancel(task: &mut Task, number: Option<u64>, at: u64) -> Vec<u64> {
    let Some(running) = &mut task.running else { return Vec::new() };
    running.state = TurnState::Cancelling;
    running.cancelled_at.get_or_insert(at);
    match &mut task.agent {
        None => running.order.end_message = Some(END_MESSAGE),
        Some(agent) => {
            if let (Some(worker), Some(number)) = (&mut agent.worker, number) {
                worker.send(number, What::Cancel);
            }
        }
    }
    Vec::new()
}

fn stop(task: &mut Task, stopped: &record::TaskStopped, at: u64) -> Vec<u64> {
    let offsets = seal_queue(task, stopped.after, at);
    task.standing = if task.running.is_some() { Standing::Stopping } else { Standing::Stopped };
    if let Some(agent) = &mut task.agent {
        agent.wanted = false;
    }
    cancel(task, stopped.number, at);
    offsets
}

/// Prompts that will not run any more are sealed where they stand.
fn seal_queue(task: &mut Task, after: u64, at: u64) -> Vec<u64> {
    let turns: Vec<String> = task.queue.drain(..).map(|queued| queued.turn).collect();
    let events = turns.iter().map(|turn| event::turn_dequeued(turn, at));
    events.filter_map(|event| task.conversation.place(after, event)).collect()
}

fn retry(task: &mut Task, retried: &record::OrderRetried, at: u64) -> Vec<u64> {
    let Some(running) = &mut task.running else { return Vec::new() };
    let number = running.order.number + u32::from(!retried.same_try);
    running.order = WorkOrder::new(&retried.spawn_id, number, &running.order.text);
    running.numbers = retried.numbers;
    if let Some(span) = &mut task.conversation.open {
        let before = span.worker.replace(retried.spawn_id.clone());
        // A standing worker may have served earlier turns; one that did not is removed by whoever saw its end.
        if task.agent.is_none() {
            span.given_up.extend(before);
        }
    }
    if let (Some(agent), Some(numbers)) = (&mut task.agent, retried.numbers) {
        agent.order(&retried.spawn_id, number, at).bring(&running.turn, numbers, at);
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
    let said = sealed.agent.clone().unwrap_or_default();
    if let (Some(agent), Some(_)) = (&mut task.agent, &sealed.agent) {
        match &mut agent.worker {
            Some(worker) if !said.worker_ended => {
                worker.turn_over(said.base + sealed.outputs, said.segment > 0, at);
            }
            _ => agent.worker_gone(),
        }
        // No turn of a worker that took none keeps its directory.
        if said.segment == 0
            && let Some(span) = &mut task.conversation.open
        {
            span.worker = None;
        }
    }
    let (stop_reason, exit_code, outputs) = (sealed.stop_reason, sealed.exit_code, sealed.outputs);
    let (detail, usage) = (said.detail, said.usage);
    let seal = Seal { stop_reason, exit_code, sealed_at: at, outputs, detail, usage };
    offsets.extend(task.conversation.seal(seal, said.segment, said.base));
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
