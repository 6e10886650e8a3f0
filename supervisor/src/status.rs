//! What the node says of itself: to browsers (CONTRACTS.md 2, public status), on channel `node`, to operators.

use crate::attempt::Attempt;
use crate::transition::{Owner, Phase, Transition};
use holdfast_shared::runtime_control::RuntimeReport;
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
    /// The attempt.
    pub attempt: Attempt,
    /// Why the last attempt failed; empty when it did not.
    pub failure: &'a str,
    /// The sidecar lives and serves.
    pub sidecar: bool,
}

impl Facts<'_> {
    /// `update{...}`.
    pub fn update(&self) -> Value {
        let idle = self.attempt == Attempt::Idle;
        json!({
            "state": self.attempt.name(),
            "action": if idle { Value::Null } else { json!("switch") },
            "message": self.message(),
            "target_version": Value::Null,
            "planned_reason": Value::Null,
            "scheduled_for": Value::Null,
            "countdown_remaining_sec": Value::Null,
            "subsequent_transition": Value::Null,
            "failure_reason": if self.failure.is_empty() { Value::Null } else { json!(self.failure) },
        })
    }

    fn message(&self) -> String {
        match (self.attempt, self.label) {
            (Attempt::Idle, Label::Running) => "The node serves.".into(),
            (Attempt::Idle, Label::Degraded) => "No runtime can serve; it is tried again.".into(),
            (Attempt::Idle, _) => "The node makes sure which runtime serves.".into(),
            (Attempt::Prewarming { to }, _) => format!("The runtime in slot {to} is starting."),
            (Attempt::Admitting { to, .. }, _) => format!("The runtime in slot {to} is checked."),
            (Attempt::Switching { to, .. }, _) => format!("The runtime in slot {to} takes over."),
            (Attempt::Probation { of, .. }, _) => format!("The runtime in slot {of} serves and is watched."),
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
        let mut update = self.update();
        update["updated_at"] = json!(updated_at);
        let refused = matches!(self.label, Label::Degraded | Label::Stopping);
        json!({
            "update": update,
            "runtime": self.runtime(),
            "candidate": self.candidate(),
            "transition_mode": if self.attempt == Attempt::Idle { Value::Null } else { json!("warm_switch") },
            "admission": {
                "allowed": !refused,
                "reason": if refused { json!(self.label.name()) } else { Value::Null },
            },
            "root_promotion_required": false,
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
