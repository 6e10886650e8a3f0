//! What the active runtime does: decides on calls, follows the spools, keeps the workers, publishes.

use super::{Event, IncomingCall, Names, RunError, fresh_epoch, now_ms};
use crate::channels::Channel;
use crate::commands::{self, Call, Decision, Given};
use crate::io::filing;
use crate::io::journal::{Fatal, Writing};
use crate::io::served::{Served, Shared, Waiting};
use crate::io::workers::{Workers, wanted};
use crate::order::spawn_id;
use crate::params::History;
use crate::record::{self, Body, Record};
use crate::settings::Settings;
use crate::span::StopReason;
use crate::task::Standing;
use crate::turn::{self, TurnAction, TurnEvent};
use crate::workers::{Action, reconcile};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::journal::{CheckpointerEvent, Position, SubmitError, WriteError, WriterEvent};
use holdfast_shared::link::PIECE_BYTES;
use holdfast_shared::spool::cut_to_last_good;
use holdfast_shared::worker::Exit;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tokio::sync::mpsc;

/// Events of one `conversation.history` answer.
const HISTORY_EVENTS: usize = 1000;

/// The active runtime's part of the loop.
pub struct Active {
    shared: Shared,
    /// The journal.
    pub writing: Writing,
    workers: Workers,
    /// Tasks whose worker or turn is to be looked at.
    look_at: Names,
    /// Workers whose spool may have more.
    unread: Names,
    /// The last record of each task that is not durable yet: nothing is done in the world before it is.
    undurable: BTreeMap<String, u64>,
    /// Channels with something new to show.
    news: BTreeSet<Channel>,
    /// Tasks of which a span is being filed.
    filing: Names,
    events: mpsc::Sender<Event>,
}

/// Answers a call to a runtime that is not active: reads and probes only. What came for the active that it was
/// stays unanswered: its link is being closed, and the sidecar asks the next active.
pub fn call_passive(shared: &Shared, call: &IncomingCall) {
    if call.link.is_route() {
        return;
    }
    let given = Given {
        now_ms: now_ms(),
        next: (0, 0),
        fresh_epoch: String::new(),
        active: false,
        storage_full: false,
    };
    let decided = decide(&shared.borrow(), call, &given);
    answer_read(shared, call, decided);
}

fn decide(served: &Served, call: &IncomingCall, given: &Given) -> Result<Decision, ApiError> {
    let request = Call {
        method: &call.method,
        params: call.params.get(),
        command_id: &call.command_id,
        caller: &call.caller,
    };
    commands::decide(&served.folded.state, &request, given, |task| served.outputs(task))
}

/// Answers whatever needs no record.
fn answer_read(shared: &Shared, call: &IncomingCall, decided: Result<Decision, ApiError>) {
    let answer = match decided {
        Err(error) => Err(error),
        Ok(Decision::Answer { result, .. }) => Ok(result),
        Ok(Decision::History(history)) => read_history(&mut shared.borrow_mut(), &history),
        Ok(Decision::Probe) => Ok(probe(&shared.borrow())),
        // A write is decided on only by the active, which takes it before this.
        Ok(Decision::Write(_)) => Err(ApiError::new(Code::NotActive, "this runtime is not the active one")),
    };
    match answer {
        Ok(result) => call.link.reply(call.id, Ok(&result)),
        Err(error) => call.link.reply(call.id, Err(error)),
    }
}

fn probe(served: &Served) -> Value {
    let report = served.report();
    json!({
        "runtime_instance_id": report.runtime_instance_id, "slot": report.slot, "epoch": report.epoch,
        "role": report.transition_role, "last": report.last, "healthy": report.healthy,
    })
}

fn read_history(served: &mut Served, history: &History) -> Result<Value, ApiError> {
    let name = format!("conversation:{}", history.conversation);
    let (epoch, offset) = history.since.as_ref().map_or(("", 0), |since| (&*since.epoch, since.offset));
    let limit = history.limit.map_or(HISTORY_EVENTS, |limit| (limit as usize).min(HISTORY_EVENTS));
    let piece = served.piece(&name, epoch, offset, limit, PIECE_BYTES as usize)?;
    let publications: Vec<Value> = piece
        .publications
        .iter()
        .map(|one| {
            let data: Value = serde_json::from_slice(&one.data).unwrap_or(Value::Null);
            json!({"offset": one.offset, "data": data})
        })
        .collect();
    Ok(json!({
        "epoch": piece.epoch, "offset": piece.top, "recovered": piece.recovered, "publications": publications,
    }))
}

