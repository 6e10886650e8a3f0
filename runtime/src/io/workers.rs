//! Workers in the world: asks the supervisor for them, reads what their files say, writes their inboxes.

mod spawner;
mod syncs;

use crate::agent::StandingWorker;
use crate::daemon::Event;
use crate::io::spools::{Spools, is_damage};
use crate::settings::Settings;
use crate::task::Task;
use crate::workers::{KnownRequests, Life, Observed, Wanted};
use holdfast_shared::control::Client;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::inbox::{InboxError, InboxWriter, Message};
use holdfast_shared::leftovers::end_leftovers;
use holdfast_shared::spool::{SpoolError, SyncInterval, is_locked};
use holdfast_shared::supervisor_control::{SpawnWorker, Spawned};
use holdfast_shared::worker::{self, Started, WorkerState};
use spawner::outcome;
pub use spawner::{SpawnOutcome, Spawner};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use syncs::{SYNCS_AT_ONCE, SealSync};
use tokio::sync::{Semaphore, mpsc};

/// How long the supervisor may take to make a worker's directory and start its holder.
const SPAWN_DEADLINE: Duration = Duration::from_secs(10);
/// How long a holder may take from there to its lock; then the worker is given up and another is ordered.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// The workers of this activation.
pub struct Workers {
    home: Home,
    epoch: u64,
    client: Rc<Client>,
    events: mpsc::Sender<Event>,
    settings: Settings,
    syncs: Rc<Semaphore>,
    known: HashMap<String, Known>,
}

#[derive(Default)]
struct Known {
    asked: bool,
    asks: u32,
    answered_at: Option<Instant>,
    failed: bool,
    refused: Option<String>,
    /// A command that was spawned has neither a holder nor a beginning, as far as was seen since then.
    unbegun_since: Option<Instant>,
    inbox: Option<InboxWriter>,
    lost: bool,
    sync: SyncInterval,
    syncing: bool,
    seal: SealSync,
}

/// Why a worker cannot be looked at or told.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// Its spool or directory.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Its inbox.
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

