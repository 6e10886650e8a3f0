//! What holds a change of the serving runtime up: too little memory for two, work that a switch would end.

use super::requests::Asked;
use super::{SuperviseError, Supervisor};
use crate::attempt::{self, Kind, PlannedReason, State};
use crate::memory;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use serde_json::json;

impl Supervisor {
    /// The live-work guard: what the active does that this attempt's way forward to the slot would end. The way back, a
    /// crash and whatever settling does are not for it to stop.
    pub(super) fn live_work(&self, to: Slot) -> Option<attempt::Event> {
        let forward =
            matches!(self.attempts().state(), Some(State::Prewarming | State::Admitted | State::Switching));
        let owner = self.transition.owner().filter(|owner| forward && owner.slot != to);
        owner?;
        let facts = self.facts(&self.transition);
        let live = facts.live_work()?;
        tracing::warn!(reason = live.reason, "work runs that a switch does not carry");
        let again_ms = i64::try_from(live.retry_after_sec).unwrap_or(i64::MAX).saturating_mul(1000);
        Some(attempt::Event::LiveWork(again_ms))
    }

    /// A switch by hand while work runs that it would end: whoever asks comes again. An update waits by itself, and the
    /// way back from a release that is still watched is nobody's to hold up.
    pub(super) fn live_work_refuses(&self, asked: &Asked) -> Option<ApiError> {
        let back = asked.kind() == Kind::Rollback && self.attempts().current.is_some();
        if asked.kind() == Kind::Update || back || self.attempts().queues() {
            return None;
        }
        let facts = self.facts(&self.transition);
        let live = facts.live_work()?;
        let message = format!(
            "work runs that a switch does not carry ({}); try again in {} s",
            live.reason, live.retry_after_sec
        );
        let details = json!({
            "reason": PlannedReason::LiveWorkGuard.name(), "live_work": live.reason,
            "retry_after_sec": live.retry_after_sec,
        });
        Some(ApiError::new(Code::Refused, message).with_details(details))
    }

    /// The active does something that a change of its surroundings may end.
    pub(super) fn has_live_work(&self) -> bool {
        self.facts(&self.transition).live_work().is_some()
    }

    /// A promotion that is to go on by itself has waited for work to end, as an update does: people may have it at once.
    pub(super) fn look_at_promotion(&mut self) -> Result<(), SuperviseError> {
        let waits = self.attempts().state() == Some(State::RootPromotionPending);
        let settled = !self.recovering && self.transition.owner().is_some();
        if !waits || !settled || !self.settings.supervisor.auto_promote || self.has_live_work() {
            return Ok(());
        }
        self.advance_attempt(attempt::Event::Operate(attempt::Operation::PromoteRoot))
    }

    /// While a candidate warms, the memory gate holds on.
    pub(super) fn look_at_memory(&mut self) -> Result<(), SuperviseError> {
        let Some(warming) = self.attempts().warming() else { return Ok(()) };
        if let Some(why) = self.too_large(warming) {
            tracing::warn!(why, "the candidate is given up");
            return self.advance_attempt(attempt::Event::TooLarge(warming));
        }
        match self.memory_blocks(warming) {
            Some(why) => {
                tracing::warn!(why, "no two runtimes at once");
                self.advance_attempt(attempt::Event::Blocked(attempt::PlannedReason::MemoryBlocked))
            }
            None => Ok(()),
        }
    }

    fn too_large(&self, slot: Slot) -> Option<String> {
        let total = memory::total(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
        let limit = memory::candidate_limit(total, self.settings.supervisor.memory_gate());
        let resident = self.resident(slot)?;
        (resident > limit).then(|| format!("it takes {} MiB, it may take {}", mib(resident), mib(limit)))
    }

    fn resident(&self, slot: Slot) -> Option<u64> {
        let process = self.processes.process(Role::Runtime(slot))?;
        memory::resident(&std::fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?)
    }

    /// The memory gate: before two runtimes overlap, while the candidate warms, and before the switch; says what is
    /// missing. Where the kernel does not say how much there is, nothing is refused.
    pub(super) fn memory_blocks(&self, to: Slot) -> Option<String> {
        let gate = self.settings.supervisor.memory_gate();
        let needed = memory::needed(self.resident(to.other())?, self.resident(to).unwrap_or(0), gate);
        let available = memory::available(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
        (available < needed).then(|| {
            format!("memory_blocked: {} MiB are available, {} MiB needed", mib(available), mib(needed))
        })
    }
}

fn mib(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}
