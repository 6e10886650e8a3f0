//! The keeper (`holdfast keep`): the supervisor's life, and nothing else.
//!
//! Parent and subreaper of the supervisor. Passes on inherited listeners at every start, restarts it after its
//! certain death, forwards READY, STATUS and WATCHDOG to its own NOTIFY_SOCKET, reaps whoever is left to it.
//! SIGTERM and SIGHUP mean: leave the children and go. One thread, one poll, no tokio, no configuration.

use crate::exit;
use crate::io::child;
use crate::io::slots::own_program;
use crate::restart::{Death, Restarts};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::notify::{Notification, Notifier, NotifySocket};
use holdfast_shared::process::{LockError, PassedFd, PidFd, RoleLock, listen_fds};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What a supervisor that was asked to go is given before the keeper goes without it. It only drops its sockets.
const LEAVE: Duration = Duration::from_secs(5);

/// Keeps the supervisor of this home until it stops for good or the keeper is told to go.
pub fn run(home: &Home) -> u8 {
    // First of all: the passed numbers must not be taken by anything else.
    let listeners = listen_fds();
    holdfast_shared::log::init("keeper", &format!("kp-{}", std::process::id()));
    match keep(home, &listeners) {
        Ok(code) => code,
        Err(KeepError::Lock(error @ LockError::Taken { .. })) => {
            tracing::error!(%error, "keeper");
            exit::REFUSED
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

/// The supervisor as the keeper knows it.
enum Supervisor {
    Runs { pidfd: PidFd, ready_at: Option<Instant> },
    Waits { until: Instant },
}

struct Keeper<'a> {
    home: &'a Home,
    listeners: &'a [PassedFd],
    notify: NotifySocket,
    parent: Notifier,
    restarts: Restarts,
    supervisor: Supervisor,
    leaving: Option<Instant>,
}

fn keep(home: &Home, listeners: &[PassedFd]) -> Result<u8, KeepError> {
    let _lock = RoleLock::take(home, Role::Keeper, &format!("kp-{}", std::process::id()))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(system("become subreaper"))?;
    let notify = NotifySocket::bind(&home.keeper_notify()).map_err(system("bind the notify socket"))?;
    let mut signals = signal_pipe().map_err(system("catch signals"))?;
    let mut keeper = Keeper {
        home,
        listeners,
        notify,
        parent: Notifier::from_env(),
        restarts: Restarts::default(),
        supervisor: Supervisor::Waits { until: Instant::now() },
        leaving: None,
    };
    loop {
        if let Some(code) = keeper.turn(&mut signals)? {
            return Ok(code);
        }
    }
}

impl Keeper<'_> {
    /// One turn of the loop; the exit code when it is over.
    fn turn(&mut self, signals: &mut UnixStream) -> Result<Option<u8>, KeepError> {
        if let Supervisor::Waits { until } = self.supervisor
            && Instant::now() >= until
        {
            self.start();
        }
        self.wait(signals).map_err(system("poll"))?;
        if drain(signals) && self.leaving.is_none() {
            tracing::info!("told to go; the children are left");
            self.parent.stopping();
            self.leaving = Some(Instant::now() + LEAVE);
            if let Supervisor::Runs { pidfd, .. } = &self.supervisor {
                let _ = pidfd.send_signal(Signal::SIGTERM);
            }
        }
        self.forward();
        let ended = self.reap();
        match self.leaving {
            Some(deadline) if ended.is_some() || self.is_waiting() || Instant::now() >= deadline => {
                Ok(Some(0))
            }
            Some(_) => Ok(None),
            None => Ok(ended.and_then(|code| self.died(code))),
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.supervisor, Supervisor::Waits { .. })
    }

    fn start(&mut self) {
        let arguments = vec!["supervise".into(), "--home".into(), self.home.path().into()];
        let mut plan = child::plan(&own_program(), Role::Supervisor, arguments);
        plan.notify = Some(self.home.keeper_notify().into());
        let plan = plan.with_listeners(self.listeners.iter().map(|passed| passed.fd.as_fd()).collect());
        let started = child::start(self.home, &plan).and_then(|child| PidFd::open(child.id().cast_signed()));
        let now = Instant::now();
        self.supervisor = match started {
            Ok(pidfd) => {
                tracing::info!(pid = pidfd.pid(), "supervisor started");
                Supervisor::Runs { pidfd, ready_at: None }
            }
            Err(error) => {
                let wait = self.restarts.died(Death::FailedStart);
                tracing::error!(%error, wait_ms = wait.as_millis(), "start the supervisor");
                Supervisor::Waits { until: now + wait }
            }
        };
    }

    /// Waits for a death, a signal, a notification or the next start.
    fn wait(&self, signals: &UnixStream) -> io::Result<()> {
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
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            // One more than what is left: a turn that begins too early would spin.
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
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

    /// Reaps every child that has ended; the supervisor's exit code when it was among them.
    fn reap(&self) -> Option<i32> {
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
    fn died(&mut self, code: i32) -> Option<u8> {
        if code == 0 || code == i32::from(exit::REFUSED) {
            tracing::info!(code, "supervisor ended for good");
            return u8::try_from(code).ok();
        }
        let now = Instant::now();
        let death = match &self.supervisor {
            Supervisor::Runs { ready_at, .. } => Death::after_ready(ready_at.map(|at| now - at)),
            Supervisor::Waits { .. } => Death::FailedStart,
        };
        let wait = self.restarts.died(death);
        tracing::warn!(code, ?death, wait_ms = wait.as_millis(), "supervisor died; it is started again");
        self.supervisor = Supervisor::Waits { until: now + wait };
        None
    }
}

/// SIGTERM and SIGHUP as bytes in a pipe.
fn signal_pipe() -> io::Result<UnixStream> {
    let (ours, handlers) = UnixStream::pair()?;
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        signal_hook::low_level::pipe::register(signal, handlers.try_clone()?)?;
    }
    // A terminal's Ctrl-C is for `up`, which decides what it means.
    signal_hook::flag::register(libc::SIGINT, std::sync::Arc::default())?;
    ours.set_nonblocking(true)?;
    Ok(ours)
}

fn drain(signals: &mut UnixStream) -> bool {
    let mut bytes = [0u8; 16];
    matches!(signals.read(&mut bytes), Ok(count) if count > 0)
}
