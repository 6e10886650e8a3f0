//! The actions of an attempt, performed.

use super::requests::Asked;
use super::{Event, SuperviseError, Supervisor, TICK, now_ms};
use crate::attempt::{self, Action, Attempts, Change, Operation, Refused, State};
use crate::io::probe::probe;
use crate::transition::{Event as Input, Runtime};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::runtime_control::RuntimeReport;
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};
use std::time::Duration;

impl Supervisor {
    /// What the journal says of attempts.
    pub(super) fn attempts(&self) -> &Attempts {
        &self.journal.state().attempts
    }

    /// Takes what was seen of the world into the attempt. Until the node is settled nothing of that is compared with
    /// what the journal says.
    pub(super) fn advance_attempt(&mut self, event: attempt::Event) -> Result<(), SuperviseError> {
        if self.recovering {
            return Ok(());
        }
        if let Err(refused) = self.ask_attempt(event)? {
            tracing::warn!(%refused, "attempt");
        }
        Ok(())
    }

    /// Takes an event into the attempt: step, journal, adopt, act.
    pub(super) fn ask_attempt(
        &mut self,
        event: attempt::Event,
    ) -> Result<Result<(), Refused>, SuperviseError> {
        let serves = matches!(event, attempt::Event::Serves(_));
        let mut rules = self.settings.supervisor.rules();
        rules.auto_promote &= !self.has_live_work();
        let step = match attempt::step(self.attempts(), event, now_ms(), &rules) {
            Ok(step) => step,
            Err(refused) => return Ok(Err(refused)),
        };
        let before = self.state_of_attempt();
        self.record_attempt(step.changes, serves)?;
        let entered = before != self.state_of_attempt();
        if entered {
            self.arm_attempt();
            self.tell_pending();
        }
        for action in step.actions {
            self.act_attempt(action, entered)?;
        }
        Ok(Ok(()))
    }

    /// Whoever waits for the attempt does not wait for a promotion, which may come in days.
    fn tell_pending(&mut self) {
        let current = self.attempts().current.as_ref();
        if let Some(attempt) = current.filter(|attempt| attempt.state == State::RootPromotionPending).cloned()
        {
            let active = self.facts(&self.transition).active();
            self.waiting.tell(&attempt, &active);
        }
    }

    fn state_of_attempt(&self) -> Option<(u64, State, i64, i64)> {
        let current = self.attempts().current.as_ref();
        current.map(|attempt| (attempt.number, attempt.state, attempt.entered_at, attempt.leaves_at))
    }

    /// Journals what changes, durably before anything is done, and takes it. The beginning of a switch becomes durable
    /// together with its epoch; what follows from the end of one, with the next sync: browsers wait meanwhile.
    fn record_attempt(&mut self, changes: Vec<Change>, serves: bool) -> Result<(), SuperviseError> {
        if changes.is_empty() {
            return Ok(());
        }
        for change in &changes {
            if let Change::Attempt(attempt) = change {
                tracing::info!(attempt = attempt.id(), state = attempt.state.name(), "attempt");
            }
        }
        self.journal.append_later(changes.into_iter().map(crate::node_state::Change::Attempt).collect())?;
        // A switch notes itself together with its epoch, in one batch.
        if matches!(self.attempts().state(), Some(State::Switching | State::RollingBack)) {
            return Ok(());
        }
        self.note_now()?;
        if serves { Ok(()) } else { Ok(self.journal.sync()?) }
    }

    /// A state of the attempt was entered, or found: what belongs to an earlier one is over, and it has its time.
    pub(super) fn arm_attempt(&mut self) {
        self.attempt_no += 1;
        self.probes_in_a_row = 0;
        if let Some(timer) = self.attempt_timer.take() {
            timer.abort();
        }
        let rules = self.settings.supervisor.rules();
        let left = self.attempts().current.as_ref().map(|attempt| attempt.remaining_ms(now_ms(), &rules));
        if let Some(left) = left {
            self.arm_attempt_in(Duration::from_millis(left.unsigned_abs()));
        }
    }

    fn arm_attempt_in(&mut self, time: Duration) {
        let timer = self.later(time, Event::AttemptDeadline(self.attempt_no));
        self.attempt_timer = Some(timer);
    }

    /// The state's time is over. What begins with it waits until the node is settled.
    pub(super) fn attempt_deadline(&mut self, number: u64) -> Result<(), SuperviseError> {
        if number != self.attempt_no || self.stopping.is_some() {
            return Ok(());
        }
        let begins = self.attempts().state().is_some_and(State::waits);
        if self.recovering || begins && self.transition.owner().is_none() {
            self.arm_attempt_in(TICK);
            return Ok(());
        }
        self.advance_attempt(attempt::Event::Deadline)
    }

    /// This slot's runtime serves, by a switch or by settling.
    pub(super) fn serves(&mut self, slot: Slot) -> Result<(), SuperviseError> {
        self.probes_in_a_row = 0;
        let event = match std::mem::take(&mut self.recovering) {
            true => attempt::Event::Recovered { serves: slot, ready: self.is_ready(slot.other()) },
            false => attempt::Event::Serves(slot),
        };
        self.advance_attempt(event)
    }

