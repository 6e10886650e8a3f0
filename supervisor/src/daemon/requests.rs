//! A change of the serving runtime that is asked for: what stands against it, and who waits for its end.

use super::waiting::Wanted;
use super::{Event, SuperviseError, Supervisor, TICK, now_ms};
use crate::admission::{Demands, obstacle};
use crate::attempt::{self, Kind, Operation, Request, State};
use crate::command::Update;
use crate::io::control::Responder;
use crate::io::found::{Found, find};
use crate::io::slots;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use holdfast_shared::version;

/// What somebody asks for, before it is known whether it is possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    kind: Kind,
    to: Option<Slot>,
    bundle: Option<String>,
    allow_downgrade: bool,
    /// It waited for the end of another one since then.
    queued_at: Option<i64>,
}

impl Asked {
    pub(super) fn by_operator(kind: Kind, to: Option<Slot>) -> Self {
        Asked { kind, to, bundle: None, allow_downgrade: false, queued_at: None }
    }

    pub(super) fn for_bundle(request: Update) -> Self {
        let Update { bundle, allow_downgrade } = request;
        Asked { kind: Kind::Update, to: None, bundle: Some(bundle), allow_downgrade, queued_at: None }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn queued(request: &Request) -> Self {
        let update = request.kind == Kind::Update;
        Asked {
            kind: request.kind,
            // An update goes into whichever slot does not serve then.
            to: (!update).then_some(request.slot),
            bundle: request.bundle.clone(),
            allow_downgrade: request.allow_downgrade,
            queued_at: Some(request.requested_at),
        }
    }
}

impl Supervisor {
    /// Reads what the journal holds, then goes on with [`Self::asked`]. A journal that cannot be read now (its writer
    /// is at work) is judged by whoever takes it over.
    pub(super) fn look_at_demands(&self, asked: Asked, responder: Responder) {
        let (home, events) = (self.home.clone(), self.events.clone());
        tokio::task::spawn_local(async move {
            let looked = tokio::task::spawn_blocking(move || find(&home)).await;
            let found = looked.unwrap_or_else(|error| {
                tracing::error!(%error, "look what is there");
                Found::default()
            });
            let _ = events.send(Event::Demanded(asked, found, responder)).await;
        });
    }

    pub(super) fn asked(
        &mut self,
        asked: &Asked,
        found: &Found,
        responder: Responder,
    ) -> Result<(), SuperviseError> {
        if asked.queued_at.is_some() && self.transition.owner().is_none() && self.stopping.is_none() {
            // Its turn has come and the node is still settling.
            self.later(TICK, Event::Demanded(asked.clone(), found.clone(), responder));
            return Ok(());
        }
        let request = match self.possible(asked, found) {
            Ok(request) => request,
            Err(why) => return self.refuse(asked, responder, ApiError::new(Code::Refused, why)),
        };
        if let Some(refusal) = self.live_work_refuses(asked) {
            return self.refuse(asked, responder, refusal);
        }
        if self.attempts().queues() {
            self.waiting.wait_for_next(responder);
            return self.advance_attempt(attempt::Event::Request { request, ready: false, settled: false });
        }
        let (number, wanted, event) = match &self.attempts().current {
            Some(current) if asked.kind == Kind::Rollback => {
                (current.number, Wanted::Back, attempt::Event::Operate(Operation::Rollback))
            }
            _ => {
                let number = self.attempts().numbered + 1;
                if !request.is_update() {
                    self.renew_candidate(request.slot);
                }
                let ready = self.is_ready(request.slot);
                (number, Wanted::Forward, attempt::Event::Request { request, ready, settled: true })
            }
        };
        // Before it begins: it may end at once.
        self.waiting.wait(number, wanted, responder);
        if let Err(refused) = self.ask_attempt(event)?
            && let Some(responder) = self.waiting.take_back()
        {
            return self.refuse(asked, responder, ApiError::new(Code::Refused, refused.to_string()));
        }
        Ok(())
    }

