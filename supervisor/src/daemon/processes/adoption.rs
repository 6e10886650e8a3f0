//! What lives already when a supervisor begins: found by its locks, watched from then on like what it has started, and
//! asked what it is. Nothing is started or ended here.

use super::{Child, Process, Processes, watch};
use crate::breaker::Breaker;
use crate::daemon::Event;
use crate::io::slots;
use crate::transition::Runtime;
use holdfast_shared::control::Client;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::{Living, read_holder};
use holdfast_shared::runtime_control::RuntimeReport;
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::WishedReport;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What a living process is given to say what it is, before it is taken for one that has not said READY.
const ADOPTION_ANSWER: Duration = Duration::from_millis(500);

/// What lives, found by its locks.
pub(in crate::daemon) struct Found {
    runtimes: [Option<Living>; 2],
    sidecar: Option<Living>,
}

/// Looks for living children.
pub(in crate::daemon) fn find(home: &Home) -> std::io::Result<Found> {
    let [a, b] = Slot::BOTH.map(|slot| read_holder(home, Role::Runtime(slot)));
    Ok(Found { runtimes: [a?, b?], sidecar: read_holder(home, Role::Sidecar)? })
}

impl Found {
    pub(in crate::daemon) fn runs_from(&self, slot: Slot) -> bool {
        self.runtimes[slot as usize].is_some()
    }
}

impl Processes {
    /// Takes over what lives and asks it what it is; says what the transition is to know of it.
    ///
    /// # Errors
    /// When what lives cannot be watched.
    pub(in crate::daemon) async fn adopt(
        home: &Home,
        found: Found,
        listener: Option<OwnedFd>,
        events: &mpsc::Sender<Event>,
        generation: u64,
    ) -> std::io::Result<(Processes, [Runtime; 2], bool)> {
        let clients = Slot::BOTH.map(|slot| Rc::new(Client::new(home.control(Role::Runtime(slot)))));
        let mut processes = Processes {
            home: home.clone(),
            runtimes: [Child::default(), Child::default()],
            sidecar: Child::default(),
            clients,
            listener,
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
}

/// The settings in the command line of a process that an earlier supervisor has started.
fn settings_of(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments =
        line.split(|byte| *byte == 0).skip_while(|argument| *argument != b"--settings").skip(1);
    String::from_utf8_lossy(arguments.next().unwrap_or_default()).into_owned()
}
