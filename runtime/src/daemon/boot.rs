//! What an activation looks at first: the spools of open turns, and whether the machine went down meanwhile.

use super::active::Active;
use super::{fresh_epoch, now_ms};
use crate::record::{self, Body, Record};
use holdfast_shared::spool::cut_to_last_good;

impl Active {
    /// Before any place is picked, the spools of open turns are read to their ends.
    pub(super) fn follow_open_spools(&mut self) {
        let ids: Vec<String> =
            self.shared.borrow().folded.state.running().map(|(task, _)| task.id.clone()).collect();
        for id in ids {
            let _looked = self.next_action(&id);
        }
        let mut served = self.shared.borrow_mut();
        for worker in served.follow_running() {
            self.unread.insert(worker);
        }
        let running = served.folded.state.running();
        let workers: Vec<String> = running.map(|(_, running)| running.order.spawn_id.clone()).collect();
        for worker in workers {
            served.spools.catch_up(&worker);
        }
    }

    /// After another boot than the journal knows: spools are cut to what is left of them, their conversations get
    /// new epochs, their turns end.
    pub(super) fn note_boot(&mut self) {
        let boot_id = match holdfast_shared::process::boot_id() {
            Ok(boot_id) => boot_id,
            Err(error) => return tracing::error!(%error, "the boot's id cannot be read"),
        };
        let known = self.shared.borrow().folded.state.boot_id.clone();
        if known == boot_id {
            return;
        }
        let cut = if known.is_empty() { Vec::new() } else { self.cut_spools() };
        let booted = record::NodeBooted { boot_id, channel_epoch: fresh_epoch(), cut };
        let written = self.write(&Record::new(now_ms(), Body::NodeBooted(booted)));
        if let Err(error) = written {
            tracing::error!(%error, "the journal does not take a record");
        }
    }

    fn cut_spools(&mut self) -> Vec<record::CutConversation> {
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let mut cuts = Vec::new();
        for (task, running) in served.folded.state.running() {
            let worker = &running.order.spawn_id;
            let there = served.spools.follows(worker) || served.spools.is_unfollowed(worker);
            if !there || served.spools.exit(worker).is_some() {
                // Not begun, or ended with its exit on disk: nothing that was shown can be gone.
                continue;
            }
            served.spools.leave(worker);
            let directory = served.home.worker(worker);
            match cut_to_last_good(&directory, running.order.synced_outputs) {
                Ok(report) => {
                    tracing::warn!(worker, ?report, "spool cut after a power cut");
                    served.history.forget_spool(worker);
                    let (task, outputs) = (task.id.clone(), report.outputs);
                    cuts.push(record::CutConversation { task, epoch: fresh_epoch(), outputs });
                }
                Err(error) => tracing::error!(%error, worker, "spool cannot be cut"),
            }
            if let Err(error) = served.spools.follow(worker, &directory) {
                tracing::error!(%error, worker, "spool cannot be followed");
            }
            served.spools.catch_up(worker);
        }
        cuts
    }
}