    fn refuse(&mut self, asked: &Asked, responder: Responder, why: ApiError) -> Result<(), SuperviseError> {
        let _ = responder.send(Err(why));
        match asked.queued_at {
            Some(_) => self.advance_attempt(attempt::Event::Dropped),
            None => Ok(()),
        }
    }

    /// The request, or what stands against it now. One that has to wait is looked at when its turn comes.
    fn possible(&mut self, asked: &Asked, found: &Found) -> Result<Request, String> {
        let not_settled = || "the node is not settled; try again when `status` says running".to_owned();
        if self.stopping.is_some() || self.recovering {
            return Err(not_settled());
        }
        let state = self.attempts().state();
        if asked.kind == Kind::Rollback
            && let Some(why) = Operation::Rollback.refused(state)
        {
            return Err(why.into());
        }
        if let Some(current) = self.attempts().current.as_ref().filter(|_| self.attempts().queues()) {
            return Ok(self.request(asked, asked.to.unwrap_or(current.request.slot)));
        }
        let owner = self.transition.owner().ok_or_else(not_settled)?;
        let to = asked.to.unwrap_or(owner.slot.other());
        if to == owner.slot {
            return Err(format!("slot {to} is active already"));
        }
        let back = state.is_some() && asked.kind == Kind::Rollback;
        if state == Some(State::Probation) && !back && self.probes_in_a_row == 0 {
            return Err("the last switch is in probation and its last probe was not good".into());
        }
        if asked.kind == Kind::Update {
            // What is in the slot now goes; what comes is judged when it is there.
            return Ok(self.request(asked, to));
        }
        match self.release_blocks(to, found) {
            Some(why) => Err(why),
            None => Ok(self.request(asked, to)),
        }
    }

    fn request(&self, asked: &Asked, slot: Slot) -> Request {
        let in_slot = slots::manifest(&self.home, slot).ok().flatten().filter(|_| asked.bundle.is_none());
        Request {
            kind: asked.kind,
            slot,
            release: in_slot.map(|manifest| manifest.version),
            bundle: asked.bundle.clone(),
            allow_downgrade: asked.allow_downgrade,
            requested_at: asked.queued_at.unwrap_or_else(now_ms),
        }
    }

    /// Why the release in this slot may not become active; `None`: it may.
    pub(super) fn release_blocks(&mut self, to: Slot, found: &Found) -> Option<String> {
        let issues = self.processes.slot_issues(to);
        if !issues.is_empty() {
            return Some(format!("slot {to} cannot be started from: {issues}"));
        }
        let manifest = |slot| slots::manifest(&self.home, slot).ok().flatten();
        let candidate = manifest(to)?;
        let mut living = vec![("the supervisor", version::contracts())];
        // One that has not said so is taken for one of this build.
        living.extend(self.sidecar.report.iter().map(|report| ("the sidecar", report.contracts.clone())));
        living.extend(found.holders.iter().map(|contracts| ("a running worker's holder", contracts.clone())));
        let active = manifest(to.other());
        let demands = Demands { journal: &found.journal, active: active.as_ref(), living: &living };
        let obstacle = obstacle(&candidate, demands)?;
        Some(format!("release {} in slot {to} is not admitted: {obstacle}", candidate.version))
    }

    /// A runtime of the target slot that is on its way out, or was given other settings than are set now, cannot be
    /// the candidate: its death makes room for a new one.
    pub(super) fn renew_candidate(&mut self, to: Slot) {
        if self.transition.owner().is_some_and(|owner| owner.slot == to) {
            return;
        }
        let role = Role::Runtime(to);
        let settings = self.fresh_settings().runtime_json();
        let Some(process) = self.processes.process(role) else { return };
        if process.ending {
            self.processes.kill(role);
        } else if process.settings != settings {
            self.end_child(role);
        }
    }
}
