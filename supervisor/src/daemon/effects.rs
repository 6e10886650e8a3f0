//! The actions of transition and attempt, performed.

use super::{Event, SuperviseError, Supervisor, now_ms};
use crate::attempt;
use crate::node_state::{Change, Epoch};
use crate::status::{Facts, Label};
use crate::transition::{
    ACTIVATE_MS, ASK_MS, Action, Event as Input, FENCE_MS, JournalEnd, Outcome, Owner, Phase, Record,
    Refusal, Report, Transition,
};
use holdfast_shared::control::{CallError, Client};
use holdfast_shared::decision::Decision;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::journal::inspect;
use holdfast_shared::runtime_control::{Activate, Activated, Ask, Fence, Fenced, RuntimeReport};
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::Wish;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Between two attempts to reach a runtime whose socket is not there yet.
const REDIAL: Duration = Duration::from_millis(10);

impl Supervisor {
    /// Takes an event into the transition: step, journal, adopt, act.
    pub(super) fn advance(&mut self, event: Input) -> Result<(), SuperviseError> {
        if self.stopping.is_some() {
            return Ok(());
        }
        match self.transition.step(event) {
            Ok((next, actions)) => self.adopt_and_act(next, actions),
            Err(illegal) => self.advance_attempt(attempt::Event::Refused(illegal.to_string())),
        }
    }

    pub(super) fn adopt_and_act(
        &mut self,
        next: Transition,
        actions: Vec<Action>,
    ) -> Result<(), SuperviseError> {
        for action in &actions {
            if let Action::Finish(outcome) = action {
                self.degraded = matches!(outcome, Outcome::Degraded);
                self.has_served |= !self.degraded;
            }
        }
        let mut changes: Vec<Change> = actions.iter().filter_map(record).collect();
        self.note(&next, &mut changes);
        // A used epoch is durable before anything is done with it. `Committed` only records what is durable in the
        // business journal, and browsers wait while it is written: its sync comes when they are served again.
        match changes.iter().any(|change| matches!(change, Change::Switching(_))) {
            true => self.journal.append(changes)?,
            false => self.journal.append_later(changes)?,
        }
        let before = std::mem::replace(&mut self.transition, next);
        if before.phase != self.transition.phase {
            tracing::info!(phase = ?self.transition.phase, "transition");
        }
        for action in actions {
            self.act(action)?;
        }
        self.measure_hold();
        Ok(())
    }

    /// Adds an event of channel `node` when what it would say has changed.
    fn note(&mut self, next: &Transition, changes: &mut Vec<Change>) {
        let facts = self.facts(next);
        let event = facts.node_event(0);
        if event == self.last_event {
            return;
        }
        let dated = facts.node_event(now_ms());
        changes.push(self.journal.state().node_event(0, dated));
        self.last_event = event;
    }

    /// Journals an event of channel `node` when what it would say has changed.
    pub(super) fn note_now(&mut self) -> Result<(), SuperviseError> {
        let mut changes = Vec::new();
        self.note(&self.transition.clone(), &mut changes);
        Ok(self.journal.append_later(changes)?)
    }

