//! Starting a standing worker: only where its workspace is the task's own.

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
}
