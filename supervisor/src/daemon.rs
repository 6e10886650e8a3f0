//! The supervisor (`holdfast supervise`): one loop over one closed event enum.
//!
//! Order of effects: step, journal, adopt, act. Whatever takes time (calls, probes, reading the journal, waiting
//! for deaths) runs in a task of its own and comes back as an event.

mod answers;
mod attempts;
mod children;
mod effects;
mod guards;
mod inactive;
mod inbox;
mod looks;
mod measured;
mod prepare;
mod processes;
mod promote;
mod requests;
mod run;
mod sidecar;
mod start;
mod tokens;
mod told;
mod units;
mod waiting;

use crate::command::Command;
use crate::io::control::Responder;
use crate::io::found::Found;
use crate::io::journal::SupervisorJournal;
use crate::io::replace::{HandOver, Kept};
use crate::metrics::Counted;
use crate::settings::Settings;
use crate::transition::{self, Transition};
use holdfast_shared::error::ApiError;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::journal::WriteError;
use holdfast_shared::notify::{Message, Notifier, WATCHDOG_MILLISECONDS};
use holdfast_shared::process::{RoleLock, Signals};
use holdfast_shared::runtime_control::RuntimeReport;
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::WishedReport;
use inbox::asked_or_notified;
use processes::Processes;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

pub use run::run;

/// Events that tasks have sent and the loop has not taken. Past it they wait; each has at most one under way.
const QUEUED_EVENTS: usize = 1024;
/// How often silence, health and the state of the inactive slot are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often logs, and bundles that nobody asks for any more, are looked at.
const ROTATE_EVERY_TICKS: u64 = 40;

/// Everything that can happen to the supervisor.
#[derive(Debug)]
pub enum Event {
    /// Somebody asks something on the control socket.
    Command(Command, Responder),
    /// What a release must be able to deal with, looked up for a change that was asked for.
    Demanded(requests::Asked, Found, Responder),
    /// A child said something.
    Notified(Message),
    /// A process of this role is certainly dead.
    Died(Role, i32),
    /// An input of the transition that came from a runtime, a timer or the journal.
    Transition(transition::Event),
    /// The attempt's state with this number has lasted for its time.
    AttemptDeadline(u64),
    /// A bundle was put into its slot for the attempt's state with this number, or not.
    Prepared(u64, prepare::Outcome),
    /// A slot that is to be prepared may be free now.
    PrepareAgain(u64),
    /// Root files were put in place for the attempt's state with this number, or not.
    RootPlaced(u64, String, promote::Outcome),
    /// A probe of a slot ended, asked for in the attempt's state with this number; `true`: it was good.
    Probed(u64, Slot, bool),
    /// The sidecar's answer to the wished state with this number.
    SidecarAnswered(u64, Result<WishedReport, ApiError>),
    /// A runtime's answer to a look, asked when this was the last decision.
    Reported(Slot, holdfast_shared::decision::Decision, Box<RuntimeReport>),
    /// A child's wait before its next start is over.
    StartDue(Role),
    /// A child that was told to end has had its time.
    KillDue(Role, i32),
    /// The whole tree below is stopped.
    Stopped(crate::io::stop_tree::Stopped),
}

/// How the loop ends.
enum End {
    /// Everything is stopped.
    Stopped,
    /// The children are left.
    Left,
    /// The children are left to the program that this process is to become.
    Replaced(Box<HandOver>),
}

