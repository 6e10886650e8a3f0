//! What an activation looks at first: the spools of open turns, and whether the machine went down meanwhile.

use super::active::Active;
use super::{fresh_epoch, now_ms};
use crate::io::filing;
use crate::io::workers::known;
use crate::record::{self, Body, Record};
use holdfast_shared::spool::cut_to_last_good;
use std::collections::BTreeSet;

impl Active {
    /// Before any place is picked, the spools of open turns are read to their ends.
    pub(super) fn follow_open_spools(&mut self) {
        let ids: Vec<String> =
            self.shared.borrow().folded.state.workers().map(|(task, _)| task.id.clone()).collect();
        for id in ids {
            let _looked = self.next_action(&id);
        }
        let mut served = self.shared.borrow_mut();
        for worker in served.follow_running() {
            self.unread.insert(worker);
        }
        let workers: Vec<String> =
            served.folded.state.workers().map(|(_, worker)| worker.to_owned()).collect();
        for worker in workers {
            served.spools.catch_up(&worker);
        }
    }

    /// Away from the loop: what a crash left of workers that nobody names any more is removed.
    pub(super) fn sweep_unused(&self) {
        let (home, in_use) = {
            let served = self.shared.borrow();
            let state = &served.folded.state;
            let unfiled = state.tasks.values().flat_map(|task| &task.conversation.unfiled);
            let of_spans = unfiled.flat_map(|span| span.worker.iter().chain(&span.given_up)).cloned();
            let followed = state.followed().map(|(_, worker, _)| worker.to_owned());
            (served.home.clone(), followed.chain(of_spans).collect::<BTreeSet<String>>())
        };
        let (epoch, permit) = (self.writing.epoch, self.writing.permit());
        tokio::task::spawn_blocking(move || match filing::sweep_unused(&home, epoch, &in_use, &permit) {
            Ok(0) => {}
            swept => tracing::info!(?swept, "directories of workers that served no turn"),
        });
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
        let workers: Vec<(String, String)> = {
            let workers = served.folded.state.workers();
            workers.map(|(task, worker)| (task.id.clone(), worker.to_owned())).collect()
        };
        for (id, worker) in &workers {
            let there = served.spools.follows(worker) || served.spools.is_unfollowed(worker);
            if !there || served.spools.exit(worker).is_some() {
                // Not begun, or ended with its exit on disk: nothing that was shown can be gone.
                continue;
            }
            let Some(task) = served.folded.state.task(id) else { continue };
            let (protocol, known) = (task.protocol, known(task));
            let (synced, runs) = (task.synced_outputs(), task.running.is_some());
            served.spools.leave(worker);
            let directory = served.home.worker(worker);
            let cut = cut_to_last_good(&directory, synced);
            if let Err(error) = served.spools.follow(worker, &directory, protocol, &known) {
                tracing::error!(%error, worker, "spool cannot be followed");
            }
            served.spools.catch_up(worker);
            match cut {
                Ok(report) => {
                    tracing::warn!(worker, ?report, "spool cut after a power cut");
                    served.history.forget_spool(worker);
                    let (task, outputs) = (id.clone(), served.outputs(id));
                    cuts.extend(runs.then(|| record::CutConversation {
                        task,
                        epoch: fresh_epoch(),
                        outputs,
                    }));
                }
                Err(error) => tracing::error!(%error, worker, "spool cannot be cut"),
            }
        }
        cuts
    }
}
