//! What the active runtime does: decides on calls, follows the spools, keeps the workers, publishes.

use super::agents::Held;
use super::{Event, Names, RunError, now_ms};
use crate::channels::Channel;
use crate::io::journal::Writing;
use crate::io::served::Shared;
use crate::io::workers::Workers;
use crate::record::{self, Body, Record};
use crate::settings::Settings;
use holdfast_shared::journal::{CheckpointerEvent, WriterEvent};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use tokio::sync::{Semaphore, mpsc};

/// Filings under way at a time: the threads that wait for disks are needed for seals, too. More of them wait in order,
/// one for each task at most.
const FILINGS_AT_ONCE: usize = 2;

/// The active runtime's part of the loop.
pub struct Active {
    pub(super) shared: Shared,
    /// The journal.
    pub writing: Writing,
    pub(super) workers: Workers,
    /// Tasks whose worker or turn is to be looked at.
    pub(super) look_at: Names,
    /// Workers whose spool may have more.
    pub(super) unread: Names,
    /// The last record of each task that an effect depends on and that is not durable yet: nothing is done in the
    /// world before it is.
    pub(super) undurable: BTreeMap<String, u64>,
    /// Tasks with records that are not durable yet, in the order of the journal; as many as its queue takes.
    pub(super) untold: VecDeque<(u64, String)>,
    /// Channels with something new to show.
    pub(super) news: BTreeSet<Channel>,
    /// Tasks of which a span is being filed.
    pub(super) filing: Names,
    /// A turn for each filing under way.
    pub(super) filings: Rc<Semaphore>,
    /// Standing workers, and those of commands until they are asked for, by spawn id.
    pub(super) agents: HashMap<String, Held>,
    /// Commands of agents that the supervisor is being asked for: whether that was called off.
    pub(super) creating: HashMap<String, Rc<Cell<bool>>>,
    /// Commands that were called off: no agent hears of them.
    pub(super) called_off: Names,
    /// Workers whose directory goes once this record is durable, in the order of the journal.
    pub(super) removals: VecDeque<(u64, String)>,
    /// Tasks whose warm worker is one too many.
    pub(super) surplus: Names,
    /// Another worker is warm: perhaps one is too many.
    pub(super) surplus_due: bool,
    pub(super) settings: Settings,
    pub(super) events: mpsc::Sender<Event>,
}

impl Active {
    /// Just after `Activated` became durable: finds the open work, which it looks at in the next turn.
    pub fn new(shared: Shared, writing: Writing, settings: &Settings, events: mpsc::Sender<Event>) -> Self {
        let (home, look_at) = {
            let served = shared.borrow();
            (served.home.clone(), served.folded.state.unfinished().map(|task| task.id.clone()).collect())
        };
        let workers = Workers::new(&home, writing.epoch, settings, events.clone());
        let (unread, undurable, untold, news, filing) = Default::default();
        let filings = Rc::new(Semaphore::new(FILINGS_AT_ONCE));
        let mut writing = writing;
        writing.record_bytes_max = usize::try_from(settings.record_bytes_max).unwrap_or(usize::MAX);
        let mut active = Self {
            shared,
            writing,
            workers,
            look_at,
            unread,
            undurable,
            untold,
            news,
            filing,
            filings,
            agents: HashMap::new(),
            creating: HashMap::new(),
            called_off: Names::new(),
            removals: VecDeque::new(),
            surplus: Names::new(),
            surplus_due: false,
            settings: settings.clone(),
            events,
        };
        active.follow_open_spools();
        active.note_boot();
        active.sweep_unused();
        active
    }

