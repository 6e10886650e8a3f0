//! What tasks with agents need: their standing workers, from order to end, and what is said with them.
//!
//! Each look takes one step: what happened and what follows from it (`agent::life`) is journaled; only
//! when that is durable the next look does something in the world.

mod ends;
mod happened;
mod messages;
mod modes;
mod permissions;
mod requests;
mod starts;
mod terminal_ends;
mod terminals;

use super::active::Active;
use super::{Event, RunError, now_ms};
use crate::agent::upkeep::{failed_switch, least_used};
use crate::channels::Channel;
use crate::io::workers::wanted;
use crate::order::spawn_id;
use crate::record::{self, Body, OrderedFor, Record, TaskFailure};
use crate::task::{Standing, Task};
use crate::workers::{Action, Life, Observed, reconcile};
use holdfast_shared::journal::WriteError;
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
    /// Requests for commands that do not run, until those are removed.
    in_vain: BTreeSet<u64>,
    /// Since when it is known to be ready.
    ready_at: Option<Instant>,
    /// A look is to come after a pause.
    looking: bool,
    /// A prompt waits for room on the disk.
    waits_for_room: bool,
    /// What it said does not fit into the journal, and how: nothing more is taken from it.
    unfit: Option<String>,
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
        // A terminal is given up for a cancel only once that is durable.
        if !self.undurable.contains_key(id) {
            self.keep_terminals(id)?;
        }
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
            if self.say_loss(id)? || self.note_mode(id)? || self.take_requests(id)? {
                return Ok(true);
            }
            if self.create_terminals(id) {
                return Ok(true);
            }
            self.tell_agent(id);
            return self.count_permissions(id);
        }
        Ok(false)
    }

    /// Journals in the running turn, before its prompt is given, that the agent has begun anew; whether it is to be said.
    fn say_loss(&mut self, id: &str) -> Result<bool, RunError> {
        let after = {
            let served = self.shared.borrow();
            let task = served.folded.state.task(id).filter(|task| task.running.is_some());
            let unsaid = task.and_then(|task| task.agent.as_ref()).filter(|agent| agent.loss_unsaid);
            unsaid.and_then(|_| served.known_outputs(id))
        };
        match after {
            Some(after) => {
                self.journal(Body::SessionLost(record::SessionLost { task: id.to_owned(), after }))
            }
            None => Ok(false),
        }
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
        let observed =
            observed.inspect_err(|error| tracing::error!(%error, task = id, "worker cannot be looked at"));
        let worker = served.folded.state.task(id).and_then(|task| task.agent.as_ref()?.worker.as_ref());
        let was_ready = worker.is_some_and(|worker| worker.ready);
        observed.ok().map(|observed| match observed.life {
            // It had its session; one started in its place under its name would be taken for it.
            Life::NotStarted if was_ready => Observed { life: Life::Lost, ..observed },
            _ => observed,
        })
    }

    /// A worker is ordered where one is wanted and none stands.
    fn order_warm(&mut self, id: &str) -> Result<bool, RunError> {
        let is_due = {
            let served = self.shared.borrow();
            let task = served.folded.state.task(id).filter(|task| may_be_warm(task));
            task.and_then(|task| task.agent.as_ref()).is_some_and(|agent| agent.wanted)
        };
        let (epoch, lsn) = self.writing.next();
        if is_due { self.journal(warm_order(id, epoch, lsn)) } else { Ok(false) }
    }

    /// A record is too long; whether that is the doing of an agent, which is ended then. The runtime goes on.
    pub(super) fn blame_agent(&mut self, record: &Record, error: &WriteError) -> bool {
        let worker = {
            let served = self.shared.borrow();
            let task = record.body.task().and_then(|task| served.folded.state.task(task));
            let agent = task.and_then(|task| task.agent.as_ref());
            agent.and_then(|agent| agent.worker.as_ref()).map(|worker| worker.spawn_id.clone())
        };
        let (Some(worker), Some(task)) = (worker, record.body.task()) else { return false };
        let held = self.agents.entry(worker.clone()).or_default();
        if held.unfit.is_none() {
            tracing::error!(%error, task, worker, "what an agent said does not fit into the journal");
            held.unfit = Some(format!("what the agent said does not fit into the journal: {error}"));
            self.look_at.insert(task.to_owned());
        }
        true
    }

    /// Writes a record; whether it was taken. A full queue: all is looked at again with the next tick.
    pub(super) fn journal(&mut self, body: Body) -> Result<bool, RunError> {
        self.write(&Record::new(now_ms(), body)).map(|written| written.is_some())
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

/// A worker may be ordered for the task though no turn asks for one: none stands, and nothing runs or waits.
pub(super) fn may_be_warm(task: &Task) -> bool {
    let has_none = task.agent.as_ref().is_some_and(|agent| agent.worker.is_none());
    has_none && task.standing == Standing::Open && task.running.is_none() && task.queue.is_empty()
}

/// The order, as the record with this number.
pub(super) fn warm_order(task: &str, epoch: u64, lsn: u64) -> Body {
    let (task, spawn_id, why) = (task.to_owned(), spawn_id(epoch, lsn), OrderedFor::Warm);
    Body::WorkerOrdered(record::WorkerOrdered { task, spawn_id, number: 1, why })
}
