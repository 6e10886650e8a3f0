//! One loop over one closed event enum: joins what decides with the world.
//!
//! On a command the loop decides with the state in memory, submits the record to the journal's writer thread and
//! applies it at once, so that the next decision sees it. Answers and publications wait in `outbound` until the
//! record is durable.

mod active;
mod agents;
mod boot;
mod event;
mod next_event;
mod passive;
mod reads;
mod run_error;
mod transition;
mod turns;
mod writes;

use crate::io::history::History;
use crate::io::journal::{Fatal, Following};
use crate::io::late::LateAnswers;
use crate::io::readable::Readable;
use crate::io::served::{Served, Shared};
use crate::io::spools::Spools;
use crate::io::view::View;
use crate::io::{control, descriptors, link};
use crate::outbound::Outbound;
use crate::readiness::Readiness;
use crate::role::Role;
use crate::settings::Settings;
use active::Active;
pub use event::{Event, Flags, IncomingCall, Ordered};
use holdfast_shared::home::{self, Home};
use holdfast_shared::journal::{CheckpointerEvent, WriterEvent};
use holdfast_shared::notify::{Notifier, WATCHDOG_MILLISECONDS};
use holdfast_shared::pace::Pace;
use holdfast_shared::process::{RoleLock, Signals, bind_unix};
use holdfast_shared::slot::Slot;
use passive::Passive;
pub use run_error::RunError;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

/// Events that may wait for the loop; whoever brings more waits, and with it its socket.
const EVENTS: usize = 1024;
/// Events handled before publications are looked at again.
const EVENTS_AT_A_TIME: usize = 256;
/// Spools that grow without end are read so often: their readers get more at once, the loop has time for others.
const SPOOL_PAUSE: Duration = Duration::from_millis(1);
/// Before that so many news of spools are taken as they come: a session's opening is a dozen of them, and each would wait.
const SPOOL_NEWS_AT_ONCE: u32 = 32;
/// How often the journal is looked at without a hint, and a missing one for the first time.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a runtime is started with.
pub struct Start {
    /// The node's home.
    pub home: Home,
    /// Its slot.
    pub slot: Slot,
    /// Its settings.
    pub settings: Settings,
    /// `rt-<slot>-<8 hex>`
    pub instance: String,
    /// Version of its release.
    pub release: String,
}

/// Whether it writes the journal or follows it.
enum Mode {
    Passive(Box<Passive>),
    Active(Box<Active>),
}

struct Daemon {
    shared: Shared,
    settings: Settings,
    mode: Mode,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    spools: Readable,
    signals: Signals,
    tick: tokio::time::Interval,
    look: tokio::time::Interval,
    notifier: Notifier,
    readiness: Readiness,
}

/// Runs until it is told to end. Needs a current-thread tokio runtime with a `LocalSet`.
///
/// # Errors
/// See [`RunError`].
pub async fn run(start: Start) -> Result<(), RunError> {
    // With fewer it works all the same, as far as they go.
    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let role = home::Role::Runtime(start.slot);
    let _lock = RoleLock::take(&start.home, role, &start.instance)?;
    let mut daemon = Daemon::new(&start)?;
    let shared = daemon.shared.clone();
    let control_listener = listen(&start.home.control(role))?;
    let link_listener = listen(&start.home.link(start.slot))?;
    let serving = [
        tokio::task::spawn_local(control::serve(control_listener, shared.clone(), daemon.sender.clone())),
        tokio::task::spawn_local(link::serve(link_listener, shared, daemon.sender.clone())),
    ];
    let ended = daemon.turn_until_the_end().await;
    daemon.notifier.stopping();
    serving.iter().for_each(tokio::task::JoinHandle::abort);
    ended
}

fn listen(path: &std::path::Path) -> Result<UnixListener, RunError> {
    let failed = || RunError::io(format!("listen at {}", path.display()));
    UnixListener::from_std(bind_unix(path).map_err(failed())?).map_err(failed())
}

/// Unix milliseconds.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Eight hex digits that nobody has used.
fn fresh_epoch() -> String {
    format!("{:08x}", (uuid::Uuid::new_v4().as_u128() >> 96) as u32)
}