    /// Whether there is work left without a new event.
    pub fn has_more(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Everything that is not the loop's own.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Workspace { task, spawn_id, found } => {
                if let Err(error) = self.workspace_seen(&task, &spawn_id, found) {
                    tracing::error!(%error, "the journal does not take a record");
                }
            }
            Event::Served { task, spawn_id, seq, answer, in_vain } => {
                self.request_served(task, &spawn_id, (seq, in_vain), answer);
            }
            Event::Look { task, spawn_id } => self.look_now(task, &spawn_id),
            Event::Journal(WriterEvent::Durable { lsn }) => self.release(lsn),
            Event::Journal(WriterEvent::StorageFull) => {
                self.storage(Some("the disk is too full for new commands"))
            }
            Event::Journal(WriterEvent::StorageFreed) => self.storage(None),
            Event::SpoolsGrew => self.spools_grew(),
            Event::Spawned { task, spawn_id, outcome } => {
                self.workers.spawned(&spawn_id, outcome);
                self.look_at.insert(task);
            }
            Event::Synced { task, spawn_id, outputs, ok } => self.synced(task, spawn_id, outputs, ok),
            Event::SealSynced { task, spawn_id, outputs, result } => {
                let done = self.workers.seal_synced(&spawn_id, outputs, result);
                self.look_at.extend(done.then_some(task));
            }
            Event::Filed { task, first, ok } => self.filed(task, first, ok),
            Event::Checkpoint(event) => self.checkpoint(&event),
            _ => {}
        }
    }

    fn checkpoint(&mut self, event: &CheckpointerEvent) {
        match event {
            CheckpointerEvent::Written(written) => {
                tracing::info!(lsn = written.position.lsn, "checkpoint written");
            }
            other => tracing::warn!(?other, "no checkpoint"),
        }
    }

    fn storage(&mut self, problem: Option<&str>) {
        tracing::warn!(full = problem.is_some(), "storage");
        self.shared.borrow_mut().degraded = problem.map(str::to_owned);
    }

    fn spools_grew(&mut self) {
        let mut served = self.shared.borrow_mut();
        match served.spools.news() {
            Ok(news) => self.unread.extend(news),
            Err(error) => tracing::error!(%error, "spools cannot be watched"),
        }
    }

    /// Twice a second: what the watch may have missed, and spools that are due for a sync.
    pub fn ticked(&mut self) {
        self.find_surplus();
        self.give_up_unbegun();
        let served = self.shared.borrow();
        self.look_at.extend(served.folded.state.unfinished().map(|task| task.id.clone()));
        let now = now_ms();
        for (task, worker, _) in served.folded.state.followed() {
            self.unread.insert(worker.to_owned());
            // Also what was written before a pause is synced in time.
            let (outputs, segment) = (served.spools.outputs(worker), served.spools.segment_file(worker));
            if served.spools.is_shown(worker) {
                self.workers.saw(&task.id, worker, outputs, segment, now);
            }
        }
    }

    /// Reads spools on, does what workers and turns need, and publishes.
    pub fn after_events(&mut self) -> Result<(), RunError> {
        // Looked at each time, so that a flood of calls delays no output.
        self.spools_grew();
        self.read_spools();
        if std::mem::take(&mut self.surplus_due) {
            self.find_surplus();
        }
        for task in std::mem::take(&mut self.look_at) {
            self.look_at_task(&task)?;
        }
        let links = self.shared.borrow_mut().living_links();
        for channel in std::mem::take(&mut self.news) {
            links.iter().for_each(|link| link.news(&channel));
        }
        Ok(())
    }

    /// One piece of each spool with news.
    fn read_spools(&mut self) {
        if self.unread.is_empty() {
            return;
        }
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let now = now_ms();
        let by_worker: BTreeMap<&str, &str> =
            served.folded.state.followed().map(|(task, worker, _)| (worker, task.id.as_str())).collect();
        for worker in std::mem::take(&mut self.unread) {
            let Some(task) = by_worker.get(worker.as_str()) else { continue };
            let before = served.spools.outputs(&worker);
            if served.spools.advance(&worker) {
                self.unread.insert(worker.clone());
            } else {
                // News without records: perhaps the holder's end.
                self.look_at.insert((*task).to_owned());
            }
            let outputs = served.spools.outputs(&worker);
            if outputs > before {
                self.news.insert(Channel::Conversation((*task).to_owned()));
                if served.spools.is_shown(&worker) {
                    self.workers.saw(task, &worker, outputs, served.spools.segment_file(&worker), now);
                }
            }
            if served.spools.exit(&worker).is_some() {
                self.look_at.insert((*task).to_owned());
            }
        }
    }

    fn synced(&mut self, task: String, spawn_id: String, outputs: u64, ok: bool) {
        let seen = self.shared.borrow().spools.outputs(&spawn_id);
        if self.workers.synced(&spawn_id, outputs, ok, seen, now_ms()) {
            let body = Body::SpoolSynced(record::SpoolSynced { task, spawn_id, outputs });
            // Left out when the queue is full: the next one says more.
            if let Err(error) = self.write(&Record::new(now_ms(), body)) {
                tracing::error!(%error, "the journal does not take a record");
            }
        }
    }
}
