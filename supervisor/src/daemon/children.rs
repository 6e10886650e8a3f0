//! Children: started, heard, ended, and lost.

use super::processes::reap;
use super::{Event, SuperviseError, Supervisor};
use crate::restart::Death;
use crate::settings::Settings;
use crate::transition;
use holdfast_shared::home::Role;
use holdfast_shared::notify::{Message, Notification};
use holdfast_shared::slot::Slot;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// Between TERM and KILL of a child that is to end.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// A loop that was away for longer than this has not listened, so silence means nothing.
const AWAY: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Starts a child now, or when its backoff is over. One that is there is left.
    pub(super) fn start_child(&mut self, role: Role) -> Result<(), SuperviseError> {
        let now = Instant::now();
        let child = self.processes.child_mut(role);
        if child.process.is_some() || self.stopping.is_some() {
            return Ok(());
        }
        if let Some(wait) = child.not_before.and_then(|time| time.checked_duration_since(now))
            && !wait.is_zero()
        {
            if !std::mem::replace(&mut child.wanted, true) {
                self.later(wait, Event::StartDue(role));
            }
            return Ok(());
        }
        if let Role::Runtime(slot) = role {
            self.leave_slot(slot)?;
            let issues = self.processes.slot_issues(slot);
            if !issues.is_empty() {
                return self.refuse_start(slot, issues);
            }
        }
        let settings = match role {
            Role::Runtime(_) => self.fresh_settings().runtime_json(),
            _ => self.settings.sidecar_json(),
        };
        match self.processes.start(role, settings, &self.events) {
            Ok(pid) => {
                tracing::info!(role = role.name(), pid, "started");
                self.counted.started(role.name());
                match role {
                    Role::Runtime(slot) => self.advance(transition::Event::Started(slot)),
                    _ => Ok(()),
                }
            }
            Err(error) => {
                tracing::error!(role = role.name(), %error, "start");
                self.count_death(role, Death::FailedStart)?;
                self.tell_death(role, false)
            }
        }
    }

    /// What is in the slot is not what its manifest says: nothing is started from it.
    fn refuse_start(&mut self, slot: Slot, issues: String) -> Result<(), SuperviseError> {
        let role = Role::Runtime(slot);
        tracing::error!(role = role.name(), issues, "the slot cannot be started from");
        self.processes.child_mut(role).refused = issues;
        self.processes.breaker.invalid(slot, Instant::now());
        self.count_death(role, Death::FailedStart)?;
        self.tell_death(role, false)
    }

    /// Tells the transition when a slot's release has failed too often, or may be tried again.
    pub(super) fn look_at_breaker(&mut self) -> Result<(), SuperviseError> {
        let now = Instant::now();
        for slot in Slot::BOTH {
            let broken = self.processes.breaker.is_broken(slot, now);
            if broken != self.transition.broken[slot as usize] {
                tracing::warn!(%slot, broken, "failed starts");
                self.advance(transition::Event::Broken(slot, broken))?;
            }
        }
        Ok(())
    }

    /// The file as it is now, for what takes effect with each runtime; as it was where it is not valid.
    pub(super) fn fresh_settings(&self) -> Settings {
        super::start::read_settings(&self.home).unwrap_or_else(|error| {
            tracing::warn!(%error, "settings stay as they were");
            self.settings.clone()
        })
    }

    pub(super) fn start_due(&mut self, role: Role) -> Result<(), SuperviseError> {
        let child = self.processes.child_mut(role);
        if std::mem::take(&mut child.wanted) {
            child.not_before = None;
            self.start_child(role)?;
        }
        Ok(())
    }

    fn count_death(&mut self, role: Role, death: Death) -> Result<(), SuperviseError> {
        let child = self.processes.child_mut(role);
        let wait = child.restarts.died(death);
        child.not_before = Some(Instant::now() + wait);
        tracing::warn!(role = role.name(), ?death, failed = child.restarts.failed(), "died");
        if let (Role::Runtime(slot), Death::FailedStart) = (role, death) {
            self.processes.breaker.failed(slot, Instant::now());
        }
        self.look_at_breaker()
    }

    pub(super) fn died(&mut self, role: Role, pid: i32) -> Result<(), SuperviseError> {
        reap();
        let child = self.processes.child_mut(role);
        let Some(process) = child.process.take_if(|process| process.pid == pid) else { return Ok(()) };
        if self.stopping.is_some() {
            return Ok(());
        }
        if process.ending {
            tracing::info!(role = role.name(), pid, "ended as told");
            child.not_before = None;
        } else {
            self.counted.died(role.name());
            let lived = process.ready_at.map(|at| at.elapsed());
            self.count_death(role, Death::after_ready(lived))?;
        }
        self.tell_death(role, process.ending)
    }

    fn tell_death(&mut self, role: Role, told: bool) -> Result<(), SuperviseError> {
        match role {
            Role::Runtime(slot) => {
                self.advance(transition::Event::Died(slot))?;
                // One that was told to end made room for the candidate.
                if told && self.attempts().starting() == Some(slot) {
                    return self.start_child(role);
                }
                let last = self.attempts().warming().filter(|warming| *warming == slot);
                let last = last.and_then(|_| crate::io::logs::last_error(&self.home.logs(), role.name()));
                self.advance_attempt(crate::attempt::Event::Died(slot, last.unwrap_or_default()))
            }
            _ => {
                self.sidecar.is_gone();
                self.advance(transition::Event::SidecarDied)?;
                self.start_child(Role::Sidecar)
            }
        }
    }

    pub(super) fn ensure_sidecar(&mut self) -> Result<(), SuperviseError> {
        self.start_child(Role::Sidecar)
    }

    /// Tells a child to end: TERM, and KILL when it has had its time.
    pub(super) fn end_child(&mut self, role: Role) {
        let child = self.processes.child_mut(role);
        let Some(process) = child.process.as_mut().filter(|process| !process.ending) else { return };
        process.ending = true;
        let pid = process.pid;
        let _ = process.pidfd.send_signal(Signal::SIGTERM);
        self.later(ENDS_WITHIN, Event::KillDue(role, pid));
    }

    pub(super) fn notified(&mut self, message: Message) -> Result<(), SuperviseError> {
        let Some(role) = self.processes.role_of(message.pid) else { return Ok(()) };
        let Some(process) = self.processes.child_mut(role).process.as_mut() else { return Ok(()) };
        process.heard_at = Instant::now();
        let mut descriptors = message.descriptors.into_iter();
        for said in message.said {
            match said {
                Notification::Ready => self.ready(role)?,
                Notification::Status(text) => {
                    if let Some(process) = self.processes.child_mut(role).process.as_mut() {
                        process.status = text;
                    }
                }
                Notification::StoreFd(name) if role == Role::Sidecar && name == "listener" => {
                    if let Some(descriptor) = descriptors.next() {
                        self.processes.listener.get_or_insert(descriptor);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// READY=1, which is repeated with every WATCHDOG: only the first counts.
    fn ready(&mut self, role: Role) -> Result<(), SuperviseError> {
        let Some(process) = self.processes.child_mut(role).process.as_mut() else { return Ok(()) };
        if process.ready_at.is_some() {
            return Ok(());
        }
        process.ready_at = Some(Instant::now());
        match role {
            Role::Runtime(slot) => {
                self.look(slot);
                self.advance(transition::Event::Ready(slot))?;
                self.advance_attempt(crate::attempt::Event::Ready(slot))
            }
            _ => self.advance(transition::Event::SidecarUp),
        }
    }

    /// Silence: an active runtime is suspected, any other child that is ready is killed.
    pub(super) fn look_for_silence(&mut self) -> Result<(), SuperviseError> {
        let now = Instant::now();
        let away = now.duration_since(self.processes.turned_at) > AWAY;
        self.processes.turned_at = now;
        let active = self.transition.owner().map(|owner| Role::Runtime(owner.slot));
        for role in [Role::Runtime(Slot::A), Role::Runtime(Slot::B), Role::Sidecar] {
            let limit = match Some(role) == active {
                true => self.settings.supervisor.active_silent_ms,
                false => self.settings.supervisor.child_silent_ms,
            };
            let Some(process) = self.processes.child_mut(role).process.as_mut() else { continue };
            if away {
                process.heard_at = now;
            }
            if now.duration_since(process.heard_at) <= Duration::from_millis(limit) {
                continue;
            }
            tracing::warn!(role = role.name(), pid = process.pid, "silent for too long");
            process.heard_at = now;
            match (role, Some(role) == active) {
                (Role::Runtime(slot), true) => self.advance(transition::Event::Suspect(slot))?,
                _ => self.processes.kill(role),
            }
        }
        Ok(())
    }
}
