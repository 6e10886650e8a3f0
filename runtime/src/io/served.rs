//! What the loop and the links share: the state, what may be shown of it, and where to read the rest.
//!
//! Everything is on one thread. The loop alone changes it; links read, never across an await.

use crate::channels::Channel;
use crate::commands::{PendingPermission, Seen};
use crate::io::history::{Asked, History, Live};
use crate::io::link::Link;
use crate::io::spools::{Spools, TurnPlace};
use crate::io::view::View;
use crate::outbound::Outbound;
use crate::role::Role;
use crate::state::State;
use crate::task::Task;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::journal::Folded;
use holdfast_shared::link::{Piece, Publication, ToSidecar};
use holdfast_shared::runtime_control::{LastRecord, RuntimeReport};
use holdfast_shared::skill;
use holdfast_shared::slot::Slot;
use holdfast_shared::worker::Protocol;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// The shared part, on one thread.
pub type Shared = Rc<RefCell<Served>>;

/// An answer that waits for the disk.
pub struct Waiting {
    /// The link that asked.
    pub link: Weak<Link>,
    /// The call's number.
    pub id: u64,
    /// The result.
    pub result: Value,
}

/// See the module.
pub struct Served {
    /// The node's home.
    pub home: Home,
    /// This runtime's slot.
    pub slot: Slot,
    /// `rt-<slot>-<8 hex>`
    pub instance: String,
    /// Version of its release.
    pub release: String,
    /// What it was told to be.
    pub role: Role,
    /// It has read the journal and the spools of running turns to their ends at least once.
    pub caught_up: bool,
    /// What keeps it from serving.
    pub problems: Vec<String>,
    /// What does not work while it serves all the same: a full disk.
    pub degraded: Option<String>,
    /// Calls are not taken any more: it is giving up the journal.
    pub fencing: bool,
    /// Nothing behind its take-over is truncated yet.
    pub truncation_held: bool,
    /// The state and where it stands in the journal.
    pub folded: Folded<State>,
    /// What waits for the disk.
    pub outbound: Outbound<Waiting>,
    /// The spools of running turns.
    pub spools: Spools,
    /// Reads conversations.
    pub history: History,
    /// Where ended turns are found quickly; without it they are found all the same.
    pub view: Option<View>,
    /// Living links.
    pub links: Vec<Weak<Link>>,
}

/// Why events of a channel are not given.
#[derive(Debug)]
pub enum Unread {
    /// That part of the log is gone for good: whoever reads it begins anew.
    Gone(ApiError),
    /// The operating system refused. Later it may not.
    Refused(ApiError),
}

impl From<Unread> for ApiError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Gone(error) | Unread::Refused(error) => error,
        }
    }
}

/// Where a channel stands.
pub struct ChannelPosition {
    /// The channel.
    pub channel: Channel,
    /// Its epoch.
    pub epoch: String,
    /// The highest offset that may be shown.
    pub top: u64,
    /// The first offset after which everything is still there.
    pub oldest: u64,
}

impl ChannelPosition {
    /// Whether a reader that has everything up to `offset` can go on without a hole.
    pub fn continues(&self, offset: u64) -> bool {
        (self.oldest..=self.top).contains(&offset)
    }
}

impl Served {
    /// The epoch with which it serves browsers now.
    pub fn serving_epoch(&self) -> Option<u64> {
        self.role.epoch().filter(|_| !self.fencing)
    }

    /// The answer to a link's hello.
    pub fn hello(&self, version: Option<u32>) -> ToSidecar {
        ToSidecar::Hello {
            version,
            slot: self.slot,
            epoch: self.serving_epoch(),
            role: self.role.role(),
            runtime_instance_id: self.instance.clone(),
            release: self.release.clone(),
        }
    }

