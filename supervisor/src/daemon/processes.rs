//! The process table: sidecar and runtimes, started, watched, ended.

mod adoption;

pub(super) use adoption::{Found, find};

use super::Event;
use crate::breaker::Breaker;
use crate::io::child;
use crate::io::reap::reap_others;
use crate::io::{programs, slots};
use crate::restart::Restarts;
use holdfast_shared::control::Client;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::PidFd;
use holdfast_shared::release::RELEASE_VARIABLE;
use holdfast_shared::runtime_control::RuntimeReport;
use holdfast_shared::slot::Slot;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;
use tokio::sync::mpsc;

/// A living child.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) pidfd: PidFd,
    pub(super) ready_at: Option<Instant>,
    pub(super) heard_at: Instant,
    /// What it said of itself last.
    pub(super) report: Option<RuntimeReport>,
    pub(super) status: String,
    /// The settings it was given.
    pub(super) settings: String,
    /// It was told to end.
    pub(super) ending: bool,
}

/// One role's process, and how its starts go.
#[derive(Debug, Default)]
pub(super) struct Child {
    pub(super) process: Option<Process>,
    pub(super) restarts: Restarts,
    /// No start before then.
    pub(super) not_before: Option<Instant>,
    /// A start is wanted when that time has come.
    pub(super) wanted: bool,
    /// Why the last start was not even tried; empty when it was.
    pub(super) refused: String,
}

/// All children.
pub(super) struct Processes {
    home: Home,
    runtimes: [Child; 2],
    sidecar: Child,
    clients: [Rc<Client>; 2],
    /// The public listener, passed to each sidecar.
    pub(super) listener: Option<OwnedFd>,
    pub(super) turned_at: Instant,
    checks: slots::Checks,
    pub(super) breaker: Breaker,
}

/// Reaps children that have ended; what they were to us is known by their pidfds.
pub(super) fn reap() {
    reap_others(|status| match status {
        WaitStatus::Exited(pid, code) if code != 0 => {
            tracing::info!(pid = pid.as_raw(), code, "child ended");
        }
        WaitStatus::Signaled(pid, signal, _) => {
            tracing::info!(pid = pid.as_raw(), signal = signal.as_str(), "child was ended");
        }
        _ => {}
    });
}

impl Process {
    fn new(pidfd: PidFd, settings: String) -> Self {
        Process {
            pid: pidfd.pid(),
            pidfd,
            ready_at: None,
            heard_at: Instant::now(),
            report: None,
            status: String::new(),
            settings,
            ending: false,
        }
    }
}

impl Processes {
    pub(super) fn child_mut(&mut self, role: Role) -> &mut Child {
        match role {
            Role::Runtime(slot) => &mut self.runtimes[slot as usize],
            _ => &mut self.sidecar,
        }
    }

    pub(super) fn child(&self, role: Role) -> &Child {
        match role {
            Role::Runtime(slot) => &self.runtimes[slot as usize],
            _ => &self.sidecar,
        }
    }

    pub(super) fn process(&self, role: Role) -> Option<&Process> {
        self.child(role).process.as_ref()
    }

    /// Children that do not come up, in words.
    pub(super) fn failing(&self) -> Vec<String> {
        const WORTH_SAYING: u32 = 3;
        let said = |role: Role| {
            let (name, child) = (role.name(), self.child(role));
            let failed = child.restarts.failed();
            match (child.refused.is_empty(), failed >= WORTH_SAYING) {
                (false, _) => Some(format!("{name} cannot be started: {}", child.refused)),
                (true, true) => {
                    let last = crate::io::logs::last_error(&self.home.logs(), name);
                    let last = last.map_or_else(String::new, |message| format!(", last with: {message}"));
                    Some(format!(
                        "{name} failed to start {failed} times in a row{last}; `holdfast logs {name}`"
                    ))
                }
                (true, false) => None,
            }
        };
        [Role::Runtime(Slot::A), Role::Runtime(Slot::B), Role::Sidecar]
            .into_iter()
            .filter(|role| self.process(*role).is_none_or(|process| process.ready_at.is_none()))
            .filter_map(said)
            .collect()
    }

    /// Nothing is to be started in this role; whether something still runs there.
    pub(super) fn make_room(&mut self, role: Role) -> bool {
        let child = self.child_mut(role);
        child.wanted = false;
        child.process.is_some()
    }

