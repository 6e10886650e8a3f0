//! What tasks with agents need: their standing workers, from order to end, and what is said with them.
//!
//! Each look takes one step: what happened ([`happened`]) and what follows from it ([`life::step`]) is journaled; only
//! when that is durable the next look does something in the world.

mod happened;
mod messages;
mod requests;
mod terminals;

use super::active::Active;
use super::{Event, RunError, now_ms};
use crate::agent::life::{self, Deed, Phase};
use crate::agent::upkeep::{failed_switch, least_used};
use crate::channels::Channel;
use crate::io::files::{self, Identity};
use crate::io::filing;
use crate::io::workers::wanted;
use crate::order::{FIRST_TURN, spawn_id};
use crate::record::{self, AgentSeal, Body, EndingFor, OrderedFor, Record, TaskFailure};
use crate::span::StopReason;
use crate::task::Standing;
use crate::turn;
use crate::workers::{Action, Life, Observed, reconcile};
use happened::{Happened, Why};
use holdfast_shared::error::Code;
use holdfast_shared::skill;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Steps of one look: an order, its end and another order, and what is said in between. More come with the next event.
const STEPS: usize = 8;

/// What this activation knows of a standing worker beside journal and spool.
#[derive(Default)]
pub(super) struct Held {
    /// Whether the workspace is what it was.
    workspace: Workspace,
    /// The authentication method that its skill names, once it was looked up.
    authenticate: Option<Option<String>>,
    /// Answers to requests, by record, until they are consumed.
    answers: HashMap<u64, Vec<u8>>,
    /// Requests that are being served.
    serving: BTreeSet<u64>,
    /// Since when it is known to be ready.
    ready_at: Option<Instant>,
    /// A look is to come after a pause.
    looking: bool,
}

#[derive(Default)]
enum Workspace {
    #[default]
    Unknown,
    Asked,
    Good,
    /// It is another, or cannot be used: why.
    Bad(TaskFailure),
}

impl Active {
    pub(super) fn look_at_agent(&mut self, id: &str) -> Result<(), RunError> {
        self.keep_terminals(id)?;
        for _ in 0..STEPS {
            if self.undurable.contains_key(id) {
                return Ok(());
            }
            if !self.agent_step(id)? {
                break;
            }
        }
        if !self.undurable.contains_key(id) {
            self.start_queued(id)?;
        }
        self.file_oldest(id);
        Ok(())
    }

    /// Does the next thing for an agent; whether there may be another at once.
    fn agent_step(&mut self, id: &str) -> Result<bool, RunError> {
        if let Some(error) = self.switch_failed(id) {
            let task = id.to_owned();
            return self.journal(Body::TaskError(record::TaskError { task, error }));
        }
        let Some(observed) = self.observe_agent(id) else { return self.order_warm(id) };
        let wanted = self.shared.borrow().folded.state.task(id).and_then(wanted);
        let Some(wanted) = wanted else { return Ok(false) };
        match reconcile(&wanted, &observed) {
            Some(Action::Spawn) => return self.spawn_agent(id, &wanted.spawn_id),
            Some(action @ (Action::Abandon | Action::TellEnd(_))) => return self.carry_out(id, action),
            Some(Action::Turn(_)) | None => {}
        }
        if let Some(happened) = self.happened(id, &observed) {
            return self.follow_up(id, happened);
        }
        if observed.life == Life::Alive {
            if self.take_requests(id)? {
                return Ok(true);
            }
            self.tell_agent(id);
        }
        Ok(false)
    }

    fn switch_failed(&self, id: &str) -> Option<TaskFailure> {
        let served = self.shared.borrow();
        let task = served.folded.state.task(id)?;
        failed_switch(task.agent.as_ref()?, &task.standing, now_ms())
    }

    /// How the standing worker is; `None` where there is none, or it cannot be looked at now.
    fn observe_agent(&mut self, id: &str) -> Option<Observed> {
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let wanted = wanted(served.folded.state.tasks.get(id)?)?;
        let before = served.spools.outputs(&wanted.spawn_id);
        let observed = self.workers.observe(&wanted, &mut served.spools);
        if served.spools.outputs(&wanted.spawn_id) > before {
            self.news.insert(Channel::Conversation(id.to_owned()));
        }
        observed.inspect_err(|error| tracing::error!(%error, task = id, "worker cannot be looked at")).ok()
    }

