//! Starting a worker: only where its workspace is the task's own.

use super::super::active::Active;
use super::super::{Event, RunError};
use super::Workspace;
use super::happened::Why;
use crate::agent::life::Deed;
use crate::io::files::{self, Identity};
use crate::record::{self, Body, TaskFailure};
use crate::span::StopReason;
use holdfast_shared::error::Code;

impl Active {
    /// Asks for the worker once its workspace is known to be the task's own.
    pub(super) fn spawn_agent(&mut self, id: &str, worker: &str) -> Result<bool, RunError> {
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

    /// Whether the worker of a command's turn may be asked for; `None` while its workspace is being looked at. One that
    /// may not start there counts as refused.
    pub(in crate::daemon) fn workspace_is_own(&mut self, id: &str) -> Option<bool> {
        let worker = self.shared.borrow().folded.state.task(id)?.worker()?.to_owned();
        let held = self.agents.entry(worker.clone()).or_default();
        match &held.workspace {
            Workspace::Good => Some(true),
            Workspace::Asked => None,
            Workspace::Bad(why) => {
                self.workers.refuse(&worker, format!("{}: {}", why.code, why.message));
                Some(false)
            }
            Workspace::Unknown => {
                held.workspace = Workspace::Asked;
                self.look_at_workspace(id, &worker);
                None
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

    pub(in crate::daemon) fn workspace_seen(
        &mut self,
        id: &str,
        worker: &str,
        found: Result<Identity, TaskFailure>,
    ) -> Result<(), RunError> {
        let seen = match found {
            Ok(Identity::Known) => Workspace::Good,
            Ok(Identity::New(identity)) => {
                let task = id.to_owned();
                let fixed = Body::WorkspaceFixed(record::WorkspaceFixed { task, id: identity });
                // Nothing is started before it is durable; with a full queue it is looked at again.
                if self.journal(fixed)? { Workspace::Good } else { Workspace::Unknown }
            }
            // There may be room with a later tick, as for the supervisor that would start it.
            Err(why) if why.code == Code::StorageFull.as_str() => {
                tracing::warn!(task = id, worker, why = why.message, "workspace cannot be made now");
                Workspace::Unknown
            }
            Err(why) => Workspace::Bad(why),
        };
        // The worker's turn may be over.
        let Some(held) = self.agents.get_mut(worker) else { return Ok(()) };
        held.workspace = seen;
        if matches!(held.workspace, Workspace::Unknown) {
            return Ok(());
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
}
