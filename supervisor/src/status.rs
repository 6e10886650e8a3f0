//! What the node says of itself: to browsers (CONTRACTS.md 2, public status), on channel `node`, to operators.

use crate::attempt::{Attempt, Attempts, Mode, PlannedReason, State};
use crate::transition::{Owner, Phase, Transition};
use holdfast_shared::runtime_control::{LiveWork, RuntimeReport};
use serde_json::{Value, json};

/// The node's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// No runtime has served since the node was started.
    Starting,
    /// A runtime serves.
    Running,
    /// An ordinary switch is under way.
    Switching,
    /// It is being found out which runtime serves.
    Settling,
    /// Nothing can serve now; it is tried again.
    Degraded,
    /// Everything is being stopped.
    Stopping,
}

impl Label {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Label::Starting => "starting",
            Label::Running => "running",
            Label::Switching => "switching",
            Label::Settling => "settling",
            Label::Degraded => "degraded",
            Label::Stopping => "stopping",
        }
    }

    /// The word for a state of the transition.
    pub fn of(transition: &Transition, has_served: bool, degraded: bool, stopping: bool) -> Label {
        match transition.phase {
            _ if stopping => Label::Stopping,
            Phase::Settled { .. } => Label::Running,
            Phase::Switching(_) => Label::Switching,
            Phase::Settling(_) if degraded => Label::Degraded,
            Phase::Settling(_) if has_served => Label::Settling,
            Phase::Settling(_) => Label::Starting,
        }
    }
}

/// What the statuses are made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The node's state.
    pub label: Label,
    /// The active runtime, where one is known.
    pub owner: Option<Owner>,
    /// What the active said of itself.
    pub active: Option<&'a RuntimeReport>,
    /// What a runtime in the other slot said of itself.
    pub other: Option<&'a RuntimeReport>,
    /// Attempts to change it.
    pub attempts: &'a Attempts,
    /// The sidecar lives and serves.
    pub sidecar: bool,
    /// A root promotion waits for root of the machine to place the release's units.
    pub units_awaited: bool,
}

