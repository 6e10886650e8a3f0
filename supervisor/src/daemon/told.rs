//! What the operator is told: status and slots.

use super::{Supervisor, now_ms};
use crate::io::{listener, slots};
use crate::status::Label;
use holdfast_shared::home::Role;
use holdfast_shared::process::read_holder;
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};

/// Events of channel `node` that are told at a time: a screen of them.
const EVENTS_TOLD: usize = 50;

impl Supervisor {
    /// The last events of channel `node`, oldest first: also where no sidecar can be asked for them.
    pub(super) fn last_events(&self) -> Value {
        let events = &self.journal.state().events;
        let last = events.iter().skip(events.len().saturating_sub(EVENTS_TOLD));
        json!({"events": last.map(|event| &event.data).collect::<Vec<&Value>>()})
    }

    pub(super) fn slots(&self) -> Value {
        let one = |slot: Slot| {
            let manifest = slots::manifest(&self.home, slot).ok().flatten();
            let process = self.processes.process(Role::Runtime(slot));
            json!({
                "slot": slot,
                "release": manifest.as_ref().map(|manifest| &manifest.version),
                "digest": manifest.as_ref().and_then(|manifest| manifest.digests.get(slots::RUNTIME)),
                "issues": self.processes.slot_issue_codes(slot),
                "pid": process.map(|process| process.pid),
                "transition_role": process.and_then(|process| process.report.as_ref())
                    .map(|report| report.transition_role),
            })
        };
        json!({"slots": Slot::BOTH.map(one)})
    }

    pub(super) fn status(&self) -> Value {
        let facts = self.facts(&self.transition);
        let mut problems = self.problems.clone();
        problems.extend(self.processes.failing());
        if facts.label == Label::Degraded {
            problems.push("no runtime can serve; see `holdfast logs`".into());
        }
        problems.extend(facts.active.into_iter().flat_map(|report| report.problems.iter().cloned()));
        let address = self.sidecar.report.as_ref().map(|report| report.listening.clone());
        let url = address.as_ref().and_then(|address| address.parse().ok()).map(listener::url);
        let public = facts.public(now_ms());
        let routed = matches!(self.transition.phase, crate::transition::Phase::Settled { routed: true, .. });
        json!({
            "node": {"id": self.node_id, "state": facts.label.name(), "home": self.home.path(), "url": url,
                "ready": routed, "problems": problems, "settings_not_applied": self.settings_not_applied()},
            "keeper": self.keeper_status(),
            "supervisor": {"pid": std::process::id(), "generation": self.transition.decision.generation,
                "instance_id": self.instance, "release": env!("CARGO_PKG_VERSION"), "root": self.root_status()},
            "sidecar": self.sidecar_status(),
            "active": self.with_process(facts.active(), facts.owner.map(|owner| owner.slot)),
            "candidate": self.candidate(facts.owner.map(|owner| owner.slot)),
            "update": public["update"],
            "transition_mode": public["transition_mode"],
            "admission": public["admission"],
            "root_promotion_required": public["root_promotion_required"],
            "standby": self.settings.standby,
            "decision": self.transition.decision,
        })
    }

    /// Whose the keeper is: a promoted one has the attempt's name; `gave_up` names one that failed its starts.
    fn keeper_status(&self) -> Value {
        let succession = crate::io::root::succession::read(&self.home);
        let living = read_holder(&self.home, Role::Keeper).ok().flatten();
        let promoted = crate::io::root::succession::keeper_is_promoted(&self.home);
        let attempt = succession.attempt.as_str();
        let gave_up = !promoted && succession.gave_up && self.root_in_use().is_of(attempt);
        json!({
            "pid": living.map(|living| living.pid),
            "attempt": promoted.then_some(attempt),
            "has_shown_itself": !promoted || succession.starts == 0,
            "gave_up": gave_up.then_some(attempt),
        })
    }

    /// The promoted root files that are in use; null: those that the node was installed with.
    fn root_status(&self) -> Value {
        let in_use = crate::io::root::read(&self.home).unwrap_or_default();
        in_use.current.as_ref().map_or(
            Value::Null,
            |root| json!({"release": root.release, "attempt": root.attempt, "confirmed": in_use.confirmed}),
        )
    }

    fn sidecar_status(&self) -> Value {
        let process = self.processes.process(Role::Sidecar);
        let report = self.sidecar.report.as_ref();
        json!({
            "pid": process.map(|process| process.pid),
            "state": match (process, self.transition.sidecar) {
                (None, _) => "down",
                (Some(_), false) => "starting",
                (Some(_), true) => "serving",
            },
            "sidecar_instance_id": report.map(|report| &report.sidecar_instance_id),
            "effect": report.map(|report| report.effect),
            "sessions": report.map(|report| report.sessions),
            "listening": report.map(|report| &report.listening),
        })
    }

    fn with_process(&self, mut active: Value, slot: Option<Slot>) -> Value {
        if let (Some(slot), true) = (slot, active.is_object()) {
            let process = self.processes.process(Role::Runtime(slot));
            active["pid"] = json!(process.map(|process| process.pid));
            active["status"] = json!(process.map(|process| &process.status));
            active["running_turns"] =
                json!(process.and_then(|process| process.report.as_ref()).map(|report| report.running_turns));
        }
        active
    }

    fn candidate(&self, active: Option<Slot>) -> Value {
        let Some(slot) = active.map(Slot::other) else { return Value::Null };
        let Some(process) = self.processes.process(Role::Runtime(slot)) else { return Value::Null };
        let report = process.report.as_ref();
        json!({
            "slot": slot,
            "pid": process.pid,
            "ready": process.ready_at.is_some(),
            "runtime_instance_id": report.map(|report| &report.runtime_instance_id),
            "release": report.map(|report| &report.release),
            "transition_role": report.map(|report| report.transition_role),
        })
    }

    /// Which parts of `holdfast.toml` say something else than the running processes were given.
    fn settings_not_applied(&self) -> Vec<String> {
        let Ok(now) = super::start::read_settings(&self.home) else {
            return vec!["holdfast.toml is not valid; see `holdfast doctor`".into()];
        };
        let mut stale = Vec::new();
        let given = |role: Role| self.processes.process(role).map(|process| process.settings.as_str());
        if (now.standby, &now.supervisor, &now.command)
            != (self.settings.standby, &self.settings.supervisor, &self.settings.command)
        {
            stale.push("supervisor".to_owned());
        }
        if given(Role::Sidecar).is_some_and(|given| given != now.sidecar_json()) {
            stale.push("sidecar".to_owned());
        }
        let active = self.transition.owner().map(|owner| Role::Runtime(owner.slot));
        if active.and_then(given).is_some_and(|given| given != now.runtime_json()) {
            stale.push("runtime".to_owned());
        }
        stale
    }
}
