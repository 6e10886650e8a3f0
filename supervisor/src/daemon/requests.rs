//! A switch that is asked for: what stands against it, and how it is answered.

use super::{Event, SuperviseError, Supervisor};
use crate::admission::{Demands, obstacle};
use crate::attempt::{self, Attempt, Failure};
use crate::io::control::Responder;
use crate::io::slots;
use crate::memory;
use crate::transition::Runtime;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::journal::inspect;
use holdfast_shared::slot::Slot;
use holdfast_shared::version;
use serde_json::json;
use std::collections::BTreeSet;

impl Supervisor {
    /// Reads what the journal holds, then goes on with [`Self::switch`]. A journal that cannot be read now (its writer
    /// is at work) is judged by whoever takes it over.
    pub(super) fn look_at_demands(&self, to: Option<Slot>, responder: Responder) {
        let (directory, events) = (self.home.journal(), self.events.clone());
        tokio::task::spawn_local(async move {
            let kinds = match tokio::task::spawn_blocking(move || inspect(&directory)).await {
                Ok(Ok(inspection)) => Some(inspection.must_understand_kinds),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "read the journal's kinds");
                    None
                }
                Err(error) => {
                    tracing::error!(%error, "read the journal's kinds");
                    None
                }
            };
            let _ = events.send(Event::Demanded(to, kinds, responder)).await;
        });
    }

    pub(super) fn switch(
        &mut self,
        to: Option<Slot>,
        journal: &BTreeSet<String>,
        responder: Responder,
    ) -> Result<(), SuperviseError> {
        let refuse = |responder: Responder, why: &str| {
            let _ = responder.send(Err(ApiError::new(Code::Refused, why)));
        };
        let Some(owner) = self.transition.owner().filter(|_| self.stopping.is_none()) else {
            refuse(responder, "the node is not settled; try again when `status` says running");
            return Ok(());
        };
        let to = to.unwrap_or(owner.slot.other());
        if to == owner.slot {
            refuse(responder, &format!("slot {to} is active already"));
            return Ok(());
        }
        // Whoever waits for the switch in probation is answered only when this one does begin.
        let refused = self.attempt.refuses().map(|failure| failure.to_string());
        let blocked = refused.or_else(|| self.release_blocks(to, journal)).or_else(|| self.memory_blocks(to));
        if let Some(why) = blocked {
            refuse(responder, &why);
            return Ok(());
        }
        self.answer_switch_in_probation();
        self.renew_candidate(to);
        self.waiting = Some(responder);
        self.failure.clear();
        let ready = self.transition.runtime(to) == Runtime::Ready
            && self.processes.process(Role::Runtime(to)).is_some_and(|process| !process.ending);
        self.advance_attempt(attempt::Event::Request { to, ready })
    }

    /// Why the release in this slot may not become active; `None`: it may.
    fn release_blocks(&mut self, to: Slot, journal: &BTreeSet<String>) -> Option<String> {
        let issues = self.processes.slot_issues(to);
        if !issues.is_empty() {
            return Some(format!("slot {to} cannot be started from: {issues}"));
        }
        let manifest = |slot| slots::manifest(&self.home, slot).ok().flatten();
        let candidate = manifest(to)?;
        // The sidecar and the holders that are started now are of this build too.
        let living = [("the supervisor", version::contracts())];
        let active = manifest(to.other());
        let demands = Demands { journal, active: active.as_ref(), living: &living };
        let obstacle = obstacle(&candidate, demands)?;
        Some(format!("release {} in slot {to} is not admitted: {obstacle}", candidate.version))
    }

    /// While a candidate warms, the memory gate holds on.
    pub(super) fn look_at_memory(&mut self) -> Result<(), SuperviseError> {
        let warming = match self.attempt {
            Attempt::Prewarming { to } | Attempt::Admitting { to, .. } => Some(to),
            _ => None,
        };
        match warming.and_then(|to| self.memory_blocks(to)) {
            Some(why) => {
                tracing::warn!(why, "the candidate is given up");
                self.advance_attempt(attempt::Event::MemoryBlocked)
            }
            None => Ok(()),
        }
    }

    /// The memory gate: before two runtimes overlap, while the candidate warms, and before the switch; says what is
    /// missing. Where the kernel does not say how much there is, nothing is refused.
    pub(super) fn memory_blocks(&self, to: Slot) -> Option<String> {
        let resident = |slot| {
            let process = self.processes.process(Role::Runtime(slot))?;
            memory::resident(&std::fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?)
        };
        let needed = memory::needed(resident(to.other())?, resident(to).unwrap_or(0));
        let available = memory::available(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
        (available < needed).then(|| {
            let mib = |bytes: u64| bytes / (1024 * 1024);
            format!("memory_blocked: {} MiB are available, {} MiB needed", mib(available), mib(needed))
        })
    }

    /// A switch asked for in probation ends it as settled when its last probe was good.
    fn answer_switch_in_probation(&mut self) {
        if let attempt::Attempt::Probation { of, good } = self.attempt
            && good > 0
            && self.waiting.is_some()
        {
            self.answer_switch(Ok(of));
        }
    }

    /// A runtime of the target slot that is on its way out, or was given other settings than are set now, cannot be
    /// the candidate: its death makes room for a new one.
    fn renew_candidate(&mut self, to: Slot) {
        let role = Role::Runtime(to);
        let settings = self.fresh_settings().runtime_json();
        let Some(process) = self.processes.process(role) else { return };
        if process.ending {
            self.processes.kill(role);
        } else if process.settings != settings {
            self.end_child(role);
        }
    }

    /// Tells whoever asked for the switch how it ended.
    pub(super) fn answer_switch(&mut self, outcome: Result<Slot, Failure>) {
        let Some(responder) = self.waiting.take() else { return };
        let answer = match outcome {
            Ok(slot) => Ok(
                json!({"outcome": "switched", "slot": slot, "active": self.facts(&self.transition).active()}),
            ),
            Err(failure) => Err(ApiError::new(Code::Refused, failure.to_string())
                .with_details(json!({"active": self.facts(&self.transition).active()}))),
        };
        let _ = responder.send(answer);
    }
}
