//! The keeper's child: which supervisor is started, how long its root files may be on trial, and what its end means.

use super::Keeper;
use crate::exit;
use crate::io::{child, root};
use crate::promotion::InUse;
use crate::restart::Death;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::{PidFd, read_holder};
use holdfast_shared::slot::Slot;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The supervisor as the keeper knows it.
pub(super) enum Supervisor {
    Runs { pidfd: PidFd, program: PathBuf, ready_at: Option<Instant> },
    Waits { until: Instant },
}

impl Keeper<'_> {
    pub(super) fn start(&mut self) {
        let arguments = vec!["supervise".into(), "--home".into(), self.home.path().into()];
        let program = self.program();
        let mut plan = child::plan(&program, Role::Supervisor, arguments);
        plan.notify = Some(self.home.keeper_notify().into());
        let plan = plan.with_listeners(self.listeners.iter().map(|passed| passed.fd.as_fd()).collect());
        let started = child::start(self.home, &plan).and_then(|child| PidFd::open(child.id().cast_signed()));
        let now = Instant::now();
        self.supervisor = match started {
            Ok(pidfd) => {
                tracing::info!(pid = pidfd.pid(), "supervisor started");
                Supervisor::Runs { pidfd, program, ready_at: None }
            }
            Err(error) => {
                let wait = self.restarts.died(Death::FailedStart);
                // What is used instead is started with the next turn.
                let wait = if root::leave(self.home, &program) { Duration::ZERO } else { wait };
                tracing::error!(%error, wait_ms = wait.as_millis(), "start the supervisor");
                Supervisor::Waits { until: now + wait }
            }
        };
    }

    /// What is to be the supervisor now.
    fn program(&mut self) -> PathBuf {
        let waited = self.waited_ms();
        let base = root::to_start(self.home, || self.line.base_digest(), now_ms(), waited);
        base.unwrap_or_else(|| self.line.base_program())
    }

    fn waited_ms(&self) -> i64 {
        let waited = self.trial.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        i64::try_from(waited.as_millis()).unwrap_or(i64::MAX)
    }

    /// Root files that were on trial for too long: their supervisor is ended, and the next start puts them back.
    pub(super) fn look_at_trial(&mut self) -> InUse {
        let in_use = root::read(self.home).unwrap_or_default();
        let Some(on_trial) = in_use.on_trial() else {
            self.trial = None;
            return in_use;
        };
        if self.trial.as_ref().is_none_or(|(attempt, _)| *attempt != on_trial.attempt) {
            self.trial = Some((on_trial.attempt.clone(), Instant::now()));
        }
        if in_use.is_late(now_ms(), self.waited_ms())
            && let Supervisor::Runs { pidfd, .. } = &self.supervisor
            && !root::runs_from_earlier(self.home, &in_use, self.line.base_path(), pidfd.pid())
        {
            tracing::warn!(
                attempt = on_trial.attempt,
                pid = pidfd.pid(),
                "not confirmed in time; it is killed"
            );
            let _ = pidfd.send_signal(Signal::SIGKILL);
        }
        in_use
    }

    /// Reaps every child that has ended; the supervisor's exit code when it was among them.
    pub(super) fn reap(&self) -> Option<i32> {
        let own = match &self.supervisor {
            Supervisor::Runs { pidfd, .. } => Some(pidfd.pid()),
            Supervisor::Waits { .. } => None,
        };
        let mut ended = None;
        loop {
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if Some(pid.as_raw()) == own => ended = Some(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if Some(pid.as_raw()) == own => {
                    ended = Some(128 + signal as i32);
                }
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return ended,
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// The supervisor has ended: an exit code for us too, or the time of its next start.
    pub(super) fn died(&mut self, code: i32) -> Option<u8> {
        let for_good = code == 0 || code == i32::from(exit::REFUSED);
        // Who ends well in a trial without having stopped anything is not what it should be.
        if for_good && !(self.trial.is_some() && child_lives(self.home)) {
            tracing::info!(code, "supervisor ended for good");
            return u8::try_from(code).ok();
        }
        let now = Instant::now();
        let death = match &self.supervisor {
            Supervisor::Runs { ready_at, .. } => Death::after_ready(ready_at.map(|at| now - at)),
            Supervisor::Waits { .. } => Death::FailedStart,
        };
        let mut wait = self.restarts.died(death);
        // A file that is no program is given to a shell by execvp, and that ends at once.
        if let (Supervisor::Runs { program, .. }, Death::FailedStart) = (&self.supervisor, death)
            && root::leave(self.home, program)
        {
            wait = Duration::ZERO;
        }
        tracing::warn!(code, ?death, wait_ms = wait.as_millis(), "supervisor died; it is started again");
        self.supervisor = Supervisor::Waits { until: now + wait };
        None
    }
}

/// Whether the sidecar or a runtime lives.
fn child_lives(home: &Home) -> bool {
    let roles = [Role::Sidecar, Role::Runtime(Slot::A), Role::Runtime(Slot::B)];
    roles.into_iter().any(|role| read_holder(home, role).is_ok_and(|living| living.is_some()))
}

/// Unix milliseconds.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