    /// A worker is ordered where one is wanted and none stands.
    fn order_warm(&mut self, id: &str) -> Result<bool, RunError> {
        let spawn_id = {
            let served = self.shared.borrow();
            let Some(task) = served.folded.state.task(id) else { return Ok(false) };
            let open = task.standing == Standing::Open;
            let is_due = task.agent.as_ref().is_some_and(|agent| agent.wanted && agent.worker.is_none());
            if !open || !is_due || task.running.is_some() || !task.queue.is_empty() {
                return Ok(false);
            }
            let (epoch, lsn) = self.writing.next();
            spawn_id(epoch, lsn)
        };
        let (task, why) = (id.to_owned(), OrderedFor::Warm);
        self.journal(Body::WorkerOrdered(record::WorkerOrdered { task, spawn_id, number: 1, why }))
    }

    /// Asks for the worker once its workspace is known to be the task's own.
    fn spawn_agent(&mut self, id: &str, worker: &str) -> Result<bool, RunError> {
        let held = self.agents.entry(worker.to_owned()).or_default();
        match &held.workspace {
            Workspace::Good => {
                let served = self.shared.borrow();
                if let Some(task) = served.folded.state.task(id) {
                    self.workers.spawn(task);
                }
                Ok(true)
            }
            Workspace::Asked => Ok(false),
            Workspace::Bad(why) => {
                let why = why.clone();
                self.give_up_agent(id, why)
            }
            Workspace::Unknown => {
                held.workspace = Workspace::Asked;
                self.look_at_workspace(id, worker);
                Ok(false)
            }
        }
    }

    /// Away from the loop; answered by [`Event::Workspace`].
    fn look_at_workspace(&self, id: &str, worker: &str) {
        let (home, known) = {
            let served = self.shared.borrow();
            let known = served.folded.state.task(id).and_then(|task| task.workspace.clone());
            (served.home.clone(), known)
        };
        let (events, task, spawn_id) = (self.events.clone(), id.to_owned(), worker.to_owned());
        tokio::task::spawn_local(async move {
            let name = task.clone();
            let look = move || files::identify(&home, &name, known.as_deref());
            let failure =
                |code: Code, message: String| TaskFailure { code: code.as_str().to_owned(), message };
            let found = match tokio::task::spawn_blocking(look).await {
                Ok(found) => found.map_err(|error| failure(error.code(), error.to_string())),
                Err(error) => Err(failure(Code::InternalError, error.to_string())),
            };
            let _sent = events.send(Event::Workspace { task, spawn_id, found }).await;
        });
    }

    pub(super) fn workspace_seen(
        &mut self,
        id: &str,
        worker: &str,
        found: Result<Identity, TaskFailure>,
    ) -> Result<(), RunError> {
        let held = self.agents.entry(worker.to_owned()).or_default();
        match found {
            Ok(Identity::Known) => held.workspace = Workspace::Good,
            Ok(Identity::New(identity)) => {
                let task = id.to_owned();
                let fixed = Body::WorkspaceFixed(record::WorkspaceFixed { task, id: identity });
                // Looked at again, and found known, once this is durable.
                held.workspace = Workspace::Unknown;
                self.journal(fixed)?;
            }
            Err(why) => held.workspace = Workspace::Bad(why),
        }
        self.look_at.insert(id.to_owned());
        Ok(())
    }

    /// No worker can be started for the task as it is.
    fn give_up_agent(&mut self, id: &str, error: TaskFailure) -> Result<bool, RunError> {
        let (running, worker) = {
            let served = self.shared.borrow();
            let Some(task) = served.folded.state.task(id) else { return Ok(false) };
            let Some(worker) = task.worker().map(str::to_owned) else { return Ok(false) };
            (task.running.is_some(), worker)
        };
        // Nobody can have started it: it was not asked for.
        if let Err(error) = self.workers.abandon(&worker) {
            tracing::error!(%error, worker, "worker cannot be given up");
            return Ok(false);
        }
        if running {
            let reason = StopReason::Failed;
            let why = Why { detail: Some(error.message.clone()), errored: Some(error), ..Why::default() };
            return self.seal_agent(id, Deed::Seal { reason, ended: true, errored: true }, why);
        }
        self.worker_gone(id, Some(error))
    }

