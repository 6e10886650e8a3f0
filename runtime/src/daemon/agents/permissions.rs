//! How many requests for permission wait for people: journaled when it changes, since whoever lists tasks is told.
//!
//! That an agent asks is in its spool alone, and channel `tasks` has an event for a record of the journal.

use super::super::RunError;
use super::super::active::Active;
use super::requests::pending_permissions;
use crate::record::{Body, PermissionsPending};

/// So many of a task's are counted: a person needs no longer number, and each is looked for among the turn's events.
const COUNTED: usize = 100;

impl Active {
    /// Journals how many wait now, if that is another number than was told; whether it is.
    pub(super) fn count_permissions(&mut self, id: &str) -> Result<bool, RunError> {
        match self.changed_permissions(id) {
            Some(body) => self.journal(body),
            None => Ok(false),
        }
    }

    fn changed_permissions(&self, id: &str) -> Option<Body> {
        let served = self.shared.borrow();
        let task = served.folded.state.task(id)?;
        let worker = task.agent.as_ref()?.worker.as_ref().filter(|worker| worker.ready)?;
        // What was not read yet may have asked, or be of another turn.
        served.known_outputs(id)?;
        let pending = pending_permissions(&served, task, worker).take(COUNTED).count() as u64;
        let (task, spawn_id) = (id.to_owned(), worker.spawn_id.clone());
        (pending != worker.pending).then_some(Body::PermissionsPending(PermissionsPending {
            task,
            spawn_id,
            pending,
        }))
    }
}
