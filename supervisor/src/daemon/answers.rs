//! Answers to what is asked on the control socket.

use super::requests::Asked;
use super::{Event, SuperviseError, Supervisor};
use crate::attempt::Kind;
use crate::command::Command;
use crate::io::control::Responder;
use crate::io::{cgroups, skills, stop_tree, workers};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::supervisor_control::SpawnWorker;
use serde_json::{Value, json};
use std::time::Duration;

/// The sidecar is told that the node stops before it is stopped itself.
const STOP_IS_SAID: Duration = Duration::from_millis(50);

impl Supervisor {
    pub(super) fn command(&mut self, command: Command, responder: Responder) -> Result<(), SuperviseError> {
        let answer = match command {
            Command::Status => Ok(self.status()),
            Command::Switch(request) => {
                self.look_at_demands(Asked::by_operator(Kind::Switch, request.to), responder);
                return Ok(());
            }
            Command::Rollback(_) => {
                self.look_at_demands(Asked::by_operator(Kind::Rollback, None), responder);
                return Ok(());
            }
            Command::Update(request) => {
                self.look_at_demands(Asked::for_bundle(request), responder);
                return Ok(());
            }
            Command::Attempts => Ok(self.list_attempts()),
            Command::Operate(operation) => self.operate(operation)?,
            Command::Stop(request) => return self.stop(request.keep_workers, responder),
            Command::ListTokens => Ok(self.list_tokens()),
            Command::NewToken(request) => self.new_token(&request)?,
            Command::RevokeToken(request) => self.revoke_token(request.id)?,
            Command::Slots => Ok(self.slots()),
            Command::Events => Ok(self.last_events()),
            Command::Metrics => {
                self.measure(responder);
                return Ok(());
            }
            Command::Spawn(request) => {
                self.spawn(request, responder);
                return Ok(());
            }
            Command::ListSkills => {
                let (home, settings) = (self.home.clone(), self.settings.supervisor.clone());
                apart(responder, move || {
                    let mut all = skills::list(&home)?;
                    all["limits"] = cgroups::means(&home, settings.worker_cgroup.as_deref());
                    Ok(all)
                });
                return Ok(());
            }
            Command::InstallSkill(request) => {
                let home = self.home.clone();
                apart(responder, move || skills::install(&home, &request.directory));
                return Ok(());
            }
            Command::RemoveSkill(request) => {
                let home = self.home.clone();
                apart(responder, move || skills::remove(&home, &request.name));
                return Ok(());
            }
        };
        // Whoever asked may have gone.
        let _ = responder.send(answer);
        Ok(())
    }

    fn stop(&mut self, keep_workers: bool, responder: Responder) -> Result<(), SuperviseError> {
        if let Some(waiting) = &mut self.stopping {
            waiting.push(responder);
            return Ok(());
        }
        tracing::info!(keep_workers, "stopping everything");
        self.stopping = Some(vec![responder]);
        self.note_now()?;
        self.journal.sync()?;
        self.state_wish();
        let (home, events) = (self.home.clone(), self.events.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(STOP_IS_SAID).await;
            let stopped =
                tokio::task::spawn_blocking(move || stop_tree::stop_children(&home, keep_workers)).await;
            let _ = events.send(Event::Stopped(stopped.unwrap_or_default())).await;
        });
        Ok(())
    }

    pub(super) fn answer_stopped(&mut self, stopped: stop_tree::Stopped) {
        tracing::info!(?stopped, "stopped");
        for responder in self.stopping.take().unwrap_or_default() {
            let _ = responder.send(Ok(json!({
                "workers": stopped.workers, "killed_workers": stopped.killed_workers, "left": stopped.left,
            })));
        }
    }

    fn spawn(&mut self, request: SpawnWorker, responder: Responder) {
        if self.stopping.is_some() {
            let _ = responder.send(Err(ApiError::new(Code::Unavailable, "the node is stopping")));
            return;
        }
        let active = self.transition.owner().map(|owner| owner.epoch);
        if active != Some(request.epoch) {
            let message = format!("epoch {} is not the active one's", request.epoch);
            let _ = responder.send(Err(ApiError::new(Code::NotActive, message)));
            return;
        }
        let (home, settings) = (self.home.clone(), self.settings.clone());
        apart(responder, move || workers::start(&home, &request, &settings).map(|spawned| json!(spawned)));
    }
}

/// Answers from a thread of its own: what is asked for reads and writes files.
fn apart(responder: Responder, answer: impl FnOnce() -> Result<Value, ApiError> + Send + 'static) {
    tokio::task::spawn_local(async move {
        let answer = tokio::task::spawn_blocking(answer).await;
        // Whoever asked may have gone.
        let _ = responder.send(
            answer
                .unwrap_or_else(|error| Err(ApiError::new(Code::InternalError, format!("answer: {error}")))),
        );
    });
}
