//! The spools of workers: how far each is read, what of it is the present turn's, and how its worker ended.

mod followed;

use crate::agent::dialogue::Dialogue;
use crate::workers::KnownRequests;
pub use followed::TurnPlace;
pub(super) use followed::is_damage;
use followed::{Followed, end_of};
use holdfast_shared::spool::{Position, SpoolError, SpoolWatch, WatchToken, segment_path};
use holdfast_shared::worker::{Exit, Protocol};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All spools that are followed.
pub struct Spools {
    watch: SpoolWatch,
    tokens: HashMap<WatchToken, String>,
    followed: HashMap<String, Followed>,
    /// Workers whose directory is there and cannot be followed: what they said is not known.
    unfollowed: BTreeSet<String>,
    next_token: WatchToken,
}

impl Spools {
    /// None yet.
    ///
    /// # Errors
    /// When the system gives no inotify instance.
    pub fn new() -> Result<Self, SpoolError> {
        let (tokens, followed, unfollowed) = Default::default();
        Ok(Self { watch: SpoolWatch::new()?, tokens, followed, unfollowed, next_token: 1 })
    }

    /// Follows a worker's spool from its beginning, if its directory is there and it is not followed yet; an agent's
    /// from its last segment, since what came before belongs to turns that are sealed, and from the one before where a
    /// request may have begun there that is not answered.
    ///
    /// # Errors
    /// When the directory cannot be watched; until it can, its output is not known.
    pub fn follow(
        &mut self,
        spawn_id: &str,
        directory: &Path,
        protocol: Protocol,
        known: &KnownRequests,
    ) -> Result<(), SpoolError> {
        if self.followed.contains_key(spawn_id) {
            return Ok(());
        }
        let token = self.next_token;
        if let Err(error) = self.watch.add(directory, token) {
            self.unfollowed.insert(spawn_id.to_owned());
            return Err(error);
        }
        self.unfollowed.remove(spawn_id);
        self.next_token += 1;
        self.tokens.insert(token, spawn_id.to_owned());
        self.followed.insert(spawn_id.to_owned(), Followed::begin(token, directory, protocol, known));
        Ok(())
    }

    /// Whether it is followed.
    pub fn follows(&self, spawn_id: &str) -> bool {
        self.followed.contains_key(spawn_id)
    }

    /// Follows it no longer.
    pub fn leave(&mut self, spawn_id: &str) {
        self.unfollowed.remove(spawn_id);
        if let Some(followed) = self.followed.remove(spawn_id) {
            self.watch.remove(followed.token);
            self.tokens.remove(&followed.token);
        }
    }

