//! Syncs of spools, away from the loop: now and then while a turn runs, and before its seal.

use super::Workers;
use crate::daemon::Event;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use tokio::sync::Semaphore;

/// Syncs of spools under way at a time, of the threads that are there for what waits for a disk; more of them wait
/// in order, one for each running turn at most.
pub(super) const SYNCS_AT_ONCE: usize = 4;

/// Before a turn is sealed its spool is synced.
#[derive(Default)]
pub(super) enum SealSync {
    #[default]
    Wanted,
    UnderWay,
    /// With so many output records.
    Done(u64),
}

impl Workers {
    /// Output up to `outputs` was seen. When it has been unsynced for long enough, a sync is begun, away from the
    /// loop; answered by [`Event::Synced`].
    pub fn saw(&mut self, task: &str, spawn_id: &str, outputs: u64, segment: Option<PathBuf>, now_ms: u64) {
        let Some(known) = self.known.get_mut(spawn_id) else { return };
        known.sync.saw(outputs, now_ms);
        if known.syncing || known.sync.due_at_ms().is_none_or(|due| due > now_ms) {
            return;
        }
        let Some(path) = segment else { return };
        known.syncing = true;
        let (events, task, spawn_id) = (self.events.clone(), task.to_owned(), spawn_id.to_owned());
        let syncs = self.syncs.clone();
        tokio::task::spawn_local(async move {
            let ok = sync(&syncs, path).await.is_ok();
            let _sent = events.send(Event::Synced { task, spawn_id, outputs, ok }).await;
        });
    }

    /// Whether what was read of a spool, `outputs` records with their end in `segment`, is durable, or as much of it as
    /// the seal needs, and the turn may be sealed. If not, a sync is begun, away from the loop; answered by [`Event::SealSynced`].
    pub fn synced_for_seal(
        &mut self,
        task: &str,
        spawn_id: &str,
        segment: Option<PathBuf>,
        outputs: u64,
        needed: u64,
    ) -> bool {
        let Some(segment) = segment else { return true };
        let known = self.known.entry(spawn_id.to_owned()).or_default();
        match known.seal {
            SealSync::Done(synced) if synced >= needed => return true,
            SealSync::UnderWay => return false,
            SealSync::Wanted | SealSync::Done(_) => known.seal = SealSync::UnderWay,
        }
        let (events, task, spawn_id) = (self.events.clone(), task.to_owned(), spawn_id.to_owned());
        let syncs = self.syncs.clone();
        tokio::task::spawn_local(async move {
            let result = sync(&syncs, segment).await;
            let _sent = events.send(Event::SealSynced { task, spawn_id, outputs, result }).await;
        });
        false
    }

    /// That sync has ended; whether the turn is to be looked at again.
    pub fn seal_synced(&mut self, spawn_id: &str, outputs: u64, result: io::Result<()>) -> bool {
        let Some(known) = self.known.get_mut(spawn_id) else { return false };
        match result {
            Ok(()) => known.seal = SealSync::Done(outputs),
            Err(error) => {
                tracing::error!(%error, worker = spawn_id, "spool cannot be synced; its turn is sealed later");
                known.seal = SealSync::Wanted;
            }
        }
        matches!(known.seal, SealSync::Done(_))
    }

    /// A sync has ended; whether it is worth a record.
    pub fn synced(&mut self, spawn_id: &str, outputs: u64, ok: bool, seen: u64, now_ms: u64) -> bool {
        let Some(known) = self.known.get_mut(spawn_id) else { return false };
        known.syncing = false;
        if ok {
            known.sync.synced(outputs, now_ms, seen);
        }
        ok
    }

    /// A turn of a standing worker is sealed: the next one's end is synced anew.
    pub fn turn_over(&mut self, spawn_id: &str) {
        if let Some(known) = self.known.get_mut(spawn_id) {
            known.seal = SealSync::Wanted;
        }
    }
}

/// Syncs a file in a thread. One that is not there (any more) has nothing to be made durable.
async fn sync(syncs: &Semaphore, path: PathBuf) -> io::Result<()> {
    // Never closed.
    let _permit = syncs.acquire().await;
    let sync = move || match File::open(&path) {
        Ok(file) => file.sync_data(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    tokio::task::spawn_blocking(sync).await.map_err(io::Error::other)?
}
