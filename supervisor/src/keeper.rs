//! The keeper (`holdfast keep`): the supervisor's life, and nothing else.
//!
//! Parent and subreaper of the supervisor. Passes on inherited listeners at every start, restarts it after its
//! certain death, forwards READY, STATUS and WATCHDOG to its own NOTIFY_SOCKET, reaps whoever is left to it.
//! SIGTERM and SIGHUP mean: leave the children and go. One thread, one poll, no tokio, no configuration.
//!
//! What it starts is its own program, or the root files that a promotion has put in its place; one that is on trial
//! and does not confirm in time is put back (`promotion`). Once they are confirmed their keeper follows this one in the
//! same process (`successor`).

mod passed;
mod signals;
mod successor;
mod supervised;

pub use successor::check;

use crate::exit;
use crate::restart::Restarts;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::notify::{Notification, Notifier, NotifySocket};
use holdfast_shared::process::{LockError, PassedFd, RoleLock};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use passed::Passed;
use signals::Signals;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use successor::Line;
use supervised::Supervisor;

/// What a supervisor that was asked to go is given before the keeper goes without it. It only drops its sockets.
const LEAVE: Duration = Duration::from_secs(5);
/// A supervisor that hangs wakes nobody; whether its trial is over is looked at all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Keeps the supervisor of this home until it stops for good or the keeper is told to go.
pub fn run(home: &Home) -> u8 {
    // First of all: the passed numbers must not be taken by anything else.
    let passed = Passed::take();
    let follows = passed.follows();
    holdfast_shared::log::init("keeper", &instance());
    match keep(home, passed) {
        Ok(code) => code,
        Err(KeepError::Lock(error @ LockError::Taken { .. })) => {
            tracing::error!(%error, "keeper");
            // Behind one that followed is the installed one, which a refusal would not bring back.
            if follows { exit::FAILED } else { exit::REFUSED }
        }
        Err(error) => {
            tracing::error!(%error, "keeper");
            exit::FAILED
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{operation}: {source}")]
    System { operation: &'static str, source: io::Error },
}

fn system<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> KeepError {
    move |source| KeepError::System { operation, source: source.into() }
}

struct Keeper<'a> {
    home: &'a Home,
    lock: RoleLock,
    listeners: Vec<PassedFd>,
    notify: NotifySocket,
    parent: Notifier,
    restarts: Restarts,
    supervisor: Supervisor,
    leaving: Option<Instant>,
    line: Line,
    /// The attempt whose root files are on trial, and since when that is known.
    trial: Option<(String, Instant)>,
}

fn instance() -> String {
    format!("kp-{}", std::process::id())
}

fn keep(home: &Home, passed: Passed) -> Result<u8, KeepError> {
    let line = Line::new(home, passed.follows());
    let Passed { lock, notify, supervisor, listeners, .. } = passed;
    let lock = match lock {
        Some(lock) => RoleLock::adopt(home, Role::Keeper, &instance(), lock)?,
        None => RoleLock::take(home, Role::Keeper, &instance())?,
    };
    nix::sys::prctl::set_child_subreaper(true).map_err(system("become subreaper"))?;
    let notify = match notify {
        Some(socket) => NotifySocket::adopt(socket),
        None => NotifySocket::bind(&home.keeper_notify()).map_err(system("bind the notify socket"))?,
    };
    let mut signals = Signals::catch().map_err(system("catch signals"))?;
    let supervisor = passed::adopted(supervisor);
    let mut keeper = Keeper {
        home,
        lock,
        listeners,
        notify,
        parent: Notifier::from_env(),
        restarts: Restarts::default(),
        supervisor: supervisor.unwrap_or_else(|| Supervisor::Waits { until: Instant::now() }),
        leaving: None,
        line,
        trial: None,
    };
    if !keeper.is_waiting() {
        keeper.parent.ready();
    }
    loop {
        if let Some(code) = keeper.turn(&mut signals)? {
            return Ok(keeper.ends_with(code));
        }
    }
}

impl Keeper<'_> {
    /// One turn of the loop; the exit code when it is over.
    fn turn(&mut self, signals: &mut Signals) -> Result<Option<u8>, KeepError> {
        if let Supervisor::Waits { until } = self.supervisor
            && Instant::now() >= until
        {
            self.start();
        }
        self.wait(signals).map_err(system("poll"))?;
        if signals.take() && self.leaving.is_none() {
            self.leave();
        }
        self.forward();
        let in_use = self.look_at_trial();
        let ended = self.reap();
        if ended.is_none() && self.leaving.is_none() {
            self.show_itself();
            self.hand_over(&in_use, signals);
        }
        match self.leaving {
            Some(deadline) if ended.is_some() || self.is_waiting() || Instant::now() >= deadline => {
                Ok(Some(0))
            }
            Some(_) => Ok(None),
            None => Ok(ended.and_then(|code| self.died(code))),
        }
    }

    /// Told to go: the children are left.
    fn leave(&mut self) {
        tracing::info!("told to go; the children are left");
        self.parent.stopping();
        self.leaving = Some(Instant::now() + LEAVE);
        if let Supervisor::Runs { pidfd, .. } = &self.supervisor {
            let _ = pidfd.send_signal(Signal::SIGTERM);
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.supervisor, Supervisor::Waits { .. })
    }

    /// Waits for a death, a signal, a notification or the next start.
    fn wait(&self, signals: &Signals) -> io::Result<()> {
        let mut watched = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.notify.as_fd(), PollFlags::POLLIN),
        ];
        let deadline = match &self.supervisor {
            Supervisor::Runs { pidfd, .. } => {
                watched.push(PollFd::new(pidfd.as_fd(), PollFlags::POLLIN));
                self.leaving
            }
            Supervisor::Waits { until } => Some(*until),
        };
        let left = deadline.map_or(LOOK_AGAIN, |deadline| {
            // One more than what is left: a turn that begins too early would spin.
            deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
        });
        let timeout = PollTimeout::try_from(left.min(LOOK_AGAIN)).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Passes on one turn's notifications; poll tells at once of more.
    fn forward(&mut self) {
        let messages = self.notify.receive_turn().unwrap_or_else(|error| {
            tracing::warn!(%error, "read notifications");
            Vec::new()
        });
        for message in messages {
            let Supervisor::Runs { pidfd, ready_at, .. } = &mut self.supervisor else { continue };
            if message.pid != pidfd.pid() {
                continue;
            }
            for said in message.said {
                match said {
                    Notification::Ready if ready_at.is_none() => {
                        *ready_at = Some(Instant::now());
                        self.parent.ready();
                    }
                    Notification::Status(text) => self.parent.status(&text),
                    Notification::Watchdog => self.parent.watchdog(),
                    _ => {}
                }
            }
        }
    }
}