    /// What is known of the slots' files, for whoever looks at them apart from the loop.
    pub(super) fn checks(&self) -> slots::Checks {
        self.checks.clone()
    }

    /// What keeps a runtime from being started from this slot, as issue codes; empty: nothing.
    pub(super) fn slot_issue_codes(&self, slot: Slot) -> Vec<&'static str> {
        self.checks.issues(&self.home, slot)
    }

    /// The same, in words.
    pub(super) fn slot_issues(&self, slot: Slot) -> String {
        self.slot_issue_codes(slot).join(", ")
    }

    pub(super) fn client(&self, slot: Slot) -> Rc<Client> {
        self.clients[slot as usize].clone()
    }

    /// The role of the living child with this number.
    pub(super) fn role_of(&self, pid: i32) -> Option<Role> {
        let roles = [Role::Runtime(Slot::A), Role::Runtime(Slot::B), Role::Sidecar];
        roles.into_iter().find(|role| self.process(*role).is_some_and(|process| process.pid == pid))
    }

    /// SIGKILL, at once.
    pub(super) fn kill(&self, role: Role) {
        if let Some(process) = self.process(role) {
            tracing::warn!(role = role.name(), pid = process.pid, "killed");
            if let Err(error) = process.pidfd.send_signal(Signal::SIGKILL) {
                tracing::error!(%error, pid = process.pid, "kill");
            }
        }
    }

    pub(super) fn kill_if_still(&self, role: Role, pid: i32) {
        if self.process(role).is_some_and(|process| process.pid == pid) {
            self.kill(role);
        }
    }

    /// Starts the child.
    pub(super) fn start(
        &mut self,
        role: Role,
        settings: String,
        events: &mpsc::Sender<Event>,
    ) -> std::io::Result<i32> {
        let program = match role {
            Role::Runtime(slot) => self.home.slot(slot).join(slots::RUNTIME),
            _ => programs::beside_us(programs::SIDECAR).map_err(std::io::Error::other)?,
        };
        let mut arguments = vec!["--home".into(), self.home.path().into()];
        if let Role::Runtime(slot) = role {
            arguments.extend(["--slot".into(), slot.name().into()]);
        }
        let release = match role {
            Role::Runtime(slot) => slots::manifest(&self.home, slot).ok().flatten(),
            _ => None,
        };
        arguments.extend(["--settings".into(), settings.clone().into()]);
        let mut plan = child::plan(&program, role, arguments);
        plan.notify = Some(self.home.notify().into());
        // A variable, not an argument: an older release does not know it and starts all the same.
        plan.variables.extend(release.map(|manifest| (RELEASE_VARIABLE, manifest.version.into())));
        if role == Role::Sidecar {
            let listener = match self.listener.take() {
                Some(listener) => listener,
                None => crate::io::listener::bind(&self.home, None).map_err(std::io::Error::other)?.into(),
            };
            self.listener = Some(listener);
            plan = plan.with_listeners(self.listener.iter().map(AsFd::as_fd).collect());
        }
        let mut started = child::start(&self.home, &plan)?;
        let watched = PidFd::open(started.id().cast_signed())
            .and_then(|pidfd| watch(role, &pidfd, events).map(|()| pidfd));
        let pidfd = match watched {
            Ok(pidfd) => pidfd,
            Err(error) => {
                // Unwatched it would hold its role, and its death would be told to nobody.
                started.kill()?;
                started.wait()?;
                return Err(error);
            }
        };
        let pid = pidfd.pid();
        let child = self.child_mut(role);
        child.process = Some(Process::new(pidfd, settings));
        child.wanted = false;
        child.refused.clear();
        Ok(pid)
    }
}

/// Gives [`Event::Died`] when the process has ended.
///
/// # Errors
/// When there is no descriptor left to watch it by.
fn watch(role: Role, pidfd: &PidFd, events: &mpsc::Sender<Event>) -> std::io::Result<()> {
    let (pid, events) = (pidfd.pid(), events.clone());
    let watched = pidfd.try_clone()?;
    tokio::task::spawn_local(async move {
        match watched.died().await {
            Ok(()) => drop(events.send(Event::Died(role, pid)).await),
            Err(error) => tracing::error!(%error, pid, "cannot watch a child"),
        }
    });
    Ok(())
}