impl Facts<'_> {
    /// `update{...}` at a time in unix milliseconds. With 0 what depends on the time of looking is left out, so that
    /// two looks at the same state are equal.
    pub fn update(&self, at: i64) -> Value {
        let (current, last) = (self.attempts.current.as_ref(), self.attempts.last());
        let failure = current.or(last).and_then(|attempt| attempt.failure.as_ref());
        let scheduled_for = current.and_then(Attempt::scheduled_for);
        let left = scheduled_for.filter(|_| at > 0).map(|due| (due - at).max(0) / 1000);
        json!({
            "state": self.attempts.name(),
            "action": current.map(|attempt| attempt.request.kind),
            "message": self.message(),
            "target_version": current.map(|attempt| &attempt.request.release),
            "planned_reason": current.map(|attempt| attempt.planned_reason),
            "state_since": current.map(|attempt| attempt.entered_at),
            "state_until": current.map(|attempt| attempt.leaves_at),
            "scheduled_for": scheduled_for,
            "countdown_remaining_sec": left,
            "subsequent_transition": self.subsequent(),
            "failure_reason": failure.map(|failure| &failure.reason),
            "failed_stage": failure.map(|failure| failure.stage),
            "operator_actions": self.attempts.operations(),
        })
    }

    fn subsequent(&self) -> Value {
        self.attempts.subsequent.as_ref().map_or(Value::Null, |waiting| {
            json!({
                "action": waiting.request.kind,
                "slot": waiting.request.slot,
                "target_version": waiting.request.release,
                "requested_at": waiting.first_requested_at,
            })
        })
    }

    fn message(&self) -> String {
        let Some(attempt) = &self.attempts.current else {
            return match (self.label, self.attempts.last().filter(|last| last.state.is_a_failure())) {
                (Label::Running, None) => "The node serves.".into(),
                (Label::Running, Some(last)) => format!("The node serves. {}", last_change(last)),
                (Label::Degraded, _) => "No runtime can serve; it is tried again.".into(),
                _ => "The node makes sure which runtime serves.".into(),
            };
        };
        let slot = attempt.request.slot;
        match attempt.state {
            State::Planned if attempt.mode == Mode::StopAndSwitch => format!(
                "Too little memory for two runtimes (memory_blocked): if it stays so, the old one is stopped before the \
                 one in slot {slot} starts."
            ),
            State::Planned => match attempt.planned_reason {
                Some(reason) => {
                    format!("A change to the runtime in slot {slot} is planned ({}).", reason.name())
                }
                None => format!("A change to the runtime in slot {slot} is planned."),
            },
            State::Preparing => format!("A release is put into slot {slot}."),
            State::Countdown => format!("The runtime in slot {slot} takes over soon."),
            State::Prewarming => {
                format!("The runtime in slot {slot} is starting beside the other, for a warm switch.")
            }
            State::Admitted => format!("The runtime in slot {slot} is checked."),
            State::Switching if attempt.mode == Mode::StopAndSwitch => format!(
                "Too little memory for two runtimes: the old one is stopped, then the one in slot {slot} takes over."
            ),
            State::Switching => format!("The runtime in slot {slot} takes over."),
            State::Probation => format!("The runtime in slot {slot} serves and is watched."),
            State::RollingBack if attempt.mode == Mode::StopAndSwitch => format!(
                "Too little memory for two runtimes: the newer one is stopped, then the one in slot {} takes over again.",
                slot.other()
            ),
            State::RollingBack => format!("The runtime in slot {} takes over again.", slot.other()),
            State::RootPromotionPending => "Other root files wait for `holdfast promote`.".into(),
            State::RootPromoting => "Root files are put in place.".into(),
            State::RootRestartInProgress if self.units_awaited => {
                "The machine's root (holdfast-units.service) is asked to place the release's units.".into()
            }
            State::RootRestartInProgress => "The supervisor restarts from new root files.".into(),
            State::Succeeded | State::Failed | State::RolledBack | State::Cancelled | State::Expired => {
                last_change(attempt)
            }
        }
    }

    /// `active{slot, epoch, runtime_instance_id, release}`; null when none is known.
    pub fn active(&self) -> Value {
        let Some(owner) = self.owner else { return Value::Null };
        json!({
            "slot": owner.slot,
            "epoch": owner.epoch,
            "runtime_instance_id": self.active.map(|report| &report.runtime_instance_id),
            "release": self.active.map(|report| &report.release),
        })
    }

    /// What the active does that a switch would end.
    pub fn live_work(&self) -> Option<&LiveWork> {
        self.active.and_then(|report| report.live_work.as_ref())
    }

    fn runtime(&self) -> Value {
        json!({
            "active_slot": self.owner.map(|owner| owner.slot),
            "state": self.label.name(),
            "runtime_instance_id": self.active.map(|report| &report.runtime_instance_id),
            "release": self.active.map(|report| &report.release),
            "epoch": self.owner.map(|owner| owner.epoch),
        })
    }

    fn candidate(&self) -> Value {
        self.other.map_or(Value::Null, |report| {
            json!({
                "slot": report.slot,
                "transition_role": report.transition_role,
                "runtime_instance_id": report.runtime_instance_id,
                "release": report.release,
                "healthy": report.healthy,
            })
        })
    }

    /// What anybody may read: no paths, pids, tokens, command lines.
    pub fn public(&self, updated_at: i64) -> Value {
        let mut update = self.update(updated_at);
        update["updated_at"] = json!(updated_at);
        let reason = match self.label {
            Label::Degraded | Label::Stopping => Some(self.label.name()),
            _ => self.live_work().map(|_| PlannedReason::LiveWorkGuard.name()),
        };
        json!({
            "update": update,
            "runtime": self.runtime(),
            "candidate": self.candidate(),
            "transition_mode": self.attempts.current.as_ref().map(|attempt| attempt.mode),
            "admission": {
                "allowed": reason.is_none(),
                "reason": reason,
            },
            "root_promotion_required": self.attempts.state() == Some(State::RootPromotionPending),
            "sidecar": {"state": if self.sidecar { "serving" } else { "starting" }},
            "served_by": "sidecar",
        })
    }

    /// An event of channel `node`: the public status (CONTRACTS.md 2), the state in one word and the active runtime.
    /// `at` is its time in unix milliseconds.
    pub fn node_event(&self, at: i64) -> Value {
        let mut event = self.public(at);
        event["type"] = json!("node.state");
        event["state"] = json!(self.label.name());
        event["active"] = self.active();
        event["at"] = json!(at);
        event
    }
}

/// For anybody: codes only, as the words of a failure may name files.
fn last_change(attempt: &Attempt) -> String {
    let reason =
        attempt.failure.as_ref().map_or_else(String::new, |failure| format!(" ({})", failure.reason));
    format!("The last change: {}{reason}.", attempt.state.name())
}
