//! What the loop and the links share: the state, what may be shown of it, and where to read the rest.
//!
//! Everything is on one thread. The loop alone changes it; links read, never across an await.

mod channels;
mod late;

use crate::commands::{PendingPermission, Seen};
use crate::io::history::History;
use crate::io::late::LateAnswers;
use crate::io::link::Link;
use crate::io::spools::{Spools, TurnPlace};
use crate::io::view::View;
use crate::io::workers::known;
use crate::outbound::Outbound;
use crate::role::Role;
use crate::state::State;
use crate::task::Task;
use crate::workers::KnownRequests;
pub use channels::{ChannelPosition, Unread};
use holdfast_shared::home::Home;
use holdfast_shared::journal::Folded;
use holdfast_shared::link::ToSidecar;
use holdfast_shared::runtime_control::{LastRecord, RuntimeReport};
use holdfast_shared::skill;
use holdfast_shared::slot::Slot;
use holdfast_shared::worker::Protocol;
pub use late::{LateAnswer, LookUp};
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
    /// Answers to requests for permission of turns that are over.
    pub late: LateAnswers,
    /// Where ended turns are found quickly; without it they are found all the same.
    pub view: Option<View>,
    /// Living links.
    pub links: Vec<Weak<Link>>,
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
            // Turns are carried, and nothing else runs here yet.
            live_work: None,
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
        let state = &self.folded.state;
        let workers: BTreeMap<&str, (&Task, Protocol)> =
            state.followed().map(|(task, worker, protocol)| (worker, (task, protocol))).collect();
        let mut newly = Vec::new();
        for (worker, (task, protocol)) in &workers {
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
            let known = match protocol {
                Protocol::Acp => known(task),
                Protocol::Command => KnownRequests::default(),
            };
            match self.spools.follow(worker, &directory, *protocol, &known) {
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
