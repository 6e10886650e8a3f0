//! Answers to what is asked on the control socket.

use super::{Event, SuperviseError, Supervisor, now_ms};
use crate::admission::{Demands, obstacle};
use crate::attempt::{self, Attempt, Failure};
use crate::command::{Command, NewToken};
use crate::io::control::Responder;
use crate::io::{listener, slots, stop_tree, workers};
use crate::memory;
use crate::node_state::Change;
use crate::order::order;
use crate::status::Label;
use crate::transition::Runtime;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::journal::inspect;
use holdfast_shared::process::read_holder;
use holdfast_shared::slot::Slot;
use holdfast_shared::supervisor_control::SpawnWorker;
use holdfast_shared::token::{self, Scope, TokenEntry, TokenRole};
use holdfast_shared::version;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Tokens of one node; a journal's fold and every wished state carry them all.
const TOKENS_AT_MOST: usize = 1000;
/// Tasks that one token may be for.
const SCOPE_TASKS_AT_MOST: usize = 32;
/// The sidecar is told that the node stops before it is stopped itself.
const STOP_IS_SAID: Duration = Duration::from_millis(50);

impl Supervisor {
    pub(super) fn command(&mut self, command: Command, responder: Responder) -> Result<(), SuperviseError> {
        let answer = match command {
            Command::Status => Ok(self.status()),
            Command::Switch(request) => {
                self.look_at_demands(request.to, responder);
                return Ok(());
            }
            Command::Stop(request) => return self.stop(request.keep_workers, responder),
            Command::ListTokens => Ok(self.list_tokens()),
            Command::NewToken(request) => self.new_token(&request)?,
            Command::RevokeToken(request) => self.revoke_token(request.id)?,
            Command::Slots => Ok(self.slots()),
            Command::Spawn(request) => {
                self.spawn(request, responder);
                return Ok(());
            }
        };
        // Whoever asked may have gone.
        let _ = responder.send(answer);
        Ok(())
    }

    /// Reads what the journal holds, then goes on with [`Self::switch`]. A journal that cannot be read now (its writer
    /// is at work) is judged by whoever takes it over.
    fn look_at_demands(&self, to: Option<Slot>, responder: Responder) {
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

    fn stop(&mut self, keep_workers: bool, responder: Responder) -> Result<(), SuperviseError> {
        if let Some(waiting) = &mut self.stopping {
            waiting.push(responder);
            return Ok(());
        }
        tracing::info!(keep_workers, "stopping everything");
        self.stopping = Some(vec![responder]);
        self.note_now()?;
        self.journal.sync()?;
        self.state_wish();
        let (home, events) = (self.home.clone(), self.events.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(STOP_IS_SAID).await;
            let stopped =
                tokio::task::spawn_blocking(move || stop_tree::stop_children(&home, keep_workers)).await;
            let _ = events.send(Event::Stopped(stopped.unwrap_or_default())).await;
        });
        Ok(())
    }

    pub(super) fn answer_stopped(&mut self, stopped: stop_tree::Stopped) {
        tracing::info!(?stopped, "stopped");
        for responder in self.stopping.take().unwrap_or_default() {
            let _ = responder.send(Ok(json!({
                "workers": stopped.workers, "killed_workers": stopped.killed_workers, "left": stopped.left,
            })));
        }
    }

    fn list_tokens(&self) -> Value {
        let entries = self.journal.state().tokens.iter().map(|entry| {
            json!({"id": entry.id, "role": entry.role, "scope": entry.scope, "principal": entry.principal,
                "expires_at": entry.expires_at})
        });
        json!({"tokens": entries.collect::<Vec<Value>>()})
    }