impl Daemon {
    fn new(start: &Start) -> Result<Self, RunError> {
        let (following, folded) = Following::open(&start.home.journal())?;
        let spools = Spools::new()?;
        let descriptor = spools.descriptor().map_err(RunError::io("watch spools"))?;
        let watched = Readable::paced(descriptor, Pace::new(SPOOL_NEWS_AT_ONCE, SPOOL_PAUSE))
            .map_err(RunError::io("watch spools"))?;
        let (sender, events) = mpsc::channel(EVENTS);
        let served = Served {
            home: start.home.clone(),
            slot: start.slot,
            instance: start.instance.clone(),
            release: start.release.clone(),
            role: Role::default(),
            caught_up: false,
            problems: Vec::new(),
            degraded: None,
            fencing: false,
            truncation_held: false,
            outbound: Outbound::new(folded.position.lsn),
            folded,
            spools,
            history: History::new(start.home.clone()),
            late: LateAnswers::start(start.home.clone()),
            view: start_view(start),
            links: Vec::new(),
        };
        Ok(Self {
            shared: Rc::new(RefCell::new(served)),
            settings: start.settings.clone(),
            mode: Mode::Passive(Box::new(Passive::new(following))),
            events,
            sender,
            spools: watched,
            signals: Signals::listen(&[libc::SIGTERM, libc::SIGINT])
                .map_err(RunError::io("listen to signals"))?,
            tick: interval(Duration::from_millis(WATCHDOG_MILLISECONDS)),
            look: interval(LOOK_INTERVAL),
            notifier: Notifier::from_env(),
            readiness: Readiness::default(),
        })
    }

    async fn turn_until_the_end(&mut self) -> Result<(), RunError> {
        loop {
            let event = self.next_event().await;
            if self.handle(event).await? {
                return Ok(());
            }
            for _ in 0..EVENTS_AT_A_TIME {
                let Some(event) = self.waiting_event() else { break };
                if self.handle(event).await? {
                    return Ok(());
                }
            }
            self.after_events()?;
        }
    }

    /// Handles one event; whether the process is to end.
    async fn handle(&mut self, event: Event) -> Result<bool, RunError> {
        match event {
            Event::Ordered(ordered) => self.ordered(ordered).await?,
            Event::Call(call) => self.call(*call)?,
            Event::Tick => self.ticked()?,
            Event::JournalGrew => self.follow()?,
            Event::Signal(signal) => {
                tracing::info!(signal, "told to end");
                self.give_up().await?;
                return Ok(true);
            }
            Event::Journal(WriterEvent::Failed { error }) => return Err(Fatal(error).into()),
            Event::Checkpoint(CheckpointerEvent::Failed { error }) => return Err(error.into()),
            Event::SpoolsGrew if matches!(self.mode, Mode::Passive(_)) => self.follow_spools(),
            event => {
                if let Mode::Active(active) = &mut self.mode {
                    active.handle(event);
                }
            }
        }
        Ok(false)
    }

    fn call(&mut self, call: IncomingCall) -> Result<(), RunError> {
        match &mut self.mode {
            Mode::Active(active) => active.call(call)?,
            Mode::Passive(_) => reads::call_passive(&self.shared, &call),
        }
        Ok(())
    }

    fn ticked(&mut self) -> Result<(), RunError> {
        self.notifier.watchdog();
        match &mut self.mode {
            Mode::Active(active) => active.ticked(),
            Mode::Passive(passive) => {
                passive.unread.extend(self.shared.borrow().spools.behind().cloned());
            }
        }
        Ok(())
    }

    fn after_events(&mut self) -> Result<(), RunError> {
        match &mut self.mode {
            Mode::Active(active) => active.after_events(),
            Mode::Passive(passive) => {
                let mut served = self.shared.borrow_mut();
                let read = !passive.unread.is_empty();
                passive.unread.retain(|worker| served.spools.advance(worker));
                // The last spool may be what readiness waits for.
                passive.more |= read && passive.unread.is_empty() && self.readiness != Readiness::Ready;
                Ok(())
            }
        }
    }
}

/// Without a view everything is found by listing directories.
fn start_view(start: &Start) -> Option<View> {
    let started = View::start(start.home.clone(), start.slot);
    started.inspect_err(|error| tracing::warn!(%error, "there is no view")).ok()
}

fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

/// Names that one turn of the loop gathers.
type Names = BTreeSet<String>;
