//! The thread that keeps a view: opens and proves it, sets it aside and makes it again, and takes the news.

use super::store::{Store, StoreError};
use super::{News, Shared, ViewState, guarded, lock, place, take};
use crate::io::filing::{self, FilingError};
use crate::view::{Stamp, Unproven, prove};
use holdfast_shared::home::Home;
use holdfast_shared::journal::io::survey::survey;
use holdfast_shared::journal::{Follower, Position};
use holdfast_shared::slot::Slot;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// A runtime starts to take over soon, and everybody waits for that: what nobody waits for begins later. Opening a
/// database of 300,000 turns takes a core for half a second.
pub(super) const BEGINS_AFTER_MS: u64 = 2_000;
/// How long the thread waits for news before it looks whether it is to end, or how far the fold came.
const LOOK_MS: u64 = 200;
/// How long it waits after a failure that setting aside did not cure (a full disk, say).
const RETRY_MS: u64 = 10_000;
/// Files read in one go while building; then the cores are left to others for a while.
const BUILD_BURST_FILES: usize = 256;
/// That while.
const BUILD_PAUSE_MS: u64 = 5;

/// Opens a database.
pub(super) type Open = Box<dyn FnMut(&Path) -> sled::Result<sled::Db> + Send>;

/// The thread's own.
pub(super) struct Keeper {
    home: Home,
    slot: Slot,
    open: Open,
    told: Receiver<News>,
    shared: Arc<Shared>,
    stamped: Option<Position>,
}

