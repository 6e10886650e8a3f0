//! What the inactive slot is to be while no attempt is under way.

use super::looks::LOOK;
use super::{Event, SuperviseError, Supervisor};
use crate::settings::Standby;
use crate::transition::Runtime;
use holdfast_shared::home::Role;
use holdfast_shared::runtime_control::{RuntimeReport, SetRole, TransitionRole};
use holdfast_shared::slot::Slot;

impl Supervisor {
    /// Brings the inactive slot to what it is to be while no attempt is under way.
    pub(super) fn reconcile_inactive(&mut self) -> Result<(), SuperviseError> {
        let Some(owner) = self.transition.owner() else { return Ok(()) };
        if self.recovering || !self.attempts().leaves_runtimes_alone() || self.stopping.is_some() {
            return Ok(());
        }
        let slot = owner.slot.other();
        if self.attempts().distrusts(slot) {
            return Ok(());
        }
        match (self.settings.standby, self.transition.runtime(slot)) {
            (Standby::Warm, Runtime::Absent) => match self.memory_blocks(slot) {
                Some(_) => Ok(()),
                None => self.start_child(Role::Runtime(slot)),
            },
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