    /// What happened has its consequence.
    fn follow_up(
        &mut self,
        id: &str,
        Happened { phase, event, try_number, why }: Happened,
    ) -> Result<bool, RunError> {
        let Some(deed) = life::step(phase, event, try_number) else { return Ok(false) };
        match deed {
            Deed::BeReady => match why.ready {
                Some(ready) => self.journal(Body::SessionReady(ready)),
                None => Ok(false),
            },
            Deed::OrderAgain { same_try } => self.order_again(id, phase, same_try),
            Deed::End(reason) => self.end_agent(id, reason, why.detail),
            Deed::Ended { errored } => {
                let failure = errored.then(|| why.failure());
                self.worker_gone(id, failure)
            }
            Deed::Seal { .. } => self.seal_agent(id, deed, why),
        }
    }

    fn order_again(&mut self, id: &str, phase: Phase, same_try: bool) -> Result<bool, RunError> {
        let (body, before) = {
            let served = self.shared.borrow();
            let Some(task) = served.folded.state.task(id) else { return Ok(false) };
            let Some(worker) = task.agent.as_ref().and_then(|agent| agent.worker.as_ref()) else {
                return Ok(false);
            };
            let (epoch, lsn) = self.writing.next();
            let (task_id, spawn_id) = (id.to_owned(), spawn_id(epoch, lsn));
            let unused = (worker.served == 0).then(|| worker.spawn_id.clone());
            let body = match (&task.running, phase) {
                (Some(running), Phase::Waiting) => Body::OrderRetried(record::OrderRetried {
                    task: task_id,
                    turn: running.turn.clone(),
                    spawn_id,
                    numbers: Some(FIRST_TURN),
                    same_try,
                }),
                _ => Body::WorkerOrdered(record::WorkerOrdered {
                    task: task_id,
                    spawn_id,
                    number: worker.number + u32::from(!same_try),
                    why: OrderedFor::Retry,
                }),
            };
            (body, (worker.spawn_id.clone(), unused))
        };
        let written = self.journal(body)?;
        if written {
            self.forget_agent(&before.0, before.1.is_some());
        }
        Ok(written)
    }

    fn end_agent(&mut self, id: &str, why: EndingFor, detail: Option<String>) -> Result<bool, RunError> {
        let (spawn_id, number) = {
            let served = self.shared.borrow();
            let task = served.folded.state.task(id);
            let agent = task.and_then(|task| task.agent.as_ref());
            let Some(worker) = agent.and_then(|agent| agent.worker.as_ref()) else { return Ok(false) };
            if worker.ending.is_some() {
                return Ok(false);
            }
            (worker.spawn_id.clone(), worker.next)
        };
        tracing::info!(task = id, worker = spawn_id, ?why, detail, "agent is told to end");
        let task = id.to_owned();
        self.journal(Body::WorkerEnding(record::WorkerEnding { task, spawn_id, why, number, detail }))
    }

    fn worker_gone(&mut self, id: &str, error: Option<TaskFailure>) -> Result<bool, RunError> {
        let (spawn_id, unused) = {
            let served = self.shared.borrow();
            let task = served.folded.state.task(id);
            let agent = task.and_then(|task| task.agent.as_ref());
            let Some(worker) = agent.and_then(|agent| agent.worker.as_ref()) else { return Ok(false) };
            (worker.spawn_id.clone(), worker.served == 0)
        };
        let task = id.to_owned();
        let ended = record::WorkerEnded { task, spawn_id: spawn_id.clone(), error };
        let written = self.journal(Body::WorkerEnded(ended))?;
        if written {
            self.forget_agent(&spawn_id, unused);
        }
        Ok(written)
    }

