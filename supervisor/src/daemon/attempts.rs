//! The actions of an attempt, performed; and what the inactive slot is to be without one.

use super::looks::LOOK;
use super::{Event, SuperviseError, Supervisor};
use crate::attempt::{self, Attempt, Rules};
use crate::io::probe::probe;
use crate::settings::Standby;
use crate::transition::{Event as Input, Runtime};
use holdfast_shared::home::Role;
use holdfast_shared::runtime_control::{RuntimeReport, SetRole, TransitionRole};
use holdfast_shared::slot::Slot;
use std::time::Duration;

impl Supervisor {
    /// Takes an event into the attempt.
    pub(super) fn advance_attempt(&mut self, event: attempt::Event) -> Result<(), SuperviseError> {
        let rules = Rules { good_probes: self.settings.supervisor.good_probes };
        let (next, actions) = self.attempt.step(event, rules);
        let before = std::mem::replace(&mut self.attempt, next);
        if std::mem::discriminant(&before) != std::mem::discriminant(&next) {
            self.attempt_no += 1;
            tracing::info!(state = next.name(), "attempt");
        }
        let entered = before.name() != next.name();
        // A switch notes itself together with its epoch, in one batch.
        if entered && !matches!(next, Attempt::Switching { .. }) {
            self.note_now()?;
        }
        for action in actions {
            self.act_attempt(action, entered)?;
        }
        Ok(())
    }

    fn act_attempt(&mut self, action: attempt::Action, entered: bool) -> Result<(), SuperviseError> {
        match action {
            attempt::Action::Start(slot) => self.start_child(Role::Runtime(slot)),
            attempt::Action::Switch(slot) => {
                let forward = matches!(self.attempt, Attempt::Switching { back: false, .. });
                match self.memory_blocks(slot).filter(|_| forward) {
                    Some(_) => self.advance_attempt(attempt::Event::MemoryBlocked),
                    None => self.advance(Input::Switch(slot)),
                }
            }
            attempt::Action::Stop(slot) => {
                // One that serves is never ended, nor one that a settlement may be about to activate.
                if self.transition.owner().is_some_and(|owner| owner.slot != slot) {
                    self.end_child(Role::Runtime(slot));
                }
                Ok(())
            }
            attempt::Action::Arm => {
                let own = &self.settings.supervisor;
                let time = match self.attempt {
                    Attempt::Probation { .. } => own.probation_ms,
                    _ => own.prewarming_ms,
                };
                let event = Event::Attempt(self.attempt_no, attempt::Event::Deadline);
                self.later(Duration::from_millis(time), event);
                Ok(())
            }
            attempt::Action::Probe(slot) => {
                self.probe(slot, entered);
                Ok(())
            }
            attempt::Action::Finish(outcome) => self.finish_attempt(outcome),
        }
    }

    fn probe(&self, slot: Slot, first: bool) {
        let own = &self.settings.supervisor;
        let (timeout, number, events) = (own.probe_timeout(), self.attempt_no, self.events.clone());
        let wait = if first { Duration::ZERO } else { Duration::from_millis(own.probe_interval_ms) };
        let address = self.sidecar.address();
        let token = self.sidecar.probe_token(slot).to_owned();
        let client = self.processes.client(slot);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            let good = match (address, client.get::<RuntimeReport>("/v1/status", timeout).await) {
                (Some(address), Ok(report)) if report.healthy => {
                    let probed = probe(address, &token, slot, &report.runtime_instance_id, timeout).await;
                    probed.map_err(|error| tracing::warn!(%slot, %error, "probe")).is_ok()
                }
                (_, Ok(report)) => {
                    tracing::warn!(%slot, problems = ?report.problems, "probe: not healthy");
                    false
                }
                (_, Err(error)) => {
                    tracing::warn!(%slot, %error, "probe");
                    false
                }
            };
            let _ = events.send(Event::Attempt(number, attempt::Event::Probed(slot, good))).await;
        });
    }

    fn finish_attempt(&mut self, outcome: Result<Slot, attempt::Failure>) -> Result<(), SuperviseError> {
        self.failure = outcome.err().map(|failure| failure.to_string()).unwrap_or_default();
        self.answer_switch(outcome);
        self.note_now()?;
        self.reconcile_inactive()
    }

    /// Brings the inactive slot to what it is to be while no attempt is under way.
    pub(super) fn reconcile_inactive(&mut self) -> Result<(), SuperviseError> {
        let Some(owner) = self.transition.owner() else { return Ok(()) };
        if self.attempt != Attempt::Idle || self.stopping.is_some() {
            return Ok(());
        }
        let slot = owner.slot.other();
        match (self.settings.standby, self.transition.runtime(slot)) {
            (Standby::Warm, Runtime::Absent) => self.start_child(Role::Runtime(slot)),
            (Standby::Warm, Runtime::Ready) => {
                self.name_standby(slot);
                Ok(())
            }
            (Standby::None, Runtime::Starting | Runtime::Ready) => {
                self.end_child(Role::Runtime(slot));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn name_standby(&mut self, slot: Slot) {
        let Some(report) =
            self.processes.process(Role::Runtime(slot)).and_then(|process| process.report.as_ref())
        else {
            return;
        };
        if matches!(report.transition_role, TransitionRole::Standby | TransitionRole::Active) {
            return;
        }
        let request = SetRole { decision: self.transition.decision, role: TransitionRole::Standby };
        let (client, events, decision) =
            (self.processes.client(slot), self.events.clone(), self.transition.decision);
        tokio::task::spawn_local(async move {
            match client.post::<_, RuntimeReport>("/v1/role", &request, LOOK).await {
                Ok(report) => drop(events.send(Event::Reported(slot, decision, Box::new(report))).await),
                Err(error) => tracing::warn!(%slot, %error, "name the standby"),
            }
        });
    }
}
