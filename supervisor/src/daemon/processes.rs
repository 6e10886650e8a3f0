//! The process table: sidecar and runtimes, started, adopted, watched, ended.

use super::{Event, SuperviseError, Supervisor};
use crate::attempt::Attempt;
use crate::breaker::Breaker;
use crate::io::child;
use crate::io::slots;
use crate::restart::{Death, Restarts};
use crate::settings::Settings;
use crate::transition::{self, Runtime};
use holdfast_shared::control::Client;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::notify::{Message, Notification};
use holdfast_shared::process::{Living, PassedFd, PidFd, read_holder};
use holdfast_shared::runtime_control::RuntimeReport;
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::WishedReport;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What a living process is given to say what it is, before it is taken for one that has not said READY.
const ADOPTION_ANSWER: Duration = Duration::from_millis(500);
/// Between TERM and KILL of a child that is to end.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// A loop that was away for longer than this has not listened, so silence means nothing.
const AWAY: Duration = Duration::from_secs(1);

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
    restarts: Restarts,
    /// No start before then.
    not_before: Option<Instant>,
    /// A start is wanted when that time has come.
    wanted: bool,
    /// Why the last start was not even tried; empty when it was.
    refused: String,
}

/// All children.
pub(super) struct Processes {
    home: Home,
    runtimes: [Child; 2],
    sidecar: Child,
    clients: [Rc<Client>; 2],
    /// The public listener, passed to each sidecar.
    listener: Option<OwnedFd>,
    turned_at: Instant,
    checks: slots::Checks,
    breaker: Breaker,
}

/// What lives, found by its locks.
pub(super) struct Found {
    runtimes: [Option<Living>; 2],
    sidecar: Option<Living>,
}

/// Looks for living children.
pub(super) fn find(home: &Home) -> std::io::Result<Found> {
    let [a, b] = Slot::BOTH.map(|slot| read_holder(home, Role::Runtime(slot)));
    Ok(Found { runtimes: [a?, b?], sidecar: read_holder(home, Role::Sidecar)? })
}

impl Found {
    pub(super) fn runs_from(&self, slot: Slot) -> bool {
        self.runtimes[slot as usize].is_some()
    }
}

/// Reaps children that have ended; what they were to us is known by their pidfds.
pub(super) fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        match status {
            WaitStatus::StillAlive => return,
            WaitStatus::Exited(pid, code) if code != 0 => {
                tracing::info!(pid = pid.as_raw(), code, "child ended")
            }
            WaitStatus::Signaled(pid, signal, _) => {
                tracing::info!(pid = pid.as_raw(), signal = signal.as_str(), "child was ended");
            }
            _ => {}
        }
    }
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
    /// Takes over what lives and asks it what it is; says what the transition is to know of it.
    ///
    /// # Errors
    /// When what lives cannot be watched.
    pub(super) async fn adopt(
        home: &Home,
        found: Found,
        listeners: Vec<PassedFd>,
        events: &mpsc::Sender<Event>,
        generation: u64,
    ) -> std::io::Result<(Processes, [Runtime; 2], bool)> {
        let clients = Slot::BOTH.map(|slot| Rc::new(Client::new(home.control(Role::Runtime(slot)))));
        let mut processes = Processes {
            home: home.clone(),
            runtimes: [Child::default(), Child::default()],
            sidecar: Child::default(),
            clients,
            listener: listeners.into_iter().next().map(|passed| passed.fd),
            turned_at: Instant::now(),
            checks: slots::Checks::default(),
            breaker: Breaker::default(),
        };
        let Found { runtimes: [a, b], sidecar } = found;
        for (role, living) in
            [(Role::Runtime(Slot::A), a), (Role::Runtime(Slot::B), b), (Role::Sidecar, sidecar)]
        {
            if let Some(living) = living {
                tracing::info!(role = role.name(), pid = living.pid, generation, "adopted");
                let settings = settings_of(living.pid);
                watch(role, &living.pidfd, events)?;
                processes.child_mut(role).process = Some(Process::new(living.pidfd, settings));
            }
        }
        let sidecar_client = Client::new(home.control(Role::Sidecar));
        let (a, b, sidecar) = tokio::join!(
            processes.ask(Slot::A),
            processes.ask(Slot::B),
            sidecar_client.get::<WishedReport>("/v1/status", ADOPTION_ANSWER)
        );
        let runtimes =
            [(Slot::A, a), (Slot::B, b)].map(|(slot, report)| processes.take_adopted(slot, report));
        let serves = processes.sidecar.process.is_some() && sidecar.is_ok();
        if let (true, Some(process)) = (serves, processes.sidecar.process.as_mut()) {
            process.ready_at = Some(Instant::now());
        }
        Ok((processes, runtimes, serves))
    }

    async fn ask(&self, slot: Slot) -> Option<RuntimeReport> {
        self.process(Role::Runtime(slot))?;
        self.clients[slot as usize].get("/v1/status", ADOPTION_ANSWER).await.ok()
    }

    fn take_adopted(&mut self, slot: Slot, report: Option<RuntimeReport>) -> Runtime {
        let Some(process) = self.runtimes[slot as usize].process.as_mut() else { return Runtime::Absent };
        let ready = report.as_ref().is_some_and(|report| report.caught_up || report.epoch.is_some());
        process.report = report;
        process.ready_at = ready.then(Instant::now);
        if ready { Runtime::Ready } else { Runtime::Starting }
    }

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

    /// What keeps a runtime from being started from this slot, as issue codes; empty: nothing.
    pub(super) fn slot_issues(&mut self, slot: Slot) -> String {
        self.checks.issues(&self.home, slot).join(", ")
    }

    pub(super) fn client(&self, slot: Slot) -> Rc<Client> {
        self.clients[slot as usize].clone()
    }

    /// The role of the living child with this number.
    fn role_of(&self, pid: i32) -> Option<Role> {
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
    fn start(&mut self, role: Role, settings: String, events: &mpsc::Sender<Event>) -> std::io::Result<i32> {
        let program = match role {
            Role::Runtime(slot) => self.home.slot(slot).join(slots::RUNTIME),
            _ => slots::beside_us(slots::SIDECAR).map_err(std::io::Error::other)?,
        };
        let mut arguments = vec!["--home".into(), self.home.path().into()];
        if let Role::Runtime(slot) = role {
            arguments.extend(["--slot".into(), slot.name().into()]);
        }
        arguments.extend(["--settings".into(), settings.clone().into()]);
        let mut plan = child::plan(&program, role, arguments);
        plan.notify = Some(self.home.notify().into());
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

/// The settings in the command line of a process that an earlier supervisor has started.
fn settings_of(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments =
        line.split(|byte| *byte == 0).skip_while(|argument| *argument != b"--settings").skip(1);
    String::from_utf8_lossy(arguments.next().unwrap_or_default()).into_owned()
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
                if told && self.attempt == (Attempt::Prewarming { to: slot }) {
                    return self.start_child(role);
                }
                self.advance_attempt(crate::attempt::Event::Died(slot))
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