    pub(super) fn probed(&mut self, number: u64, slot: Slot, good: bool) -> Result<(), SuperviseError> {
        if number != self.attempt_no {
            return Ok(());
        }
        self.probes_in_a_row = if good { self.probes_in_a_row.saturating_add(1) } else { 0 };
        self.advance_attempt(attempt::Event::Probed(slot, self.probes_in_a_row))
    }

    fn act_attempt(&mut self, action: Action, entered: bool) -> Result<(), SuperviseError> {
        match action {
            Action::Start(slot) => {
                if let Some(live) = self.live_work(slot) {
                    return self.advance_attempt(live);
                }
                self.renew_candidate(slot);
                if self.is_ready(slot) {
                    return self.advance_attempt(attempt::Event::Ready(slot));
                }
                if self.attempts().warming() == Some(slot)
                    && let Some(why) = self.memory_blocks(slot)
                {
                    tracing::warn!(why, "no candidate beside the active");
                    let blocked = attempt::Event::Blocked(attempt::PlannedReason::MemoryBlocked);
                    return self.advance_attempt(blocked);
                }
                self.start_child(Role::Runtime(slot))
            }
            Action::Switch(slot) => self.begin_switch(slot),
            Action::StopAndSwitch(slot) => match self.live_work(slot) {
                Some(live) => self.advance_attempt(live),
                None => self.advance(Input::StopAndSwitch(slot)),
            },
            Action::Stop(slot) => {
                // One that serves is never ended, nor one that a settlement may be about to activate.
                if self.transition.owner().is_some_and(|owner| owner.slot != slot) {
                    self.end_child(Role::Runtime(slot));
                }
                Ok(())
            }
            Action::Probe(slot) => {
                self.probe(slot, entered);
                Ok(())
            }
            Action::Ended(attempt) => {
                self.counted.ended_attempt(&attempt);
                let active = self.facts(&self.transition).active();
                self.waiting.tell(&attempt, &active);
                self.reconcile_inactive()
            }
            Action::Next(request) => {
                let responder = self.waiting.next.take().unwrap_or_else(|| tokio::sync::oneshot::channel().0);
                self.look_at_demands(Asked::queued(&request), responder);
                Ok(())
            }
            Action::Deduplicated => {
                let active = self.facts(&self.transition).active();
                if let Some(responder) = self.waiting.next.take() {
                    let _ = responder.send(Ok(json!({"outcome": "deduplicated", "active": active})));
                }
                Ok(())
            }
            Action::Prepare => self.prepare(),
            Action::Revoke => {
                self.revoke();
                Ok(())
            }
            Action::PlaceRoot => {
                self.place_root();
                Ok(())
            }
            Action::RestoreRoot => {
                self.restore_root();
                Ok(())
            }
        }
    }

    fn begin_switch(&mut self, slot: Slot) -> Result<(), SuperviseError> {
        let forward = self.attempts().state() == Some(State::Switching);
        if let Some(live) = self.live_work(slot) {
            return self.advance_attempt(live);
        }
        if forward && self.memory_blocks(slot).is_some() {
            return self.advance_attempt(attempt::Event::Blocked(attempt::PlannedReason::MemoryBlocked));
        }
        if !forward && self.transition.owner().is_none() {
            // It is being settled, by a stop-and-switch for one: what comes of that is told.
            return Ok(());
        }
        if !forward && !self.is_ready(slot) {
            if let Some(why) = self.memory_blocks(slot) {
                tracing::warn!(why, "the way back stops the other runtime first");
                return self.advance_attempt(attempt::Event::Blocked(attempt::PlannedReason::MemoryBlocked));
            }
            self.note_now()?;
            return self.start_child(Role::Runtime(slot));
        }
        self.advance(Input::Switch(slot))
    }

    /// The slot's runtime has caught up, and is to stay.
    pub(super) fn is_ready(&self, slot: Slot) -> bool {
        self.transition.runtime(slot) == Runtime::Ready
            && self.processes.process(Role::Runtime(slot)).is_some_and(|process| !process.ending)
    }

    /// An operator's wish for the attempt under way.
    pub(super) fn operate(
        &mut self,
        operation: Operation,
    ) -> Result<Result<Value, ApiError>, SuperviseError> {
        if self.recovering || self.stopping.is_some() {
            return Ok(Err(ApiError::new(Code::Unavailable, "the node is not settled")));
        }
        let refused = self.ask_attempt(attempt::Event::Operate(operation))?.err();
        Ok(match refused {
            Some(refused) => Err(ApiError::new(Code::Refused, refused.to_string())),
            None => Ok(json!({"update": self.facts(&self.transition).update(now_ms())})),
        })
    }

    /// The attempt under way and those that have ended, newest first.
    pub(super) fn list_attempts(&self) -> Value {
        let attempts = self.attempts();
        let all = attempts.current.iter().chain(attempts.ended.iter().rev());
        let waiting = attempts.subsequent.as_ref();
        json!({"attempts": all.map(attempt::Attempt::told).collect::<Vec<Value>>(), "subsequent_transition": waiting})
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
            let _ = events.send(Event::Probed(number, slot, good)).await;
        });
    }
}
