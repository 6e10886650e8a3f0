//! What follows from what happened to a standing worker: another order, its end, the seal of its turn.

use super::super::RunError;
use super::super::active::Active;
use super::happened::{Happened, Why};
use crate::agent::life::{self, Deed, Phase};
use crate::io::filing;
use crate::order::{FIRST_TURN, spawn_id};
use crate::record::{self, AgentSeal, Body, EndingFor, OrderedFor, TaskFailure};
use crate::span::StopReason;
use crate::turn;

impl Active {
    /// What happened has its consequence.
    pub(super) fn follow_up(
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
        // The detail may hold what the agent wrote on standard error: it is told to people, and is nothing for a log.
        tracing::info!(task = id, worker = spawn_id, ?why, "agent is told to end");
        let task = id.to_owned();
        self.journal(Body::WorkerEnding(record::WorkerEnding { task, spawn_id, why, number, detail }))
    }

    pub(super) fn worker_gone(&mut self, id: &str, error: Option<TaskFailure>) -> Result<bool, RunError> {
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
    pub(super) fn seal_agent(&mut self, id: &str, deed: Deed, why: Why) -> Result<bool, RunError> {
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
            // It may be what it used that does not fit.
            let fits = self.agents.get(worker).is_none_or(|held| held.unfit.is_none());
            let exit = served.spools.exit(worker).filter(|_| ended);
            let failure = errored.then(|| why.failure());
            let code = failure.as_ref().map(|failure| failure.code.clone());
            let of_death = why.code.filter(|_| stop_reason != StopReason::Cancelled);
            let code = code.or_else(|| of_death.map(|code| code.as_str().to_owned()));
            let errored = failure.map(|failure| failure.message);
            let unused = agent.worker.as_ref().is_some_and(|worker| worker.served == 0) && place.segment == 0;
            let sealed = record::TurnSealed {
                task: id.to_owned(),
                turn: running.turn.clone(),
                stop_reason,
                exit_code: exit.map(turn::exit_code),
                outputs: place.outputs,
                errored,
                code,
                agent: Some(AgentSeal {
                    segment: place.segment,
                    base: place.base,
                    worker_ended: ended,
                    detail: why.detail,
                    usage: why.usage.filter(|usage| fits && !usage.is_empty()),
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

    /// A standing worker has ended, or another takes its place. One that no turn has output of leaves nothing.
    fn forget_agent(&mut self, worker: &str, unused: bool) {
        self.workers.forget(worker);
        self.agents.remove(worker);
        self.shared.borrow_mut().spools.leave(worker);
        if unused {
            self.remove_when_durable(worker);
        }
    }

    /// Removes a worker's directory once the record written last, which says that it is over, is durable: a journal
    /// that names a worker without a directory has it started.
    pub(super) fn remove_when_durable(&mut self, worker: &str) {
        let lsn = self.shared.borrow().folded.position.lsn;
        self.removals.push_back((lsn, worker.to_owned()));
    }

    /// The journal is durable up to `lsn`.
    pub(in crate::daemon) fn remove_unused(&mut self, lsn: u64) {
        while self.removals.front().is_some_and(|(at, _)| *at <= lsn) {
            let Some((_, worker)) = self.removals.pop_front() else { break };
            let (home, permit) = (self.shared.borrow().home.clone(), self.writing.permit());
            tokio::task::spawn_blocking(move || {
                if let Err(error) = filing::remove_unused(&home, &worker, &permit) {
                    tracing::warn!(%error, worker, "left behind");
                }
            });
        }
    }
}
