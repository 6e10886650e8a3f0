//! The view: an index of ended turns in sled, kept by a thread of its own, and rebuilt whenever it is not provably
//! right. Nobody waits for it, and whoever asks it has another way: the directories that it is an index of.

mod keeper;
mod place;
mod store;

use crate::filed::Filed;
use crate::io::history::SpanIndex;
use crate::view::Summary;
use holdfast_shared::home::Home;
use holdfast_shared::journal::Position;
use holdfast_shared::slot::Slot;
use keeper::Keeper;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use store::{Store, StoreError};

/// News that wait for the thread at most; past it they are dropped, and the directories are compared instead.
pub const NEWS_WAITING: usize = 256;
/// Spans looked through by one search, the newest of each conversation first.
const SEARCHED_SPANS: usize = 2000;

/// How the view is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewState {
    /// It is being opened, or waits for a journal.
    Opening,
    /// It is being made from the directories.
    Building,
    /// It answers.
    Ready,
    /// It could not be made; it will be tried again.
    Failed(String),
}

/// A view of one slot. Dropping it ends its thread without waiting for it.
#[derive(Debug)]
pub struct View {
    /// `None` only while it is dropped.
    news: Option<SyncSender<News>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    Filed { conversation: String, first: u64 },
    Skipped,
}

/// What thread and askers share.
#[derive(Debug)]
struct Shared {
    store: Mutex<Option<Store>>,
    state: Mutex<ViewState>,
    reached: Mutex<Option<Position>>,
    missed: AtomicBool,
    distrusted: AtomicBool,
    stopping: AtomicBool,
}

impl View {
    /// Starts the thread; everything else happens there.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(home: Home, slot: Slot) -> std::io::Result<Self> {
        Self::start_with(home, slot, keeper::BEGINS_AFTER_MS, store::open_database)
    }

    fn start_with(
        home: Home,
        slot: Slot,
        begins_after_ms: u64,
        open: impl FnMut(&Path) -> sled::Result<sled::Db> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (news, told) = sync_channel(NEWS_WAITING);
        let shared = Arc::new(Shared::new());
        let keeper = Keeper::new(home, slot, Box::new(open), told, Arc::clone(&shared));
        let thread =
            std::thread::Builder::new().name("view".into()).spawn(move || keeper.run(begins_after_ms))?;
        Ok(Self { news: Some(news), shared, thread: Some(thread) })
    }

    /// Ends the thread and waits until the database is closed.
    pub fn stop(mut self) {
        let thread = self.thread.take();
        drop(self);
        // A thread that panicked has ended, too.
        let _ended = thread.map(JoinHandle::join);
    }

    /// A `span.filed` record was folded: the span at `first` is in a file. Told in the order of the journal, by
    /// every runtime that folds it, active or not. Never waits.
    pub fn filed(&self, conversation: &str, first: u64) {
        self.tell(News::Filed { conversation: conversation.to_owned(), first });
    }

    /// Records were skipped: the fold began again at a checkpoint. Never waits.
    pub fn skipped(&self) {
        self.tell(News::Skipped);
    }

    /// Everything up to this record was folded and told. Never waits: where the thread is just looking, the next
    /// one tells.
    pub fn reached(&self, position: Position) {
        if let Ok(mut reached) = self.shared.reached.try_lock() {
            *reached = Some(position);
        }
    }

    /// How it is.
    pub fn state(&self) -> ViewState {
        lock(&self.shared.state).clone()
    }

    /// The last ended turns of a conversation that begin before `before`, newest first. `None`: it cannot say now.
    pub fn spans(&self, conversation: &str, before: u64, limit: usize) -> Option<Vec<Summary>> {
        self.ask(|store| store.spans(conversation, before, limit))
    }

    /// All conversations with ended turns. `None`: it cannot say now.
    pub fn conversations(&self) -> Option<Vec<String>> {
        self.ask(Store::conversations)
    }

    /// Turns whose prompt contains `text`, whatever the case; the newest of each conversation first, among the
    /// `SEARCHED_SPANS` newest. `None`: it cannot say now.
    pub fn search(&self, text: &str, limit: usize) -> Option<Vec<(String, Summary)>> {
        let wanted = text.to_lowercase();
        self.ask(|store| {
            let (mut found, mut left) = (Vec::new(), SEARCHED_SPANS);
            for name in store.conversations()? {
                let spans = store.spans(&name, u64::MAX, left)?;
                left -= spans.len();
                let fits = spans.into_iter().filter(|span| span.prompt.to_lowercase().contains(&wanted));
                found.extend(fits.map(|span| (name.clone(), span)));
            }
            found.truncate(limit);
            Ok(found)
        })
    }

    fn tell(&self, news: News) {
        match self.news.as_ref().map(|sender| sender.try_send(news)) {
            Some(Err(TrySendError::Full(_))) => self.shared.missed.store(true, Ordering::Release),
            // The thread ended by a panic of its own making; the directories serve.
            Some(Err(TrySendError::Disconnected(_))) => *lock(&self.shared.store) = None,
            Some(Ok(())) | None => {}
        }
    }

    fn ask<T>(&self, question: impl FnOnce(&Store) -> Result<T, StoreError>) -> Option<T> {
        // The thread has the lowest priority: whoever asks does not wait for it, even where it holds this briefly.
        let store = self.shared.store.try_lock().ok()?.clone()?;
        match guarded(|| question(&store)) {
            Ok(answer) => Some(answer),
            Err(reason) => {
                tracing::warn!(reason, "view gave no answer; it is made again");
                *lock(&self.shared.store) = None;
                self.shared.distrusted.store(true, Ordering::Release);
                None
            }
        }
    }
}

impl SpanIndex for View {
    fn floor(&self, conversation: &str, offset: u64) -> Option<u64> {
        self.ask(|store| store.floor(conversation, offset)).flatten()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.news = None;
    }
}

impl Shared {
    fn new() -> Self {
        Self {
            store: Mutex::new(None),
            state: Mutex::new(ViewState::Opening),
            reached: Mutex::new(None),
            missed: AtomicBool::new(false),
            distrusted: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }

    fn publish(&self, store: Option<Store>, state: ViewState) {
        *lock(&self.store) = store;
        *lock(&self.state) = state;
    }
}

/// The lock of a value that is only ever replaced whole, so that a panic beside it leaves it good.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what sled does; its panics are failures like any other.
fn guarded<T, E: std::fmt::Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("without words")))
        }
    }
}

/// Brings a summary of a file in; what the view had of a truncated stretch goes.
fn take(store: &Store, conversation: &str, filed: &Filed) -> Result<(), StoreError> {
    store.put(conversation, &Summary::of(filed))
}

#[cfg(test)]
mod tests;