/// Why the supervisor ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The home cannot be used; nothing was written.
    #[error(transparent)]
    Home(#[from] ApiError),
    /// Another supervisor could not be replaced.
    #[error(transparent)]
    Lock(#[from] holdfast_shared::process::LockError),
    /// There is no journal.
    #[error(transparent)]
    Journal(#[from] crate::io::journal::OpenError),
    /// The journal failed: what was decided last may or may not be durable, so the next supervisor settles.
    #[error("supervisor journal: {0}")]
    Write(#[from] WriteError),
    /// The system refused.
    #[error("{operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

impl SuperviseError {
    pub(crate) fn system(operation: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| SuperviseError::System { operation, source }
    }
}

/// The supervisor's whole state; only the loop touches it.
struct Supervisor {
    home: Home,
    instance: String,
    node_id: String,
    settings: Settings,
    journal: SupervisorJournal,
    lock: RoleLock,
    transition: Transition,
    /// Number of the attempt's state, so that what belongs to an earlier one is ignored.
    attempt_no: u64,
    /// Of whoever verifies or unpacks now.
    preparation: prepare::Revoked,
    attempt_timer: Option<tokio::task::JoinHandle<()>>,
    /// Good probes in a row in this state.
    probes_in_a_row: u32,
    /// The node has not been settled since this supervisor started: what the journal says of an attempt has not been
    /// compared with what serves.
    recovering: bool,
    waiting: waiting::Waiting,
    promotion: promote::Promotion,
    processes: Processes,
    sidecar: sidecar::Sidecar,
    /// A runtime has served since this supervisor started, or before it.
    has_served: bool,
    degraded: bool,
    /// Whoever waits for the stop, once it is under way.
    stopping: Option<Vec<Responder>>,
    /// What is wrong with the node beyond its children, for people.
    problems: Vec<String>,
    /// What is counted for `GET /metrics`.
    counted: Counted,
    /// Since when browser traffic is held, and whether the last that was decided of it was a switch.
    held: (Option<Instant>, bool),
    keeper: Notifier,
    timer: Option<tokio::task::JoinHandle<()>>,
    ticks: u64,
    events: mpsc::Sender<Event>,
    last_event: serde_json::Value,
}

async fn supervise(home: &Home, instance: String, kept: Kept) -> Result<End, SuperviseError> {
    let (events, mut inbox) = mpsc::channel(QUEUED_EVENTS);
    let (mut supervisor, notify) = start::start(home, instance, kept, events).await?;
    // SAFETY: the socket owns its descriptor, always answers with the same, and lives in here.
    let notify = unsafe { AsyncFd::register(notify) }
        .map_err(|error| SuperviseError::system("watch notifications")(error.into()))?;
    let signals = [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGCHLD];
    let mut signals = Signals::listen(&signals).map_err(SuperviseError::system("catch signals"))?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watchdog = tokio::time::interval(Duration::from_millis(WATCHDOG_MILLISECONDS));
    loop {
        // What comes at its time goes first, as it cannot come without end; of the rest, neither waits for the other.
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                libc::SIGTERM | libc::SIGHUP if supervisor.stopping.is_none() => {
                    tracing::info!("told to go; the children are left");
                    return Ok(End::Left);
                }
                libc::SIGCHLD => processes::reap(),
                _ => {}
            },
            _ = tick.tick() => supervisor.tick()?,
            _ = watchdog.tick() => supervisor.keeper.watchdog(),
            turn = asked_or_notified(&mut inbox, &notify) => {
                for event in turn {
                    if let Some(end) = supervisor.handle(event)? {
                        return Ok(end);
                    }
                }
            }
        }
        supervisor.state_wish();
        match supervisor.promotion_ends() {
            Some(promote::Ends::Leave) => return Ok(End::Left),
            Some(promote::Ends::Replace(program)) => return supervisor.hand_over(program),
            None => {}
        }
    }
}

impl Supervisor {
    fn handle(&mut self, event: Event) -> Result<Option<End>, SuperviseError> {
        match event {
            Event::Command(command, responder) => self.command(command, responder)?,
            Event::Demanded(asked, found, responder) => self.asked(&asked, &found, responder)?,
            Event::Notified(message) => self.notified(message)?,
            Event::Died(role, pid) => self.died(role, pid)?,
            Event::Transition(event) => self.advance(event)?,
            Event::AttemptDeadline(number) => self.attempt_deadline(number)?,
            Event::Prepared(number, outcome) => self.prepared(number, outcome)?,
            Event::PrepareAgain(number) => self.prepare_again(number)?,
            Event::RootPlaced(number, attempt, outcome) => self.root_placed(number, &attempt, outcome)?,
            Event::Probed(number, slot, good) => self.probed(number, slot, good)?,
            Event::SidecarAnswered(number, answer) => self.sidecar_answered(number, answer)?,
            Event::Reported(slot, decision, report) => self.reported(slot, decision, *report)?,
            Event::StartDue(role) => self.start_due(role)?,
            Event::KillDue(role, pid) => self.processes.kill_if_still(role, pid),
            Event::Stopped(stopped) => {
                self.answer_stopped(stopped);
                // The answers leave before the process does.
                return Ok(Some(End::Stopped));
            }
        }
        Ok(None)
    }

    fn tick(&mut self) -> Result<(), SuperviseError> {
        self.ticks += 1;
        self.journal.sync()?;
        if self.ticks.is_multiple_of(ROTATE_EVERY_TICKS)
            && let Err(error) = crate::io::logs::rotate(&self.home.logs(), crate::io::logs::ROTATE_BYTES)
        {
            tracing::warn!(%error, "rotate logs");
        }
        if self.ticks.is_multiple_of(ROTATE_EVERY_TICKS) {
            self.sweep_incoming();
        }
        if self.stopping.is_some() {
            return Ok(());
        }
        if self.attempts().leaves_runtimes_alone() && self.transition.owner().is_some() {
            self.journal.checkpoint_if_due();
        }
        self.look_at_breaker()?;
        self.look_at_memory()?;
        self.look_for_silence()?;
        self.look_at_active();
        self.look_at_promotion()?;
        self.look_at_root()?;
        self.reconcile_inactive()
    }

    /// Sends an event to the loop from within it, after what is queued.
    fn later(&self, after: Duration, event: Event) -> tokio::task::JoinHandle<()> {
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(after).await;
            let _ = events.send(event).await;
        })
    }
}

/// Unix milliseconds.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