    /// The journal can be followed, and what was read of it is understood.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.folded.state.unreadable.is_none()
    }

    /// What this runtime is.
    pub fn report(&self) -> RuntimeReport {
        let mut problems = self.problems.clone();
        problems.extend(self.folded.state.unreadable.clone());
        let healthy = self.is_sound();
        problems.extend(self.degraded.clone());
        RuntimeReport {
            decision: self.role.decision(),
            slot: self.slot,
            runtime_instance_id: self.instance.clone(),
            pid: std::process::id().cast_signed(),
            release: self.release.clone(),
            transition_role: self.role.role(),
            epoch: self.role.epoch(),
            last: self.last(),
            caught_up: self.caught_up,
            healthy,
            problems,
            truncation_held: self.truncation_held,
            running_turns: self.folded.state.running().count() as u64,
        }
    }

    /// The last record applied.
    pub fn last(&self) -> LastRecord {
        LastRecord { epoch: self.folded.position.epoch, lsn: self.folded.position.lsn }
    }

    /// Every living link.
    pub fn living_links(&mut self) -> Vec<Rc<Link>> {
        self.links.retain(|link| link.strong_count() > 0);
        self.links.iter().filter_map(Weak::upgrade).collect()
    }

    /// Follows the spools of the workers that are alive, and no others; answers the workers that it follows newly.
    pub fn follow_running(&mut self) -> Vec<String> {
        let workers: BTreeMap<&str, Protocol> =
            self.folded.state.followed().map(|(_, worker, protocol)| (worker, protocol)).collect();
        let mut newly = Vec::new();
        for (worker, protocol) in &workers {
            let directory = self.home.worker(worker);
            if self.spools.follows(worker) {
                continue;
            }
            match directory.try_exists() {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    tracing::warn!(%error, worker, "worker cannot be looked for");
                    self.spools.cannot_look(worker);
                    continue;
                }
            }
            match self.spools.follow(worker, &directory, *protocol) {
                Ok(()) => newly.push((*worker).to_owned()),
                Err(error) => tracing::warn!(%error, worker, "spool cannot be followed"),
            }
        }
        self.spools.keep_only(&workers.keys().copied().collect());
        for agent in self.folded.state.tasks.values().filter_map(|task| task.agent.as_ref()) {
            if let Some(worker) = &agent.worker {
                let needed = worker.needed(self.spools.consumed(&worker.spawn_id));
                self.spools.settle(&worker.spawn_id, worker.taken_to, needed);
            }
        }
        newly
    }

    /// Marks where the spools of the workers that are alive end now; answers them.
    pub fn mark_running(&mut self) -> Vec<String> {
        let workers: Vec<String> = self.folded.state.workers().map(|(_, worker)| worker.to_owned()).collect();
        workers.iter().for_each(|worker| self.spools.mark(worker));
        workers
    }

    /// Output records seen of the turn that runs in a task.
    pub fn outputs(&self, task: &str) -> u64 {
        self.folded.state.task(task).map_or(0, |task| self.turn_place(task).outputs)
    }

    /// What was read of the turn that runs in a task.
    pub fn turn_place(&self, task: &Task) -> TurnPlace {
        let Some(running) = &task.running else { return TurnPlace::default() };
        let worker = &running.order.spawn_id;
        match task.agent {
            Some(_) => self.spools.of_turn(worker, &running.turn),
            None => TurnPlace { outputs: self.spools.outputs(worker), ..TurnPlace::default() },
        }
    }

    /// The same where no more of them can have been shown: the place of a journal event. `None` while the spool
    /// cannot be read that far.
    pub fn known_outputs(&self, task: &str) -> Option<u64> {
        let running = self.folded.state.task(task).and_then(|task| task.running.as_ref());
        let Some(running) = running else { return Some(0) };
        // A follower may have read more of the spool than of the journal.
        let mark = running.numbers.map(|numbers| numbers.mark);
        if mark.is_some_and(|mark| self.spools.is_past(&running.order.spawn_id, mark)) {
            return None;
        }
        self.spools.known_outputs(&running.order.spawn_id).map(|_| self.outputs(task))
    }

    /// A channel's epoch; `None` where there is no such channel.
    pub fn channel_epoch(&self, channel: &Channel) -> Option<&str> {
        let state = &self.folded.state;
        match channel {
            Channel::Tasks | Channel::Members => Some(&state.channel_epoch),
            Channel::Task(id) => state.task(id).map(|_| state.channel_epoch.as_str()),
            Channel::Conversation(id) => state.task(id).map(|task| task.conversation.epoch.as_str()),
        }
    }

    /// Where a channel stands.
    ///
    /// # Errors
    /// `UNKNOWN_CHANNEL`; `UNAVAILABLE` while it cannot be told how far a conversation goes.
    pub fn position(&mut self, name: &str) -> Result<ChannelPosition, ApiError> {
        let unknown = || ApiError::new(Code::UnknownChannel, format!("there is no channel {name:?}"));
        let channel = Channel::from_name(name).ok_or_else(unknown)?;
        let epoch = self.channel_epoch(&channel).ok_or_else(unknown)?.to_owned();
        if let Channel::Conversation(id) = &channel
            && self.known_outputs(id).is_none()
        {
            let message = format!("the output of task {id} cannot be read at the moment");
            return Err(ApiError::new(Code::Unavailable, message));
        }
        let top = self.top(&channel);
        let kept = crate::channels::KEPT_EVENTS as u64;
        let oldest = match &channel {
            Channel::Conversation(_) => 0,
            _ => self.log_top(&channel).saturating_sub(kept),
        };
        Ok(ChannelPosition { top, channel, epoch, oldest })
    }

    /// The highest offset of a channel that may be shown.
    pub fn top(&self, channel: &Channel) -> u64 {
        self.outbound.visible(channel, self.log_top(channel))
    }

    fn log_top(&self, channel: &Channel) -> u64 {
        let state = &self.folded.state;
        match channel {
            Channel::Tasks => state.tasks_log.top(),
            Channel::Members => state.members_log.top(),
            Channel::Task(id) => state.task(id).map_or(0, |task| task.log.top()),
            Channel::Conversation(id) => {
                let outputs = self.outputs(id);
                state.task(id).map_or(0, |task| task.conversation.top(outputs))
            }
        }
    }

    /// The events of a channel behind `offset` that may be shown: at most `limit`, about `max_bytes`.
    ///
    /// # Errors
    /// [`Unread`], as `UNAVAILABLE`.
    pub fn read(
        &mut self,
        channel: &Channel,
        offset: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Publication>, Unread> {
        let visible = self.top(channel);
        if offset >= visible {
            return Ok(Vec::new());
        }
        let state = &self.folded.state;
        let log = match channel {
            Channel::Tasks => Some(&state.tasks_log),
            Channel::Members => Some(&state.members_log),
            Channel::Task(id) => state.task(id).map(|task| &task.log),
            Channel::Conversation(id) => {
                return self.read_conversation(
                    &id.clone(),
                    visible,
                    Asked { after: offset, max_bytes, limit },
                );
            }
        };
        let read = log.map(|log| log.read(offset, visible, limit, max_bytes));
        read.unwrap_or_else(|| Ok(Vec::new())).map_err(|_| {
            Unread::Gone(ApiError::new(Code::Unavailable, format!("{channel:?} is cut away behind {offset}")))
        })
    }

    fn read_conversation(&mut self, id: &str, top: u64, asked: Asked) -> Result<Vec<Publication>, Unread> {
        let Some(task) = self.folded.state.task(id) else { return Ok(Vec::new()) };
        let place = self.turn_place(task);
        let conversation = &task.conversation;
        let index =
            task.running.as_ref().map_or(&[][..], |running| self.spools.index_of(&running.order.spawn_id));
        let open = conversation.open.as_ref();
        let live = Live { unfiled: &conversation.unfiled, open, place, index, top };
        let read = match &self.view {
            Some(view) => self.history.read(id, &live, asked, view),
            None => self.history.read(id, &live, asked, &()),
        };
        read.map_err(|error| {
            let message = format!("conversation {id} cannot be read: {error}");
            Unread::Refused(ApiError::new(Code::Unavailable, message))
        })
    }

    /// The answer to a read of a channel; its `id` is to be filled in.
    ///
    /// # Errors
    /// `UNKNOWN_CHANNEL`, or as [`Served::read`].
    pub fn piece(
        &mut self,
        name: &str,
        epoch: &str,
        offset: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Piece, ApiError> {
        let position = self.position(name)?;
        let same_epoch = epoch.is_empty() || epoch == position.epoch;
        let recovered = same_epoch && position.continues(offset);
        let publications = if recovered && limit > 0 {
            self.read(&position.channel, offset, limit, max_bytes)?
        } else {
            Vec::new()
        };
        Ok(Piece { id: 0, epoch: position.epoch, top: position.top, recovered, publications })
    }
}

impl Seen for Served {
    fn outputs(&self, task: &str) -> Option<u64> {
        self.known_outputs(task)
    }

    fn permission(&self, task: &str, seq: u64) -> Option<PendingPermission> {
        let task = self.folded.state.task(task)?;
        let (running, worker) = (task.running.as_ref()?, task.agent.as_ref()?.worker.as_ref()?);
        if seq <= worker.settled_to || self.spools.turn(&worker.spawn_id) != running.turn {
            return None;
        }
        let request = self.spools.dialogue(&worker.spawn_id)?.request_at(seq)?;
        let options = request.permission()?.options.iter().map(|option| option.option_id.clone()).collect();
        Some(PendingPermission { id: request.id.as_json().to_owned(), options })
    }

    fn consumed(&self, task: &str) -> u64 {
        let worker = self.folded.state.task(task).and_then(Task::worker);
        worker.map_or(0, |worker| self.spools.consumed(worker))
    }

    fn protocol(&self, skill: &str) -> Result<Option<Protocol>, String> {
        let found = skill::find(&self.home, skill).map_err(|error| error.to_string())?;
        Ok(found.map(|skill| skill.protocol))
    }
}