    /// Journals the seal once what it counts is durable.
    fn seal_agent(&mut self, id: &str, deed: Deed, why: Why) -> Result<bool, RunError> {
        let Deed::Seal { reason: stop_reason, ended, errored } = deed else { return Ok(false) };
        let (sealed, spawn_id, unused) = {
            let served = self.shared.borrow();
            let Some(task) = served.folded.state.task(id) else { return Ok(false) };
            let (Some(running), Some(agent)) = (&task.running, &task.agent) else { return Ok(false) };
            let worker = &running.order.spawn_id;
            let place = served.turn_place(task);
            // Others may have shown more than was read yet.
            if served.known_outputs(id).is_none() {
                return Ok(false);
            }
            if place.segment > 0 {
                let outputs = served.spools.outputs(worker);
                let (segment, needed) = (served.spools.last_segment(worker), why.needed.unwrap_or(outputs));
                if !self.workers.synced_for_seal(id, worker, segment, outputs, needed) {
                    return Ok(false);
                }
            }
            let exit = served.spools.exit(worker).filter(|_| ended);
            let errored = errored.then(|| why.failure().message);
            let unused = agent.worker.as_ref().is_some_and(|worker| worker.served == 0) && place.segment == 0;
            let sealed = record::TurnSealed {
                task: id.to_owned(),
                turn: running.turn.clone(),
                stop_reason,
                exit_code: exit.map(turn::exit_code),
                outputs: place.outputs,
                errored,
                agent: Some(AgentSeal {
                    segment: place.segment,
                    base: place.base,
                    worker_ended: ended,
                    detail: why.detail,
                    usage: why.usage.filter(|usage| !usage.is_empty()),
                }),
            };
            (sealed, worker.clone(), unused)
        };
        let written = self.journal(Body::TurnSealed(sealed))?;
        match (written, ended) {
            (true, true) => self.forget_agent(&spawn_id, unused),
            (true, false) => self.workers.turn_over(&spawn_id),
            (false, _) => {}
        }
        Ok(written)
    }

    /// Writes a record; whether it was taken. A full queue: all is looked at again with the next tick.
    pub(super) fn journal(&mut self, body: Body) -> Result<bool, RunError> {
        self.write(&Record::new(now_ms(), body)).map(|written| written.is_some())
    }

    /// A standing worker has ended, or another takes its place. One that no turn has output of leaves nothing.
    fn forget_agent(&mut self, worker: &str, unused: bool) {
        self.workers.forget(worker);
        self.agents.remove(worker);
        let home = {
            let mut served = self.shared.borrow_mut();
            served.spools.leave(worker);
            served.home.clone()
        };
        if unused {
            let (permit, worker) = (self.writing.permit(), worker.to_owned());
            tokio::task::spawn_blocking(move || {
                if let Err(error) = filing::remove_unused(&home, &worker, &permit) {
                    tracing::warn!(%error, worker, "left behind");
                }
            });
        }
    }

    /// Twice a second: who of the warm goes.
    pub(super) fn find_surplus(&mut self) {
        let served = self.shared.borrow();
        let surplus = least_used(served.folded.state.tasks.values(), self.settings.warm_workers as usize);
        self.look_at.extend(surplus.iter().cloned());
        self.surplus = surplus.into_iter().collect();
    }

    /// The authentication method that the worker's skill names.
    fn authenticate(&mut self, worker: &str, skill_name: &str) -> Option<String> {
        let held = self.agents.entry(worker.to_owned()).or_default();
        if held.authenticate.is_none() {
            let found = skill::find(&self.shared.borrow().home, skill_name);
            let found =
                found.inspect_err(|error| tracing::error!(%error, skill_name, "skill cannot be read"));
            held.authenticate = Some(found.ok().flatten().and_then(|skill| skill.authenticate));
        }
        held.authenticate.clone().flatten()
    }

    /// Has the task looked at after a pause.
    fn look_later(&mut self, id: &str, worker: &str, pause: Duration) {
        let held = self.agents.entry(worker.to_owned()).or_default();
        if std::mem::replace(&mut held.looking, true) {
            return;
        }
        let (events, task, spawn_id) = (self.events.clone(), id.to_owned(), worker.to_owned());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            let _sent = events.send(Event::Look { task, spawn_id }).await;
        });
    }

    pub(super) fn look_now(&mut self, task: String, worker: &str) {
        if let Some(held) = self.agents.get_mut(worker) {
            held.looking = false;
        }
        self.look_at.insert(task);
    }
}
