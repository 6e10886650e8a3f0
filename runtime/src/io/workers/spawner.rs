//! Asks the supervisor for workers, and what its answers mean.

use super::SPAWN_DEADLINE;
use crate::settings::Settings;
use holdfast_shared::control::{CallError, Client};
use holdfast_shared::error::Code;
use holdfast_shared::supervisor_control::{SpawnWorker, Spawned};
use std::cell::Cell;
use std::rc::Rc;

/// Asks for one command of an agent; with the longest pause of a second between them, about the time that a supervisor
/// takes to come back.
const SPAWN_ASKS: u32 = 40;

/// What the supervisor said to a request for a worker.
#[derive(Debug)]
pub enum SpawnOutcome {
    /// It exists.
    Started,
    /// It could not be started this time; its directory may be there.
    Failed(String),
    /// It will never be started.
    Refused(String),
    /// Nothing is known; to be asked again.
    Again(String),
}

/// Asks the supervisor for workers.
pub struct Spawner {
    pub(super) client: Rc<Client>,
    pub(super) epoch: u64,
    pub(super) settings: Settings,
}

impl Spawner {
    /// The epoch with which it asks.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Asks, and again as long as nothing is known, [`SPAWN_ASKS`] times at most, and until it is called off. Asking
    /// again starts nothing twice.
    ///
    /// # Errors
    /// Why the worker does not run.
    pub async fn until_answered(&self, request: &SpawnWorker, called_off: &Cell<bool>) -> Result<(), String> {
        let mut asks = 0;
        loop {
            if called_off.get() {
                return Err("the command is not wanted any more".to_owned());
            }
            let answer = self.client.post::<_, Spawned>("/v1/workers", request, SPAWN_DEADLINE).await;
            asks += 1;
            match outcome(answer) {
                SpawnOutcome::Started => return Ok(()),
                SpawnOutcome::Failed(why) | SpawnOutcome::Refused(why) => return Err(why),
                SpawnOutcome::Again(why) if asks == SPAWN_ASKS => return Err(why),
                SpawnOutcome::Again(_) => tokio::time::sleep(self.settings.spawn_pause(asks)).await,
            }
        }
    }
}

pub(super) fn outcome(answer: Result<Spawned, CallError>) -> SpawnOutcome {
    match answer {
        Ok(_) => SpawnOutcome::Started,
        Err(CallError::Refused(error)) => match error.code {
            Code::BootstrapFailed => SpawnOutcome::Failed(error.to_string()),
            // The supervisor may not have heard yet that this runtime is active.
            Code::NotActive => SpawnOutcome::Again(error.to_string()),
            _ if error.retryable => SpawnOutcome::Again(error.to_string()),
            _ => SpawnOutcome::Refused(error.to_string()),
        },
        Err(error) => SpawnOutcome::Again(error.to_string()),
    }
}
