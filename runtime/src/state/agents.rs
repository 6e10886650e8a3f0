//! The part of the fold that is about agents alone.

use super::{Placed, State};
use crate::agent::{Agent, Ending};
use crate::event;
use crate::record::{self, Body};
use crate::task::{Standing, Task};
use serde_json::{Value, json};

impl State {
    /// The kinds that are about agents alone.
    pub(super) fn with_agent(&mut self, body: &Body, at: u64, placed: &mut Vec<Placed>) {
        match body {
            Body::WorkerOrdered(ordered) => self.agent(&ordered.task, |agent| {
                agent.order(&ordered.spawn_id, ordered.number, at);
            }),
            Body::WorkspaceFixed(fixed) => {
                if let Some(task) = self.tasks.get_mut(&fixed.task) {
                    task.workspace = Some(fixed.id.clone());
                }
            }
            Body::SessionReady(ready) => {
                let was_used = self.task(&ready.task).is_some_and(|task| task.ended_turns() > 0);
                self.agent(&ready.task, |agent| agent.ready(ready, was_used, at));
            }
            Body::SessionLost(lost) => self.with(&lost.task, |task| session_lost(task, lost, at), placed),
            Body::WorkerEnding(ending) => self.agent(&ending.task, |agent| worker_ending(agent, ending)),
            Body::WorkerEnded(ended) => {
                if let Some(task) = self.tasks.get_mut(&ended.task) {
                    worker_ended(task, ended);
                }
            }
            Body::RequestTaken(taken) => self.agent(&taken.task, |agent| agent.take(taken)),
            Body::TerminalAsked(asked) => self.agent(&asked.task, |agent| agent.asked(asked)),
            Body::TerminalExited(exited) | Body::TerminalSettled(exited) => {
                self.agent(&exited.task, |agent| agent.exited(exited));
            }
            Body::TerminalGone(gone) => self.agent(&gone.task, |agent| {
                agent.terminals.retain(|terminal| terminal.spawn_id != gone.terminal);
            }),
            Body::PermissionAnswered(answered) => {
                self.with(&answered.task, |task| permission_answered(task, answered, at), placed)
            }
            Body::PermissionsPending(counted) => self.agent(&counted.task, |agent| {
                if let Some(worker) = agent.worker_mut(&counted.spawn_id) {
                    worker.pending = counted.pending;
                }
            }),
            Body::ModeSet(set) => self.agent(&set.task, |agent| agent.ask_mode(set)),
            Body::ModeSaid(said) => self.agent(&said.task, |agent| agent.mode_said(said)),
            Body::TaskSwitching(switching) => self.agent(&switching.task, |agent| {
                (agent.wanted, agent.switching) = (true, Some(switching.deadline));
                agent.worker.iter_mut().for_each(|worker| worker.used_at = at);
            }),
            Body::TaskError(error) => self.agent(&error.task, |agent| {
                (agent.switching, agent.failed) = (None, None);
            }),
            _ => {}
        }
    }

    pub(super) fn agent(&mut self, task: &str, change: impl FnOnce(&mut Agent)) {
        if let Some(agent) = self.tasks.get_mut(task).and_then(|task| task.agent.as_mut()) {
            change(agent);
        }
    }

    pub(super) fn ready_fields(&self, task: &str) -> Value {
        let agent = self.task(task).and_then(|task| task.agent.as_ref());
        let Some(session) = agent.and_then(|agent| agent.session.as_ref()) else { return json!({}) };
        let mut said = json!({"resumed": session.resumed});
        if session.lost {
            said["lost"] = json!(true);
        }
        if let Some(modes) = &session.modes {
            said["modes"] = json!(modes);
        }
        json!({"session": said})
    }
}

fn worker_ending(agent: &mut Agent, ending: &record::WorkerEnding) {
    let Some(worker) = agent.worker_mut(&ending.spawn_id) else { return };
    let (why, number, detail) = (ending.why, ending.number, ending.detail.clone());
    worker.next = worker.next.max(number + 1);
    worker.ending = Some(Ending { why, number, detail });
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

fn session_lost(task: &mut Task, lost: &record::SessionLost, at: u64) -> Vec<u64> {
    if let Some(agent) = &mut task.agent {
        agent.loss_unsaid = false;
    }
    let Some(turn) = task.running.as_ref().map(|running| running.turn.clone()) else { return Vec::new() };
    task.conversation.place(lost.after, event::session_lost(&turn, at)).into_iter().collect()
}

fn permission_answered(task: &mut Task, answered: &record::PermissionAnswered, at: u64) -> Vec<u64> {
    let worker = task.agent.as_mut().and_then(|agent| agent.worker_mut(&answered.spawn_id));
    if let Some(worker) = worker {
        worker.permitted(answered);
    }
    let event = event::permission_answered(answered, at);
    task.conversation.place(answered.after, event).into_iter().collect()
}