impl Active {
    /// Just after `Activated` became durable: finds the open work, which it looks at in the next turn.
    pub fn new(shared: Shared, writing: Writing, settings: &Settings, events: mpsc::Sender<Event>) -> Self {
        let (home, look_at) = {
            let served = shared.borrow();
            (served.home.clone(), served.folded.state.tasks.keys().cloned().collect())
        };
        let workers = Workers::new(&home, writing.epoch, settings, events.clone());
        let (unread, undurable, news, filing) = Default::default();
        let mut active = Self { shared, writing, workers, look_at, unread, undurable, news, filing, events };
        active.follow_open_spools();
        active.note_boot();
        active
    }

    /// Whether there is work left without a new event.
    pub fn has_more(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Decides on a call; its answer waits for the disk.
    pub fn call(&mut self, call: IncomingCall) -> Result<(), RunError> {
        let given = Given {
            now_ms: now_ms(),
            next: self.writing.next(),
            fresh_epoch: fresh_epoch(),
            // A probe's link bears no epoch: it may only read.
            active: call.link.is_route() && !self.shared.borrow().fencing,
            storage_full: self.writing.storage_full(),
        };
        let decided = decide(&self.shared.borrow(), &call, &given);
        match decided {
            Ok(Decision::Write(record)) => self.command(&call, &record),
            Ok(Decision::Answer { result, lsn }) if lsn > 0 => {
                self.answer(&call, result, lsn);
                Ok(())
            }
            decided => {
                answer_read(&self.shared, &call, decided);
                Ok(())
            }
        }
    }

    fn command(&mut self, call: &IncomingCall, record: &Record) -> Result<(), RunError> {
        if self.shared.borrow().outbound.full() {
            call.link.reply(call.id, Err(busy()));
            return Ok(());
        }
        match self.write(record)? {
            Some(lsn) => {
                let result = record.command.as_ref().map_or(Value::Null, |command| command.answer.clone());
                self.answer(call, result, lsn);
            }
            None => call.link.reply(call.id, Err(busy())),
        }
        Ok(())
    }

    fn answer(&mut self, call: &IncomingCall, result: Value, lsn: u64) {
        let waiting = Waiting { link: Rc::downgrade(&call.link), id: call.id, result };
        if let Some(waiting) = self.shared.borrow_mut().outbound.answer(lsn, waiting) {
            call.link.reply(waiting.id, Ok(&waiting.result));
        }
    }

    /// Submits and applies a record. `None`: the journal's queue is full, nothing happened.
    fn write(&mut self, record: &Record) -> Result<Option<u64>, RunError> {
        let lsn = match self.writing.submit(record) {
            Ok(lsn) => lsn,
            Err(SubmitError::Full(_)) => return Ok(None),
            Err(SubmitError::Unfit(error)) => return Err(Fatal(error).into()),
            Err(SubmitError::Gone) => return Err(Fatal(WriteError::Poisoned).into()),
        };
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let placed = served.folded.state.take(lsn, record);
        served.folded.position.epoch = self.writing.epoch;
        served.folded.position.lsn = lsn;
        for one in placed {
            served.outbound.placed(one.channel.clone(), one.offset, lsn);
            self.news.insert(one.channel);
        }
        if let Some(task) = record.body.task() {
            self.look_at.insert(task.to_owned());
            self.undurable.insert(task.to_owned(), lsn);
        }
        Ok(Some(lsn))
    }

    /// Everything that is not the loop's own.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Journal(WriterEvent::Durable { lsn }) => self.release(lsn),
            Event::Journal(WriterEvent::StorageFull) => {
                self.storage(Some("the disk is too full for new commands"))
            }
            Event::Journal(WriterEvent::StorageFreed) => self.storage(None),
            Event::SpoolsGrew => self.spools_grew(),
            Event::Spawned { task, spawn_id, outcome } => {
                self.workers.spawned(&spawn_id, outcome);
                self.look_at.insert(task);
            }
            Event::Synced { task, spawn_id, outputs, ok } => self.synced(task, spawn_id, outputs, ok),
            Event::Filed { task, first, ok } => self.filed(task, first, ok),
            Event::Checkpoint(event) => self.checkpoint(&event),
            _ => {}
        }
    }

    /// Everything up to `lsn` is durable: what waited for it may leave.
    pub fn release(&mut self, lsn: u64) {
        let ready = {
            let mut served = self.shared.borrow_mut();
            if let Some(view) = &served.view {
                view.reached(Position { epoch: self.writing.epoch, lsn });
            }
            served.outbound.advance(lsn)
        };
        for waiting in ready {
            if let Some(link) = waiting.link.upgrade() {
                link.reply(waiting.id, Ok(&waiting.result));
            }
        }
        let durable: Vec<String> =
            self.undurable.iter().filter(|(_, at)| **at <= lsn).map(|(task, _)| task.clone()).collect();
        for task in durable {
            self.undurable.remove(&task);
            self.news.insert(Channel::Conversation(task.clone()));
            self.news.insert(Channel::Task(task.clone()));
            self.look_at.insert(task);
        }
        self.news.insert(Channel::Tasks);
    }

    fn checkpoint(&mut self, event: &CheckpointerEvent) {
        match event {
            CheckpointerEvent::Written(written) => {
                tracing::info!(lsn = written.position.lsn, "checkpoint written");
            }
            other => tracing::warn!(?other, "no checkpoint"),
        }
    }

    fn storage(&mut self, problem: Option<&str>) {
        tracing::warn!(full = problem.is_some(), "storage");
        self.shared.borrow_mut().problems = problem.into_iter().map(str::to_owned).collect();
    }

    fn spools_grew(&mut self) {
        let mut served = self.shared.borrow_mut();
        match served.spools.news() {
            Ok(news) => self.unread.extend(news),
            Err(error) => tracing::error!(%error, "spools cannot be watched"),
        }
    }

    /// Twice a second: what the watch may have missed, and spools that are due for a sync.
    pub fn ticked(&mut self) {
        self.writing.ticked();
        let served = self.shared.borrow();
        let unfinished = served.folded.state.tasks.values().filter(|task| {
            task.running.is_some() || !task.queue.is_empty() || !task.conversation.unfiled.is_empty()
        });
        self.look_at.extend(unfinished.map(|task| task.id.clone()));
    }

    /// Reads spools on, does what workers and turns need, and publishes.
    pub fn after_events(&mut self) -> Result<(), RunError> {
        // Looked at each time, so that a flood of calls delays no output.
        self.spools_grew();
        self.read_spools();
        for task in std::mem::take(&mut self.look_at) {
            self.look_at_task(&task)?;
        }
        let links = self.shared.borrow_mut().living_links();
        for channel in std::mem::take(&mut self.news) {
            links.iter().for_each(|link| link.news(&channel));
        }
        Ok(())
    }

    /// One piece of each spool with news.
    fn read_spools(&mut self) {
        if self.unread.is_empty() {
            return;
        }
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let now = now_ms();
        let by_worker: BTreeMap<&str, &str> = served
            .folded
            .state
            .running()
            .map(|(task, running)| (running.order.spawn_id.as_str(), task.id.as_str()))
            .collect();
        for worker in std::mem::take(&mut self.unread) {
            let Some(task) = by_worker.get(worker.as_str()) else { continue };
            let before = served.spools.outputs(&worker);
            if served.spools.advance(&worker) {
                self.unread.insert(worker.clone());
            } else {
                // News without records: perhaps the holder's end.
                self.look_at.insert((*task).to_owned());
            }
            let outputs = served.spools.outputs(&worker);
            if outputs > before {
                self.news.insert(Channel::Conversation((*task).to_owned()));
                self.workers.saw(task, &worker, outputs, now);
            }
            if served.spools.exit(&worker).is_some() {
                self.look_at.insert((*task).to_owned());
            }
        }
    }

    fn look_at_task(&mut self, id: &str) -> Result<(), RunError> {
        if self.undurable.contains_key(id) {
            return Ok(());
        }
        // A task needs a step or two: an action, then what became of it.
        for _ in 0..crate::turn::ORDERS_PER_TURN {
            let Some(action) = self.next_action(id) else { break };
            if !self.carry_out(id, action)? || self.undurable.contains_key(id) {
                break;
            }
        }
        self.start_queued(id)?;
        self.file_oldest(id);
        Ok(())
    }

    /// Files the oldest sealed span, away from the loop; answered by [`Event::Filed`].
    fn file_oldest(&mut self, id: &str) {
        if self.undurable.contains_key(id) || self.filing.contains(id) {
            return;
        }
        let served = self.shared.borrow();
        let oldest = served.folded.state.task(id).and_then(|task| task.conversation.unfiled.first());
        let Some(span) = oldest.cloned() else { return };
        self.filing.insert(id.to_owned());
        let (home, events, task, first) =
            (served.home.clone(), self.events.clone(), id.to_owned(), span.first);
        tokio::task::spawn_local(async move {
            let filing = move || filing::file(&home, &span, filing::CONVERSATION_BYTES_MAX);
            let filed = tokio::task::spawn_blocking(filing).await;
            let ok = matches!(filed, Ok(Ok(_)));
            if let Ok(Err(error)) = filed {
                tracing::error!(%error, task, "ended turn cannot be filed; tried again later");
            }
            let _sent = events.send(Event::Filed { task, first, ok }).await;
        });
    }

    fn filed(&mut self, task: String, first: u64, ok: bool) {
        self.filing.remove(&task);
        if !ok {
            // Tried again with the next tick.
            return;
        }
        self.shared.borrow_mut().history.filed(&task, first);
        let body = Body::SpanFiled(record::SpanFiled { task: task.clone(), first });
        match self.write(&Record::new(now_ms(), body)) {
            Ok(Some(_)) => {
                if let Some(view) = &self.shared.borrow().view {
                    view.filed(&task, first);
                }
            }
            // A full queue: filing again writes the same file.
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the journal does not take a record"),
        }
    }

    fn next_action(&mut self, id: &str) -> Option<Action> {
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let task = served.folded.state.tasks.get(id)?;
        let wanted = wanted(task, task.running.as_ref()?);
        let before = served.spools.outputs(&wanted.spawn_id);
        let observed = self.workers.observe(&wanted, &mut served.spools);
        if served.spools.outputs(&wanted.spawn_id) > before {
            self.news.insert(Channel::Conversation(id.to_owned()));
        }
        match observed {
            Ok(observed) => reconcile(&wanted, &observed),
            Err(error) => {
                tracing::error!(%error, task = id, "worker cannot be looked at");
                None
            }
        }
    }

    /// Carries an action out; whether there may be another at once.
    fn carry_out(&mut self, id: &str, action: Action) -> Result<bool, RunError> {
        let Some((worker, done)) = ({
            let served = self.shared.borrow();
            let task = served.folded.state.task(id);
            let running = task.and_then(|task| task.running.as_ref().map(|running| (task, running)));
            running.map(|(task, running)| {
                if action == Action::Spawn {
                    self.workers.spawn(task, running);
                }
                running.order.spawn_id.clone()
            })
        })
        .map(|worker| {
            let done = match action {
                Action::Abandon => self.workers.abandon(&worker),
                Action::TellEnd(number) => self.workers.tell_end(&worker, number),
                Action::Spawn | Action::Turn(_) => Ok(()),
            };
            (worker, done)
        }) else {
            return Ok(false);
        };
        if let Err(error) = done {
            tracing::error!(%error, worker, "worker cannot be told");
            return Ok(false);
        }
        match action {
            Action::Turn(event) => self.turn(id, &worker, event).map(|()| false),
            _ => Ok(true),
        }
    }

    /// What an event of a running turn leads to is journaled.
    fn turn(&mut self, id: &str, worker: &str, event: TurnEvent) -> Result<(), RunError> {
        let body = {
            let served = self.shared.borrow();
            let Some(running) = served.folded.state.task(id).and_then(|task| task.running.as_ref()) else {
                return Ok(());
            };
            let Ok((_, actions)) = turn::step(running.state, event) else {
                tracing::error!(task = id, ?event, state = ?running.state, "turn cannot take this");
                return Ok(());
            };
            let (task, turn) = (id.to_owned(), running.turn.clone());
            match actions.first() {
                Some(TurnAction::OrderAgain) => {
                    let (epoch, lsn) = self.writing.next();
                    Body::OrderRetried(record::OrderRetried { task, turn, spawn_id: spawn_id(epoch, lsn) })
                }
                Some(TurnAction::Seal(reason)) => {
                    Body::TurnSealed(self.sealed(&served, task, turn, worker, *reason, event))
                }
                _ => return Ok(()),
            }
        };
        if let Err(error) = self.shared.borrow().spools.sync(worker) {
            tracing::error!(%error, worker, "spool cannot be synced; its turn is sealed later");
            return Ok(());
        }
        // A full queue: this is looked at again with the next tick.
        if self.write(&Record::new(now_ms(), body))?.is_some() {
            self.workers.forget(worker);
            self.shared.borrow_mut().spools.leave(worker);
        }
        Ok(())
    }

    fn sealed(
        &self,
        served: &Served,
        task: String,
        turn: String,
        worker: &str,
        stop_reason: StopReason,
        event: TurnEvent,
    ) -> record::TurnSealed {
        let errored =
            (stop_reason == StopReason::Failed).then(|| self.start_failure(worker, event)).flatten();
        let exit: Option<Exit> = served.spools.exit(worker);
        let outputs = served.spools.outputs(worker);
        record::TurnSealed { task, turn, stop_reason, exit_code: exit.map(turn::exit_code), outputs, errored }
    }

    fn start_failure(&self, worker: &str, event: TurnEvent) -> Option<String> {
        match event {
            TurnEvent::NeverStarted(orders) => Some(format!("no worker started in {orders} tries")),
            TurnEvent::Refused => Some(self.workers.refusal(worker).unwrap_or_default()),
            _ => None,
        }
    }

    /// The first prompt that waits begins once nothing runs before it.
    fn start_queued(&mut self, id: &str) -> Result<(), RunError> {
        let body = {
            let served = self.shared.borrow();
            let Some(task) = served.folded.state.task(id) else { return Ok(()) };
            if task.running.is_some() || task.standing != Standing::Open {
                return Ok(());
            }
            let Some(first) = task.queue.front() else { return Ok(()) };
            let (epoch, lsn) = self.writing.next();
            Body::TurnStarted(record::TurnStarted {
                task: id.to_owned(),
                turn: first.turn.clone(),
                text: first.text.clone(),
                spawn_id: spawn_id(epoch, lsn),
            })
        };
        self.write(&Record::new(now_ms(), body)).map(drop)
    }

    fn synced(&mut self, task: String, spawn_id: String, outputs: u64, ok: bool) {
        let seen = self.shared.borrow().spools.outputs(&spawn_id);
        if self.workers.synced(&spawn_id, outputs, ok, seen, now_ms()) {
            let body = Body::SpoolSynced(record::SpoolSynced { task, spawn_id, outputs });
            // Left out when the queue is full: the next one says more.
            if let Err(error) = self.write(&Record::new(now_ms(), body)) {
                tracing::error!(%error, "the journal does not take a record");
            }
        }
    }

    /// Before any place is picked, the spools of open turns are read to their ends.
    fn follow_open_spools(&mut self) {
        let ids: Vec<String> =
            self.shared.borrow().folded.state.running().map(|(task, _)| task.id.clone()).collect();
        for id in ids {
            let _looked = self.next_action(&id);
        }
        let mut served = self.shared.borrow_mut();
        for worker in served.follow_running() {
            self.unread.insert(worker);
        }
        let running = served.folded.state.running();
        let workers: Vec<String> = running.map(|(_, running)| running.order.spawn_id.clone()).collect();
        for worker in workers {
            while served.spools.advance(&worker) {}
        }
    }

    /// After another boot than the journal knows: spools are cut to what is left of them, their conversations get
    /// new epochs, their turns end.
    fn note_boot(&mut self) {
        let boot_id = match holdfast_shared::process::boot_id() {
            Ok(boot_id) => boot_id,
            Err(error) => return tracing::error!(%error, "the boot's id cannot be read"),
        };
        let known = self.shared.borrow().folded.state.boot_id.clone();
        if known == boot_id {
            return;
        }
        let cut = if known.is_empty() { Vec::new() } else { self.cut_spools() };
        let booted = record::NodeBooted { boot_id, channel_epoch: fresh_epoch(), cut };
        let written = self.write(&Record::new(now_ms(), Body::NodeBooted(booted)));
        if let Err(error) = written {
            tracing::error!(%error, "the journal does not take a record");
        }
    }

    fn cut_spools(&mut self) -> Vec<record::CutConversation> {
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let mut cuts = Vec::new();
        for (task, running) in served.folded.state.running() {
            let worker = &running.order.spawn_id;
            if !served.spools.follows(worker) || served.spools.exit(worker).is_some() {
                // Not begun, or ended with its exit on disk: nothing that was shown can be gone.
                continue;
            }
            served.spools.leave(worker);
            let directory = served.home.worker(worker);
            match cut_to_last_good(&directory, running.order.synced_outputs) {
                Ok(report) => {
                    tracing::warn!(worker, ?report, "spool cut after a power cut");
                    served.history.forget_spool(worker);
                    let (task, outputs) = (task.id.clone(), report.outputs);
                    cuts.push(record::CutConversation { task, epoch: fresh_epoch(), outputs });
                }
                Err(error) => tracing::error!(%error, worker, "spool cannot be cut"),
            }
            if let Err(error) = served.spools.follow(worker, &directory) {
                tracing::error!(%error, worker, "spool cannot be followed");
            }
            while served.spools.advance(worker) {}
        }
        cuts
    }
}

fn busy() -> ApiError {
    ApiError::new(Code::Busy, "the journal's queue is full")
}