    fn new_token(&mut self, request: &NewToken) -> Result<Result<Value, ApiError>, SuperviseError> {
        if request.role == TokenRole::Probe {
            return Ok(Err(ApiError::new(
                Code::InvalidRequest,
                "role: probe tokens are the supervisor's own",
            )));
        }
        if let Err(error) = check_scope(&request.scope) {
            return Ok(Err(error));
        }
        if self.journal.state().tokens.len() >= TOKENS_AT_MOST {
            let message = format!("there are {TOKENS_AT_MOST} tokens; revoke some");
            return Ok(Err(ApiError::new(Code::Busy, message)));
        }
        let text = match super::start::new_token() {
            Ok(text) => text,
            Err(error) => return Ok(Err(error)),
        };
        let hash = token::hash(&text);
        let id = format!("tk-{}", &hash[..8]);
        let lifetime =
            request.expires_in_sec.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX / 1000));
        let entry = TokenEntry {
            principal: request.principal.clone().unwrap_or_else(|| id.clone()),
            id,
            hash,
            role: request.role,
            scope: request.scope.clone(),
            probe_slot: None,
            expires_at: lifetime.map(|seconds| now_ms().saturating_add(seconds.saturating_mul(1000))),
        };
        let answer = json!({"id": entry.id, "token": text, "role": entry.role, "scope": entry.scope, "principal": entry.principal,
            "expires_at": entry.expires_at});
        self.journal.append(vec![Change::TokenCreated(entry)])?;
        Ok(Ok(answer))
    }

    fn revoke_token(&mut self, id: String) -> Result<Result<Value, ApiError>, SuperviseError> {
        let Some(entry) = self.journal.state().tokens.iter().find(|entry| entry.id == id) else {
            return Ok(Err(ApiError::new(Code::InvalidRequest, format!("there is no token {id:?}"))));
        };
        let successor = match self.successor(&entry.hash) {
            Ok(successor) => successor,
            Err(error) => return Ok(Err(error)),
        };
        let mut changes = vec![Change::TokenRevoked { id: id.clone() }];
        changes.extend(successor.map(Change::TokenCreated));
        self.journal.append(changes)?;
        Ok(Ok(json!({"revoked": id})))
    }

    /// What follows the token with this hash when it is the one in `<home>/token`: with the file as it is, the next
    /// start would make it valid again. The file goes first, so a crash before the journal revokes it all the same.
    fn successor(&self, revoked: &str) -> Result<Option<TokenEntry>, ApiError> {
        match super::start::read_token(&self.home)? {
            Some(text) if token::hash(&text) == revoked => {
                super::start::write_operator_token(&self.home).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn slots(&self) -> Value {
        let one = |slot: Slot| {
            let manifest = slots::manifest(&self.home, slot).ok().flatten();
            let process = self.processes.process(Role::Runtime(slot));
            json!({
                "slot": slot,
                "release": manifest.as_ref().map(|manifest| &manifest.version),
                "digest": manifest.as_ref().and_then(|manifest| manifest.digests.get(slots::RUNTIME)),
                "issues": slots::issues(&self.home, slot),
                "pid": process.map(|process| process.pid),
                "transition_role": process.and_then(|process| process.report.as_ref())
                    .map(|report| report.transition_role),
            })
        };
        json!({"slots": Slot::BOTH.map(one)})
    }

    fn spawn(&mut self, request: SpawnWorker, responder: Responder) {
        if self.stopping.is_some() {
            let _ = responder.send(Err(ApiError::new(Code::Unavailable, "the node is stopping")));
            return;
        }
        let active = self.transition.owner().map(|owner| owner.epoch);
        if active != Some(request.epoch) {
            let message = format!("epoch {} is not the active one's", request.epoch);
            let _ = responder.send(Err(ApiError::new(Code::NotActive, message)));
            return;
        }
        let variable = |name: &str| std::env::var(name).ok();
        let order = match order(&request, &self.home, &self.settings.command, variable) {
            Ok(order) => order,
            Err(error) => {
                let _ = responder.send(Err(error));
                return;
            }
        };
        let home = self.home.clone();
        tokio::task::spawn_local(async move {
            let spawned = tokio::task::spawn_blocking(move || workers::spawn(&home, &order)).await;
            let answer = match spawned {
                Ok(spawned) => spawned.map(|spawned| json!(spawned)),
                Err(error) => Err(ApiError::new(Code::InternalError, format!("start a worker: {error}"))),
            };
            let _ = responder.send(answer);
        });
    }

    fn status(&self) -> Value {
        let facts = self.facts(&self.transition);
        let mut problems = self.problems.clone();
        problems.extend(self.processes.failing());
        if facts.label == Label::Degraded {
            problems.push("no runtime can serve; see `holdfast logs`".into());
        }
        problems.extend(facts.active.into_iter().flat_map(|report| report.problems.iter().cloned()));
        let address = self.sidecar.report.as_ref().map(|report| report.listening.clone());
        let url = address.as_ref().and_then(|address| address.parse().ok()).map(listener::url);
        let mut update = facts.update();
        update["updated_at"] = json!(now_ms());
        let routed = matches!(self.transition.phase, crate::transition::Phase::Settled { routed: true, .. });
        json!({
            "node": {"id": self.node_id, "state": facts.label.name(), "home": self.home.path(), "url": url,
                "ready": routed, "problems": problems, "settings_not_applied": self.settings_not_applied()},
            "keeper": {"pid": read_holder(&self.home, Role::Keeper).ok().flatten().map(|living| living.pid)},
            "supervisor": {"pid": std::process::id(), "generation": self.transition.decision.generation,
                "instance_id": self.instance, "release": env!("CARGO_PKG_VERSION")},
            "sidecar": self.sidecar_status(),
            "active": self.with_process(facts.active(), facts.owner.map(|owner| owner.slot)),
            "candidate": self.candidate(facts.owner.map(|owner| owner.slot)),
            "update": update,
            "standby": self.settings.standby,
            "decision": self.transition.decision,
        })
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

/// A scope is bounded, as every wished state carries all of them.
fn check_scope(scope: &Scope) -> Result<(), ApiError> {
    if scope.tasks.len() > SCOPE_TASKS_AT_MOST {
        let message = format!("scope: more than {SCOPE_TASKS_AT_MOST} tasks");
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    scope.tasks.iter().try_for_each(|task| crate::order::check_name("scope", task))
}