    /// What the statuses are made of.
    pub(super) fn facts<'a>(&'a self, transition: &Transition) -> Facts<'a> {
        let owner = match transition.phase {
            Phase::Settled { owner, .. } => Some(owner),
            Phase::Switching(switching) => Some(switching.from),
            Phase::Settling(_) => None,
        };
        let report =
            |slot| self.processes.process(Role::Runtime(slot)).and_then(|process| process.report.as_ref());
        Facts {
            label: Label::of(transition, self.has_served, self.degraded, self.stopping.is_some()),
            owner,
            active: owner.and_then(|owner| report(owner.slot)),
            other: owner.and_then(|owner| report(owner.slot.other())),
            attempts: self.attempts(),
            sidecar: transition.sidecar,
            units_awaited: self.promotion.units.is_awaited(),
        }
    }

    fn act(&mut self, action: Action) -> Result<(), SuperviseError> {
        match action {
            Action::Record(_) => {}
            Action::Hold(decision) => {
                self.held.0.get_or_insert_with(Instant::now);
                self.sidecar.wish(decision, Wish::Hold);
            }
            Action::Route(decision, Owner { slot, epoch }) => {
                self.sidecar.wish(decision, Wish::Route { slot, epoch });
                // Now, not at the end of the turn: everything is held.
                self.state_wish();
            }
            Action::Fence(decision, owner) => self.fence(decision, owner),
            Action::Activate(decision, owner, first) => self.activate(decision, owner, first),
            Action::Ask(decision, slot) => self.ask(decision, slot),
            Action::Kill(slot) => self.processes.kill(Role::Runtime(slot)),
            Action::ReadJournal(decision) => self.read_journal(decision),
            Action::Start(slot) => self.start_child(Role::Runtime(slot))?,
            Action::Arm(decision, milliseconds) => {
                let after = Duration::from_millis(milliseconds);
                let timer = self.later(after, Event::Transition(Input::Deadline(decision)));
                if let Some(earlier) = self.timer.replace(timer) {
                    earlier.abort();
                }
            }
            Action::Finish(outcome) => self.finished(outcome)?,
        }
        Ok(())
    }

    fn finished(&mut self, outcome: Outcome) -> Result<(), SuperviseError> {
        tracing::info!(?outcome, "transition ended");
        self.held.1 = matches!(outcome, Outcome::Switched(_));
        match outcome {
            Outcome::Switched(owner) | Outcome::Settled(owner) => {
                self.problems.clear();
                self.look(Slot::A);
                self.look(Slot::B);
                self.serves(owner.slot)
            }
            Outcome::Degraded => Ok(()),
        }
    }

    fn fence(&mut self, decision: Decision, owner: Owner) {
        let request = Fence { decision, epoch: owner.epoch };
        let within = Duration::from_millis(FENCE_MS);
        self.call::<_, Fenced>(owner.slot, "/v1/fence", request, within, move |answer| {
            Input::Fenced(decision, answer.map(drop).map_err(|error| refusal(&error)))
        });
    }

    fn activate(&mut self, decision: Decision, owner: Owner, first: bool) {
        let request = Activate { decision, epoch: owner.epoch, first };
        let within = Duration::from_millis(ACTIVATE_MS);
        self.call::<_, Activated>(owner.slot, "/v1/activate", request, within, move |answer| {
            Input::Activated(decision, answer.map(drop).map_err(|error| refusal(&error)))
        });
    }

    fn ask(&mut self, decision: Decision, slot: Slot) {
        let within = Duration::from_millis(ASK_MS);
        self.call::<_, RuntimeReport>(
            slot,
            "/v1/ask",
            Ask { decision, settled: false },
            within,
            move |answer| match answer {
                Ok(report) => Input::Asked(decision, slot, report_of(&report)),
                // It was told a higher decision: a later supervisor is at work, and this one's lock is gone.
                Err(_) => Input::Asked(decision, slot, Report { active: None, fit: false }),
            },
        );
    }

    /// Calls a runtime until it answers or the time is over; then the transition's own deadline speaks.
    fn call<B, R>(
        &self,
        slot: Slot,
        path: &'static str,
        body: B,
        within: Duration,
        event: impl FnOnce(Result<R, ApiError>) -> Input + 'static,
    ) where
        B: Serialize + 'static,
        R: DeserializeOwned + 'static,
    {
        let (client, events) = (self.processes.client(slot), self.events.clone());
        tokio::task::spawn_local(async move {
            let answered =
                tokio::time::timeout(within, call_until_answered(&client, path, &body, within)).await;
            match answered {
                Ok(answer) => drop(events.send(Event::Transition(event(answer))).await),
                Err(_) => tracing::warn!(path, %slot, "no answer"),
            }
        });
    }

    fn read_journal(&mut self, decision: Decision) {
        let (directory, events) = (self.home.journal(), self.events.clone());
        tokio::task::spawn_local(async move {
            let end = match tokio::task::spawn_blocking(move || inspect(&directory)).await {
                Ok(Ok(inspection)) => Some(JournalEnd {
                    last: inspection.last_activated.and_then(|activated| {
                        Some(Owner { slot: Slot::from_name(&activated.owner)?, epoch: activated.epoch })
                    }),
                    highest_epoch: inspection.highest_epoch,
                }),
                Ok(Err(error)) => {
                    tracing::error!(%error, "read the journal");
                    None
                }
                Err(error) => {
                    tracing::error!(%error, "read the journal");
                    None
                }
            };
            let _ = events.send(Event::Transition(Input::JournalRead(decision, end))).await;
        });
    }
}

async fn call_until_answered<B: Serialize, R: DeserializeOwned>(
    client: &Rc<Client>,
    path: &str,
    body: &B,
    within: Duration,
) -> Result<R, ApiError> {
    loop {
        match client.post(path, body, within).await {
            Ok(answer) => return Ok(answer),
            Err(CallError::Refused(error)) => return Err(error),
            // Not there yet, or gone: its death comes by pidfd. Every request may be repeated.
            Err(error) => tracing::debug!(%error, "call"),
        }
        tokio::time::sleep(REDIAL).await;
    }
}

fn record(action: &Action) -> Option<Change> {
    let Action::Record(record) = action else { return None };
    Some(match *record {
        Record::Switching(Owner { slot, epoch }) => Change::Switching(Epoch { slot, epoch }),
        Record::Committed(Owner { slot, epoch }) => Change::Committed(Epoch { slot, epoch }),
    })
}

fn report_of(report: &RuntimeReport) -> Report {
    Report { active: report.epoch, fit: report.caught_up && report.healthy }
}

fn refusal(error: &ApiError) -> Refusal {
    tracing::warn!(%error, "refused");
    match error.code {
        Code::StaleDecision => Refusal::Stale,
        Code::NotActive | Code::Unavailable | Code::Busy => Refusal::NotNow,
        _ => Refusal::Unfit,
    }
}
