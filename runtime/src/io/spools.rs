//! The spools of running turns: how far each is read, and how its worker ended.

use holdfast_shared::spool::{SpoolError, SpoolTail, SpoolWatch, TAIL_PIECE_BYTES_MAX, WatchToken};
use holdfast_shared::worker::Exit;
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// All spools that are followed.
pub struct Spools {
    watch: SpoolWatch,
    tokens: HashMap<WatchToken, String>,
    followed: HashMap<String, Followed>,
    next_token: WatchToken,
}

struct Followed {
    token: WatchToken,
    tail: SpoolTail,
    damaged: bool,
}

impl Spools {
    /// None yet.
    ///
    /// # Errors
    /// When the system gives no inotify instance.
    pub fn new() -> Result<Self, SpoolError> {
        let (tokens, followed) = Default::default();
        Ok(Self { watch: SpoolWatch::new()?, tokens, followed, next_token: 1 })
    }

    /// Follows a worker's spool from its beginning, if its directory is there and it is not followed yet.
    ///
    /// # Errors
    /// When the directory cannot be watched.
    pub fn follow(&mut self, spawn_id: &str, directory: &Path) -> Result<(), SpoolError> {
        if self.followed.contains_key(spawn_id) {
            return Ok(());
        }
        let token = self.next_token;
        self.watch.add(directory, token)?;
        self.next_token += 1;
        self.tokens.insert(token, spawn_id.to_owned());
        let tail = SpoolTail::open(directory);
        self.followed.insert(spawn_id.to_owned(), Followed { token, tail, damaged: false });
        Ok(())
    }

    /// Whether it is followed.
    pub fn follows(&self, spawn_id: &str) -> bool {
        self.followed.contains_key(spawn_id)
    }

    /// Follows it no longer.
    pub fn leave(&mut self, spawn_id: &str) {
        if let Some(followed) = self.followed.remove(spawn_id) {
            self.watch.remove(followed.token);
            self.tokens.remove(&followed.token);
        }
    }

    /// Follows nothing any more.
    pub fn leave_all(&mut self) {
        let all: Vec<String> = self.followed.keys().cloned().collect();
        all.iter().for_each(|spawn_id| self.leave(spawn_id));
    }

    /// A descriptor that is readable when there is news.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn descriptor(&self) -> std::io::Result<OwnedFd> {
        self.watch.as_fd().try_clone_to_owned()
    }

    /// The workers with news since the last call.
    ///
    /// # Errors
    /// When inotify fails.
    pub fn news(&mut self) -> Result<BTreeSet<String>, SpoolError> {
        let tokens = self.watch.take()?;
        Ok(tokens.iter().filter_map(|token| self.tokens.get(token).cloned()).collect())
    }

    /// Reads on, at most one piece; whether there may be more.
    pub fn advance(&mut self, spawn_id: &str) -> bool {
        let Some(followed) = self.followed.get_mut(spawn_id).filter(|followed| !followed.damaged) else {
            return false;
        };
        match followed.tail.poll(TAIL_PIECE_BYTES_MAX) {
            Ok(records) => !records.is_empty(),
            Err(error) => {
                tracing::error!(%error, worker = spawn_id, "spool cannot be read on");
                followed.damaged = true;
                false
            }
        }
    }

    /// Output records read so far.
    pub fn outputs(&self, spawn_id: &str) -> u64 {
        self.followed.get(spawn_id).map_or(0, |followed| followed.tail.outputs())
    }

    /// How the worker ended, once that was read.
    pub fn exit(&self, spawn_id: &str) -> Option<Exit> {
        self.followed.get(spawn_id).and_then(|followed| followed.tail.exit())
    }

    /// The highest inbox number its holder took.
    pub fn consumed(&self, spawn_id: &str) -> u64 {
        self.followed.get(spawn_id).map_or(0, |followed| followed.tail.consumed())
    }

    /// Its spool is damaged: nothing behind the damage can be read.
    pub fn is_damaged(&self, spawn_id: &str) -> bool {
        self.followed.get(spawn_id).is_some_and(|followed| followed.damaged)
    }

    /// Makes what was read durable; answers the number of output records that now are.
    ///
    /// # Errors
    /// When the sync fails.
    pub fn sync(&self, spawn_id: &str) -> Result<u64, SpoolError> {
        self.followed.get(spawn_id).map_or(Ok(0), |followed| followed.tail.sync())
    }
}