/// Why a view is not served (any longer).
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Filing(#[from] FilingError),
    #[error(transparent)]
    Unproven(#[from] Unproven),
    #[error("views directory: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Panicked(String),
}

/// Why serving ended.
enum End {
    Stopped,
    Trouble(String),
}

impl Keeper {
    pub(super) fn new(home: Home, slot: Slot, open: Open, told: Receiver<News>, shared: Arc<Shared>) -> Self {
        Self { home, slot, open, told, shared, stamped: None }
    }

    /// Until the view is dropped.
    pub(super) fn run(mut self, begins_after_ms: u64) {
        yield_to_others();
        if !self.waits(begins_after_ms) {
            return;
        }
        let Some(journal) = self.wait_for_journal() else { return };
        let mut opened = guarded(|| self.open_proven(&journal));
        loop {
            let end = match opened {
                Ok(store) => self.serve(store, &journal),
                Err(reason) => End::Trouble(reason),
            };
            let End::Trouble(reason) = end else { return };
            tracing::warn!(slot = %self.slot, reason, "view is set aside and made again");
            self.shared.publish(None, ViewState::Building);
            opened = guarded(|| self.build());
            if let Err(reason) = &opened {
                self.shared.publish(None, ViewState::Failed(reason.clone()));
                if !self.waits(RETRY_MS) {
                    return;
                }
            }
        }
    }

    fn stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    /// The journal's id; `None` when the view is dropped first.
    fn wait_for_journal(&self) -> Option<String> {
        while !self.stopping() {
            if let Ok(Some(chain)) = survey(&self.home.journal()) {
                return Some(chain.newest().header.journal_id.to_string());
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        None
    }

    /// Waits with the news piling up, which are made good by comparing. `false`: the view was dropped.
    fn waits(&self, milliseconds: u64) -> bool {
        for _ in 0..milliseconds / LOOK_MS {
            if self.stopping() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        !self.stopping()
    }

    fn open_proven(&mut self, journal: &str) -> Result<Store, Trouble> {
        let path = self.home.view(self.slot);
        if !place::exists(&path)? {
            return self.build();
        }
        if place::exists(&place::opening(&self.home, self.slot))? {
            return Err(Unproven::Suspect.into());
        }
        let store = self.open_store(&path)?;
        let stamp = store.stamp()?;
        let holds = |at| matches!(Follower::open_behind(&self.home.journal(), at), Ok(Some(_)));
        prove(stamp.as_ref(), journal, holds)?;
        self.stamped = stamp.map(|stamp| stamp.position());
        // It may lack what was filed behind its last flush.
        self.shared.missed.store(true, Ordering::Release);
        Ok(store)
    }

    fn open_store(&mut self, path: &Path) -> Result<Store, Trouble> {
        let mark = place::opening(&self.home, self.slot);
        std::fs::write(&mark, b"")?;
        let opened = guarded(|| (self.open)(path).map_err(StoreError::Sled).and_then(Store::new));
        std::fs::remove_file(&mark)?;
        opened.map_err(Trouble::Panicked)
    }

    /// A new view in place of whatever is there, with everything that is filed.
    fn build(&mut self) -> Result<Store, Trouble> {
        self.shared.publish(None, ViewState::Building);
        self.stamped = None;
        let path = self.home.view(self.slot);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        place::set_aside(&self.home, self.slot)?;
        let store = self.open_store(&path)?;
        self.shared.missed.store(false, Ordering::Release);
        let whole = self.compare(&store)?;
        self.shared.missed.fetch_or(!whole, Ordering::AcqRel);
        Ok(store)
    }

    /// Takes news until the view is dropped or in trouble.
    fn serve(&mut self, store: Store, journal: &str) -> End {
        self.shared.distrusted.store(false, Ordering::Release);
        self.shared.publish(Some(store.clone()), ViewState::Ready);
        let end = self.serve_until(&store, journal);
        self.shared.publish(None, ViewState::Opening);
        // At the end only for good measure: what was not flushed is compared at the next start.
        if let Err(reason) = guarded(|| store.flush()) {
            tracing::warn!(reason, "view was not flushed");
        }
        // Closing a damaged database may panic like anything else done with it.
        let _closed = guarded(|| {
            drop(store);
            Ok::<(), StoreError>(())
        });
        end
    }

    fn serve_until(&mut self, store: &Store, journal: &str) -> End {
        loop {
            // Looked at first, so that what was told before the end is taken.
            let last = self.stopping();
            if self.shared.distrusted.load(Ordering::Acquire) {
                return End::Trouble("it gave no answer".into());
            }
            if let Err(reason) = guarded(|| self.turn(store, journal)) {
                return End::Trouble(reason);
            }
            if last {
                return End::Stopped;
            }
        }
    }

    /// Takes the news there are, then says how far the view came.
    fn turn(&mut self, store: &Store, journal: &str) -> Result<(), Trouble> {
        // Read before the news are drained: all that was told up to here is among them.
        let reached = *lock(&self.shared.reached);
        match self.told.recv_timeout(Duration::from_millis(LOOK_MS)) {
            Ok(news) => {
                self.hear(store, &news)?;
                while let Ok(news) = self.told.try_recv() {
                    self.hear(store, &news)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.shared.stopping.store(true, Ordering::Release),
        }
        let whole = !self.shared.missed.swap(false, Ordering::AcqRel) || self.compare(store)?;
        if let Some(position) = reached.filter(|_| whole && self.stamped != reached) {
            store.set_stamp(&Stamp::new(journal, position))?;
            self.stamped = reached;
        }
        Ok(())
    }

    fn hear(&self, store: &Store, news: &News) -> Result<(), Trouble> {
        match news {
            News::Skipped => self.shared.missed.store(true, Ordering::Release),
            News::Filed { conversation, first } => {
                self.take_file(store, conversation, *first)?;
                // Filing may have put a marker in place of the oldest.
                if let Some(oldest) = store.oldest(conversation)?.filter(|oldest| oldest != first) {
                    self.take_file(store, conversation, oldest)?;
                }
            }
        }
        Ok(())
    }

    fn take_file(&self, store: &Store, conversation: &str, first: u64) -> Result<(), Trouble> {
        match filing::load(&self.home, conversation, first) {
            Ok(filed) => Ok(take(store, conversation, &filed)?),
            Err(error) if error.is_lasting() => Ok(store.remove(conversation, first)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the view what the directories say: files it lacks are read, spans without a file go. `false`: it was
    /// dropped before the end.
    fn compare(&self, store: &Store) -> Result<bool, Trouble> {
        let filed = filing::conversations(&self.home)?;
        let mut read = 0;
        for conversation in filed.iter().chain(&store.conversations()?) {
            let here: BTreeSet<u64> = filing::list(&self.home, conversation)?.into_iter().collect();
            let known: BTreeSet<u64> = store.firsts(conversation)?.into_iter().collect();
            for first in known.difference(&here) {
                store.remove(conversation, *first)?;
            }
            // The oldest may be a marker by now.
            let oldest = here.first().filter(|oldest| known.contains(oldest));
            for first in here.difference(&known).chain(oldest) {
                if self.stopping() {
                    return Ok(false);
                }
                self.take_file(store, conversation, *first)?;
                read += 1;
                if read % BUILD_BURST_FILES == 0 {
                    std::thread::sleep(Duration::from_millis(BUILD_PAUSE_MS));
                }
            }
        }
        Ok(true)
    }
}

/// The lowest priority for this thread, and for those that sled starts from it: whoever serves comes first.
#[allow(unsafe_code)]
fn yield_to_others() {
    const LOWEST: libc::c_int = 19;
    // SAFETY: takes three numbers and no memory; on Linux, process 0 is the calling thread.
    let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
    if set != 0 {
        tracing::debug!("the view's thread keeps its priority");
    }
}
