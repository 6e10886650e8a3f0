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
mod looks;
mod measured;
mod prepare;
mod processes;
mod promote;
mod requests;
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
use crate::io::replace::{HandOver, Kept, is_alone_within, replace};
use crate::metrics::Counted;
use crate::settings::Settings;
use crate::transition::{self, Transition};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::journal::WriteError;
use holdfast_shared::notify::{Message, Notifier, NotifySocket, TURN_AT_MOST, WATCHDOG_MILLISECONDS};
use holdfast_shared::process::{RoleLock, Signals, read_holder};
use holdfast_shared::runtime_control::RuntimeReport;
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::WishedReport;
use processes::Processes;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// Events that tasks have sent and the loop has not taken. Past it they wait; each has at most one under way.
const QUEUED_EVENTS: usize = 1024;
/// How often silence, health and the state of the inactive slot are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often logs, and bundles that nobody asks for any more, are looked at.
const ROTATE_EVERY_TICKS: u64 = 40;
/// Exit code after SIGTERM or SIGHUP: gone, the children left. Not 0, which means that everything was stopped.
const LEFT: u8 = 15;
/// What threads that start workers are given to end before this process becomes another program.
const STARTS_END: Duration = Duration::from_secs(5);

/// And as long again for the last of them to be gone from the process. Both stay far below systemd's watchdog.
const ALONE: Duration = Duration::from_secs(5);

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

/// Supervises this home until it is stopped, told to leave, or cannot go on.
pub fn run(home: &Home) -> u8 {
    // First of all: the passed numbers must not be taken by anything else.
    let mut kept = Kept::from_environment();
    let listeners = holdfast_shared::process::listen_fds();
    kept.listener = kept.listener.or_else(|| listeners.into_iter().next().map(|passed| passed.fd));
    let instance = format!("sv-{}", std::process::id());
    holdfast_shared::log::init("supervisor", &instance);
    loop {
        match run_once(home, &instance, kept) {
            Ok(code) => return code,
            // Who still works here may fork while the locks are open to whatever it executes, which would then have them
            // for as long as it lives. Ended, this process is followed by the same program, which the keeper starts.
            Err(_) if !is_alone_within(ALONE) => {
                tracing::error!(
                    "a thread of the supervisor does not end; the keeper starts the promoted one"
                );
                return LEFT;
            }
            // Comes back only when it could not become the other program: then this one goes on.
            Err(hand_over) => kept = replace(home, *hand_over),
        }
        tracing::error!(error = kept.failed, "the supervisor was not replaced");
    }
}

/// Supervises until the end: an exit code, or what the program is given that this process is to become.
fn run_once(home: &Home, instance: &str, kept: Kept) -> Result<u8, Box<HandOver>> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "start the event loop");
            return Ok(crate::exit::FAILED);
        }
    };
    let local = tokio::task::LocalSet::new();
    let outcome = local.block_on(&runtime, supervise(home, instance.to_owned(), kept));
    let outcome = match outcome {
        Ok(End::Replaced(hand_over)) => {
            drop(local);
            // A worker whose start is under way is started. What takes longer is looked at before descriptors are kept.
            runtime.shutdown_timeout(STARTS_END);
            return Err(hand_over);
        }
        outcome => outcome,
    };
    // Reading threads may be under way; nothing of theirs is to be waited for.
    runtime.shutdown_background();
    Ok(exit_code(home, outcome))
}

fn exit_code(home: &Home, outcome: Result<End, SuperviseError>) -> u8 {
    match outcome {
        Ok(End::Stopped) => crate::exit::FINE,
        Ok(End::Left | End::Replaced(_)) => LEFT,
        Err(SuperviseError::Home(error)) => {
            tracing::error!(code = error.code.as_str(), "{}", error.message);
            code_of_home_error(&error, child_lives(home))
        }
        Err(error) => {
            tracing::error!(%error, "supervisor");
            crate::exit::FAILED
        }
    }
}

/// Only a home that no later start can use either, with nothing alive that needs a supervisor, ends the keeper;
/// whatever else is wrong may be right again (a full disk, a `holdfast.toml` under edit), so it starts us again.
fn code_of_home_error(error: &ApiError, child_lives: bool) -> u8 {
    match error.code {
        Code::HomeDamaged | Code::HomeNewer if !child_lives => crate::exit::REFUSED,
        _ => crate::exit::FAILED,
    }
}

/// Whether the sidecar or a runtime lives. A lock whose holder cannot be told is held all the same.
fn child_lives(home: &Home) -> bool {
    let roles = [Role::Sidecar, Role::Runtime(Slot::A), Role::Runtime(Slot::B)];
    roles.into_iter().any(|role| read_holder(home, role).map_or(true, |living| living.is_some()))
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

/// The next event, or one turn's notifications, whichever is there; when both always are, each about every other time.
async fn asked_or_notified(inbox: &mut mpsc::Receiver<Event>, socket: &AsyncFd<NotifySocket>) -> Vec<Event> {
    tokio::select! {
        Some(event) = inbox.recv() => vec![event],
        messages = notified(socket) => match messages {
            Ok(messages) => messages.into_iter().map(Event::Notified).collect(),
            // Notifications are hints; what anybody may send must not end the supervisor.
            Err(error) => {
                tracing::warn!(%error, "read notifications");
                Vec::new()
            }
        },
    }
}

/// One turn's notifications.
async fn notified(socket: &AsyncFd<NotifySocket>) -> std::io::Result<Vec<Message>> {
    let mut ready = socket.readable().await?;
    let messages = socket.get_ref().receive_turn();
    if !messages.as_ref().is_ok_and(|messages| messages.len() == TURN_AT_MOST) {
        ready.clear_ready();
    }
    messages
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_home_of_no_use_with_nothing_alive_ends_the_keeper() {
        let code = |code, lives| code_of_home_error(&ApiError::new(code, "x"), lives);
        for lost in [Code::HomeDamaged, Code::HomeNewer] {
            assert_eq!(code(lost, false), crate::exit::REFUSED);
            assert_eq!(code(lost, true), crate::exit::FAILED);
        }
        for passes in [Code::InvalidRequest, Code::StorageFull, Code::InternalError, Code::Refused] {
            assert_eq!(code(passes, false), crate::exit::FAILED);
        }
    }

    #[tokio::test]
    async fn neither_events_nor_notifications_without_end_keep_the_other_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify.sock");
        let socket = NotifySocket::bind(&path).unwrap();
        // SAFETY: the socket owns its descriptor, always answers with the same, and lives in here.
        let socket = unsafe { AsyncFd::register(socket) }.unwrap();
        let child = Notifier::to(&path);
        let (events, mut inbox) = mpsc::channel(1);
        let (mut asked, mut notified) = (0, 0);
        while asked == 0 || notified == 0 {
            child.watchdog();
            let _ = events.try_send(Event::StartDue(Role::Sidecar));
            assert!(asked + notified < 10_000, "{asked} events, {notified} notifications");
            for event in asked_or_notified(&mut inbox, &socket).await {
                match event {
                    Event::Notified(_) => notified += 1,
                    _ => asked += 1,
                }
            }
        }
    }

    #[test]
    fn a_locked_role_of_a_child_lives() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        std::fs::create_dir_all(home.run()).unwrap();
        assert!(!child_lives(&home));
        let _lock = RoleLock::take(&home, Role::Runtime(Slot::B), "rt-test").unwrap();
        assert!(child_lives(&home));
    }
}