impl WorkersError {
    /// There was no room for what was to be written.
    pub fn is_disk_full(&self) -> bool {
        let source = match self {
            Self::Spool(SpoolError::Io { source, .. }) | Self::Inbox(InboxError::Io { source, .. }) => source,
            _ => return false,
        };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// The worker that a task is to have: the running turn's, or the agent's standing one.
pub fn wanted(task: &Task) -> Option<Wanted> {
    let running = task.running.as_ref();
    let turn = running.map(|running| running.turn.clone()).unwrap_or_default();
    let known = known(task);
    let (spawn_id, number, end_message) = match &task.agent {
        None => {
            let order = &running?.order;
            (&order.spawn_id, order.number, order.end_message)
        }
        Some(agent) => {
            let worker = agent.worker.as_ref()?;
            (&worker.spawn_id, worker.number, worker.ending.as_ref().map(|ending| ending.number))
        }
    };
    let (task, protocol, spawn_id) = (task.id.clone(), task.protocol, spawn_id.clone());
    Some(Wanted { task, turn, spawn_id, number, end_message, protocol, known })
}

/// What the journal knows of the requests of a task's agent.
pub fn known(task: &Task) -> KnownRequests {
    let worker = task.agent.as_ref().and_then(|agent| agent.worker.as_ref());
    worker.map_or_else(KnownRequests::default, StandingWorker::known)
}

impl Workers {
    /// None known yet.
    pub fn new(home: &Home, epoch: u64, settings: &Settings, events: mpsc::Sender<Event>) -> Self {
        let client = Rc::new(Client::new(home.control(Role::Supervisor)));
        let (home, settings) = (home.clone(), settings.clone());
        let syncs = Rc::new(Semaphore::new(SYNCS_AT_ONCE));
        Self { home, epoch, client, events, settings, syncs, known: HashMap::new() }
    }

    /// How a worker is now; follows its spool from the moment that it is there.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn observe(&mut self, wanted: &Wanted, spools: &mut Spools) -> Result<Observed, WorkersError> {
        let life = self.life(wanted, spools)?;
        let known = self.known.entry(wanted.spawn_id.clone()).or_default();
        let told = known.inbox.as_ref().map_or(0, InboxWriter::last);
        let late = known.answered_at.is_some_and(|at| at.elapsed() > START_DEADLINE);
        Ok(Observed {
            life,
            asked: known.asked,
            answered: known.answered_at.is_some(),
            overdue: known.failed || late,
            refused: known.refused.is_some(),
            told: told.max(spools.consumed(&wanted.spawn_id)),
            read_to_end: !spools.is_behind(&wanted.spawn_id),
        })
    }

    fn life(&mut self, wanted: &Wanted, spools: &mut Spools) -> Result<Life, WorkersError> {
        let (spawn_id, directory) = (&wanted.spawn_id, self.home.worker(&wanted.spawn_id));
        let known = self.known.entry(spawn_id.clone()).or_default();
        if let Some(exit) = spools.exit(spawn_id) {
            return Ok(Life::Ended(exit));
        }
        if known.lost {
            return Ok(Life::Lost);
        }
        if spools.follows(spawn_id) && is_locked(&directory)? {
            return Ok(if spools.is_damaged(spawn_id) { Life::Spoiled } else { Life::Alive });
        }
        let state = match WorkerState::read(&directory) {
            Err(error) if is_damage(&error) => state_despite(&directory, error)?,
            state => Some(state?),
        };
        if state != Some(WorkerState::NotStarted) {
            spools.follow(spawn_id, &directory, wanted.protocol, &wanted.known)?;
            // What lies there already is no news.
            spools.catch_up(spawn_id);
        }
        Ok(match state {
            Some(WorkerState::NotStarted) => Life::NotStarted,
            Some(WorkerState::Alive(_)) => Life::Alive,
            Some(WorkerState::LostBeforeStart) => match worker::is_abandoned(&directory) {
                Ok(true) => Life::Abandoned,
                _ => Life::BeforeStart,
            },
            Some(WorkerState::Ended(exit)) => Life::Ended(exit),
            Some(WorkerState::Lost(_)) | None => match spools.exit(spawn_id) {
                Some(exit) => Life::Ended(exit),
                None => {
                    known.lost = true;
                    end_lost(spawn_id, &directory);
                    Life::Lost
                }
            },
        })
    }

    /// Asks the supervisor for the worker that a task is to have; answered by [`Event::Spawned`].
    pub fn spawn(&mut self, task: &Task) {
        let Some(spawn_id) = task.worker() else { return };
        let known = self.known.entry(spawn_id.to_owned()).or_default();
        known.asked = true;
        let pause = match known.asks {
            0 => Duration::ZERO,
            asks => self.settings.spawn_pause(asks),
        };
        known.asks = known.asks.saturating_add(1);
        // A standing worker is for no one turn.
        let running = task.running.as_ref().filter(|_| task.agent.is_none());
        let request = SpawnWorker {
            spawn_id: spawn_id.to_owned(),
            skill: task.skill.clone(),
            version: String::new(),
            task: task.id.clone(),
            turn: running.map(|running| running.turn.clone()).unwrap_or_default(),
            epoch: self.epoch,
            prompt: running.map(|running| running.order.text.clone()).unwrap_or_default(),
            terminal: None,
        };
        let (client, events, task) = (self.client.clone(), self.events.clone(), task.id.clone());
        tokio::task::spawn_local(async move {
            // Even a pause of nothing takes until the timer's next millisecond.
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let answer = client.post::<_, Spawned>("/v1/workers", &request, SPAWN_DEADLINE).await;
            let spawned = Event::Spawned { task, spawn_id: request.spawn_id, outcome: outcome(answer) };
            // The loop is gone only when the process ends.
            let _sent = events.send(spawned).await;
        });
    }

    /// What asks the supervisor for the commands of agents.
    pub fn spawner(&self) -> Spawner {
        Spawner { client: self.client.clone(), epoch: self.epoch, settings: self.settings.clone() }
    }

    /// The supervisor has answered.
    pub fn spawned(&mut self, spawn_id: &str, outcome: SpawnOutcome) {
        let Some(known) = self.known.get_mut(spawn_id) else { return };
        known.asked = false;
        match outcome {
            SpawnOutcome::Started => known.answered_at = Some(Instant::now()),
            SpawnOutcome::Failed(error) => {
                tracing::warn!(worker = spawn_id, error, "worker could not be started");
                known.failed = true;
            }
            SpawnOutcome::Refused(error) => {
                tracing::error!(worker = spawn_id, error, "worker was refused");
                known.refused = Some(error);
            }
            SpawnOutcome::Again(error) => {
                tracing::info!(worker = spawn_id, error, "the supervisor is asked again for a worker");
            }
        }
    }

    /// A worker that was not asked for is never to be: it counts as refused.
    pub fn refuse(&mut self, spawn_id: &str, why: String) {
        let known = self.known.entry(spawn_id.to_owned()).or_default();
        known.refused.get_or_insert(why);
    }

    /// Why the supervisor refused a worker.
    pub fn refusal(&self, spawn_id: &str) -> Option<String> {
        self.known.get(spawn_id).and_then(|known| known.refused.clone())
    }

    /// Makes sure that a worker which has not started never will.
    ///
    /// # Errors
    /// When its directory cannot be marked.
    pub fn abandon(&mut self, spawn_id: &str) -> Result<(), WorkersError> {
        let state = worker::abandon(&self.home.worker(spawn_id))?;
        tracing::info!(worker = spawn_id, ?state, "worker given up before its start");
        Ok(())
    }

    /// Gives up a command that was spawned where nothing has begun it within `START_DEADLINE`: its start failed, or its
    /// holder died before. Whether it was given up now. To be asked now and then while a command has not ended.
    ///
    /// # Errors
    /// When its directory cannot be looked at or marked.
    pub fn give_up_unbegun(&mut self, spawn_id: &str) -> Result<bool, WorkersError> {
        let directory = self.home.worker(spawn_id);
        let known = self.known.entry(spawn_id.to_owned()).or_default();
        if is_locked(&directory)? || Started::path(&directory).exists() || is_given_up(&directory) {
            known.unbegun_since = None;
            return Ok(false);
        }
        let since = *known.unbegun_since.get_or_insert_with(Instant::now);
        if since.elapsed() <= START_DEADLINE {
            return Ok(false);
        }
        self.abandon(spawn_id)?;
        Ok(is_given_up(&directory))
    }

    /// Tells a worker to end.
    ///
    /// # Errors
    /// When the message cannot be written; it can be tried again.
    pub fn tell_end(&mut self, spawn_id: &str, number: u64) -> Result<(), WorkersError> {
        self.tell(spawn_id, number, &Message::Cancel)
    }

    /// Tells a worker something. Numbers rise.
    ///
    /// # Errors
    /// When the message cannot be written; it can be tried again.
    pub fn tell(&mut self, spawn_id: &str, number: u64, message: &Message) -> Result<(), WorkersError> {
        let known = self.known.entry(spawn_id.to_owned()).or_default();
        let inbox = match &mut known.inbox {
            Some(inbox) => inbox,
            None => known.inbox.insert(InboxWriter::create(&self.home.worker(spawn_id), self.epoch)?),
        };
        Ok(inbox.send(number, message)?)
    }

    /// The worker took the messages up to this one: they need no room any more.
    pub fn release_inbox(&mut self, spawn_id: &str, consumed: u64) {
        if let Some(inbox) = self.known.get_mut(spawn_id).and_then(|known| known.inbox.as_mut()) {
            inbox.release(consumed);
        }
    }

    /// The last message told to a worker in this epoch.
    pub fn told(&self, spawn_id: &str) -> u64 {
        let inbox = self.known.get(spawn_id).and_then(|known| known.inbox.as_ref());
        inbox.map_or(0, InboxWriter::last)
    }

    /// Forgets a worker that has ended.
    pub fn forget(&mut self, spawn_id: &str) {
        self.known.remove(spawn_id);
    }
}

fn is_given_up(directory: &Path) -> bool {
    worker::is_abandoned(directory).unwrap_or(false)
}

/// How a worker is of whose files one cannot be read: alive where its lock is held, else lost (`None`), as far as anyone can
/// tell. A worker that is taken for lost is not looked at again and another starts beside it, so whether it is there and
/// whether it lives must be known.
fn state_despite(directory: &Path, damage: SpoolError) -> Result<Option<WorkerState>, SpoolError> {
    if !matches!(directory.try_exists(), Ok(true)) {
        return Err(damage);
    }
    Ok(is_locked(directory)?.then_some(WorkerState::Alive(None)))
}

/// Before the turn is sealed: nothing of a lost worker goes on in the workspace.
fn end_lost(spawn_id: &str, directory: &Path) {
    match end_leftovers(directory) {
        Ok(0) => {}
        left => tracing::warn!(worker = spawn_id, ?left, "processes of a lost worker were killed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sample::Sample;
    use holdfast_shared::spool::{Control, Flushed};
    use holdfast_shared::worker::{EndedBy, Exit, ExitStatus, Protocol};
    use std::os::unix::fs::symlink;

    /// How a worker is for a runtime that does not follow its spool yet.
    fn life(sample: &Sample) -> Life {
        let (events, _kept) = mpsc::channel(1);
        let mut workers = Workers::new(&sample.home, 2, &Settings::default(), events);
        let wanted = Wanted {
            task: "x".into(),
            turn: "t1".into(),
            spawn_id: "w".into(),
            number: 1,
            end_message: None,
            protocol: Protocol::Acp,
            known: KnownRequests::default(),
        };
        workers.observe(&wanted, &mut Spools::new().unwrap()).unwrap().life
    }

    #[test]
    fn a_worker_whose_start_the_disk_refuses_to_tell_lives_while_its_lock_is_held() {
        let sample = Sample::new();
        let mut spool = sample.spool("w");
        // Refused (EIO), as memory at address 0 is.
        symlink("/proc/self/mem", Started::path(&sample.home.worker("w"))).unwrap();
        assert!(is_damage(&WorkerState::read(&sample.home.worker("w")).unwrap_err()));
        assert_eq!(life(&sample), Life::Alive);
        let exit = Exit { status: ExitStatus::Code(7), final_seq: 0, ended_by: EndedBy::Worker };
        spool.control(&Control::Exit(exit));
        assert_eq!(spool.flush().unwrap(), Flushed::Done);
        drop(spool);
        assert_eq!(life(&sample), Life::Ended(exit));
    }

    #[test]
    fn a_worker_without_lock_exit_and_readable_start_is_lost() {
        let sample = Sample::new();
        drop(sample.spool("w"));
        symlink("/proc/self/mem", Started::path(&sample.home.worker("w"))).unwrap();
        assert_eq!(life(&sample), Life::Lost);
    }
}