    /// Follows these workers only.
    pub fn keep_only(&mut self, workers: &BTreeSet<&str>) {
        self.unfollowed.retain(|worker| workers.contains(worker.as_str()));
        if self.followed.len() > workers.len() {
            let others = self.followed.keys().filter(|worker| !workers.contains(worker.as_str()));
            let others: Vec<String> = others.cloned().collect();
            others.iter().for_each(|worker| self.leave(worker));
        }
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

    /// Reads on, at most one piece; whether there may be more at once. A piece that was not full has met the end:
    /// what comes behind it is news again.
    pub fn advance(&mut self, spawn_id: &str) -> bool {
        let Some(followed) = self.followed.get_mut(spawn_id).filter(|followed| !followed.damaged) else {
            return false;
        };
        match followed.advance() {
            Ok(more) => {
                followed.failed = false;
                // What is written faster than it is read has no end to be met.
                followed.mark = followed.mark.filter(|mark| more && followed.tail.position() < *mark);
                more
            }
            Err(error @ SpoolError::Io { .. }) if !is_damage(&error) => {
                if !std::mem::replace(&mut followed.failed, true) {
                    tracing::warn!(%error, worker = spawn_id, "spool cannot be read on now");
                }
                false
            }
            Err(error) => {
                tracing::error!(%error, worker = spawn_id, "spool cannot be read on");
                (followed.damaged, followed.mark) = (true, None);
                false
            }
        }
    }

    /// Notes where its spool ends now: it is behind until it was read up to there.
    pub fn mark(&mut self, spawn_id: &str) {
        if let Some(followed) = self.followed.get_mut(spawn_id).filter(|followed| !followed.damaged) {
            // Where that cannot be told, it is read until its end is met.
            let end = end_of(&followed.directory, followed.tail.position().segment);
            followed.mark = Some(end.unwrap_or(Position { segment: u32::MAX, byte: u64::MAX }));
        }
    }

    /// Reads on to where its spool ends now, however much is written meanwhile, or as far as it can be read.
    pub fn catch_up(&mut self, spawn_id: &str) {
        self.mark(spawn_id);
        while self.advance(spawn_id) && self.is_behind(spawn_id) {}
    }

    /// What was marked is being read: not to its mark yet, and nothing keeps it from getting there.
    pub fn is_catching_up(&self) -> bool {
        self.followed.values().any(|followed| followed.mark.is_some() && !followed.failed)
    }

    /// The workers of which there is more than was read.
    pub fn behind(&self) -> impl Iterator<Item = &String> {
        self.followed.iter().filter(|(_, followed)| followed.is_behind()).map(|(worker, _)| worker)
    }

    /// It is there and cannot be followed.
    pub fn is_unfollowed(&self, spawn_id: &str) -> bool {
        self.unfollowed.contains(spawn_id)
    }

    /// It cannot be told whether there is something of a worker, and so not what.
    pub fn cannot_look(&mut self, spawn_id: &str) {
        self.unfollowed.insert(spawn_id.to_owned());
    }

    /// Where some of the output records read so far are in the present segment: (record, byte) ascending.
    pub fn index_of(&self, spawn_id: &str) -> &[(u64, u64)] {
        self.followed.get(spawn_id).map_or(&[], |followed| followed.index.entries())
    }

    /// What was read of a turn that a standing worker serves; nothing where it has not begun.
    pub fn of_turn(&self, spawn_id: &str, turn: &str) -> TurnPlace {
        let followed = self.followed.get(spawn_id).filter(|followed| followed.turn == turn);
        followed.map_or_else(TurnPlace::default, |followed| {
            let outputs = followed.tail.outputs().saturating_sub(followed.place.base);
            TurnPlace { outputs, ..followed.place }
        })
    }

    /// The turn whose segment is read; empty before the first of a standing worker.
    pub fn turn(&self, spawn_id: &str) -> &str {
        self.followed.get(spawn_id).map_or("", |followed| followed.turn.as_str())
    }

    /// What is read of it is shown to people: an agent's before its first turn is not, and need not outlive a power cut.
    pub fn is_shown(&self, spawn_id: &str) -> bool {
        self.dialogue(spawn_id).is_none() || !self.turn(spawn_id).is_empty()
    }

    /// What an agent said to the runtime in the present segment.
    pub fn dialogue(&self, spawn_id: &str) -> Option<&Dialogue> {
        self.followed.get(spawn_id)?.dialogue.as_ref()
    }

    /// An agent's requests for permission that are over are of no use any more.
    pub fn forget_permissions(&mut self, spawn_id: &str, is_over: impl Fn(u64) -> bool) {
        let dialogue = self.followed.get_mut(spawn_id).and_then(|followed| followed.dialogue.as_mut());
        if let Some(dialogue) = dialogue {
            dialogue.forget_permissions(is_over);
        }
    }

    /// What of an agent's requests is of use, by the journal.
    pub fn settle(&mut self, spawn_id: &str, taken_to: u64, needed: BTreeSet<u64>) {
        let dialogue = self.followed.get_mut(spawn_id).and_then(|followed| followed.dialogue.as_mut());
        if let Some(dialogue) = dialogue {
            dialogue.settle(taken_to, needed);
        }
    }

    /// Whether a later turn than the one that this message marks has begun.
    pub fn is_past(&self, spawn_id: &str, mark: u64) -> bool {
        self.followed.get(spawn_id).is_some_and(|followed| followed.mark_number > mark)
    }

    /// For how long a worker has said nothing; `None` where nothing was read of it since it is followed.
    pub fn silent_for(&self, spawn_id: &str) -> Option<Duration> {
        self.followed.get(spawn_id)?.heard_at.map(|at| at.elapsed())
    }

    /// The file of the segment that is read.
    pub fn segment_file(&self, spawn_id: &str) -> Option<PathBuf> {
        let followed = self.followed.get(spawn_id)?;
        Some(segment_path(&followed.directory, followed.tail.position().segment))
    }

    /// Output records read so far, of all segments.
    pub fn outputs(&self, spawn_id: &str) -> u64 {
        self.followed.get(spawn_id).map_or(0, |followed| followed.tail.outputs())
    }

    /// The same where it is all that anyone can have shown; `None` while there may be more.
    pub fn known_outputs(&self, spawn_id: &str) -> Option<u64> {
        let known = !self.is_unfollowed(spawn_id) && !self.is_behind(spawn_id);
        known.then(|| self.outputs(spawn_id))
    }

    /// How the worker ended, once that was read.
    pub fn exit(&self, spawn_id: &str) -> Option<Exit> {
        self.followed.get(spawn_id).and_then(|followed| followed.tail.exit())
    }

    /// The highest inbox number its holder took.
    pub fn consumed(&self, spawn_id: &str) -> u64 {
        self.followed.get(spawn_id).map_or(0, |followed| followed.tail.consumed())
    }

    /// There may be more in it than was read: the last try failed, or its mark was not reached yet.
    pub fn is_behind(&self, spawn_id: &str) -> bool {
        self.followed.get(spawn_id).is_some_and(Followed::is_behind)
    }

    /// Its spool is damaged: nothing behind the damage can be read.
    pub fn is_damaged(&self, spawn_id: &str) -> bool {
        self.followed.get(spawn_id).is_some_and(|followed| followed.damaged)
    }

    /// The segment that holds the last of what was read, whose sync makes all of that durable (earlier ones are
    /// sealed and so already are); `None` while nothing was read.
    pub fn last_segment(&self, spawn_id: &str) -> Option<PathBuf> {
        let followed = self.followed.get(spawn_id)?;
        let position = followed.tail.position();
        (position.byte > 0).then(|| segment_path(&followed.directory, position.segment))
    }
}

#[cfg(test)]
mod tests;
