//! Looks at the runtimes between decisions: what they say of themselves, for people and for what follows from it.

use super::{Event, SuperviseError, Supervisor};
use crate::transition::{Event as Input, Owner};
use holdfast_shared::decision::Decision;
use holdfast_shared::home::Role;
use holdfast_shared::runtime_control::{Ask, RuntimeReport};
use holdfast_shared::slot::Slot;
use std::time::Duration;

/// A look at a runtime.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The active is looked at once per so many ticks.
const LOOK_EVERY_TICKS: u64 = 4;

impl Supervisor {
    /// Asks a runtime what it is; the answer is for people and for the look at the active.
    pub(super) fn look(&self, slot: Slot) {
        if self.processes.process(Role::Runtime(slot)).is_none() {
            return;
        }
        let (client, events, decision) =
            (self.processes.client(slot), self.events.clone(), self.transition.decision);
        tokio::task::spawn_local(async move {
            if let Ok(report) = client.get("/v1/status", LOOK).await {
                let _ = events.send(Event::Reported(slot, decision, Box::new(report))).await;
            }
        });
    }

    pub(super) fn look_at_active(&self) {
        if self.ticks.is_multiple_of(LOOK_EVERY_TICKS)
            && let Some(owner) = self.transition.owner()
        {
            self.look(owner.slot);
        }
    }

    pub(super) fn reported(
        &mut self,
        slot: Slot,
        asked_at: Decision,
        report: RuntimeReport,
    ) -> Result<(), SuperviseError> {
        let epoch = report.epoch;
        let Some(process) = self.processes.child_mut(Role::Runtime(slot)).process.as_mut() else {
            return Ok(());
        };
        if process.pid != report.pid {
            return Ok(());
        }
        let holds_back = report.truncation_held;
        process.report = Some(report);
        self.note_now()?;
        // Said after each attempt, and after a supervisor's death in one, for as long as it is not heard.
        if holds_back
            && self.attempts().leaves_runtimes_alone()
            && self.transition.owner() == owner_of(slot, epoch)
        {
            self.say_settled(slot);
        }
        match self.transition.owner() {
            // Asked since the last decision, it must be what that decision made it.
            Some(owner)
                if owner.slot == slot
                    && asked_at == self.transition.decision
                    && epoch != Some(owner.epoch) =>
            {
                tracing::warn!(%slot, ?epoch, "the active runtime says that it is not active");
                self.advance(Input::Suspect(slot))
            }
            _ => Ok(()),
        }
    }

    /// Tells the active that the attempt that made it so has settled: nothing is taken back any more.
    fn say_settled(&self, slot: Slot) {
        let decision = self.transition.decision;
        let (client, events) = (self.processes.client(slot), self.events.clone());
        tokio::task::spawn_local(async move {
            match client.post("/v1/ask", &Ask { decision, settled: true }, LOOK).await {
                Ok(report) => drop(events.send(Event::Reported(slot, decision, Box::new(report))).await),
                Err(error) => tracing::warn!(%slot, %error, "say that the attempt has settled"),
            }
        });
    }
}

fn owner_of(slot: Slot, epoch: Option<u64>) -> Option<Owner> {
    epoch.map(|epoch| Owner { slot, epoch })
}
