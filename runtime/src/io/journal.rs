//! The journal as this runtime sees it: followed while passive, written while active.

mod writing;

use crate::io::view::View;
use crate::record::{Body, Record, SPAN_FILED, Unreadable};
use crate::state::State;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::journal::{
    Folded, FollowError, Followed, Follower, LoadError, Position, Record as JournalRecord, TakeOverError,
    Watch, open_at_newest_checkpoint,
};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
pub use writing::{Fatal, Taker, Writing};

/// Records folded in one go, so that the loop turns while a long journal is read.
const FOLDED_AT_A_TIME: usize = 2000;
/// Times a follower is begun anew before a take-over gives up: each time a newer checkpoint is there.
const RESTARTS: usize = 4;

/// The journal cannot be followed or folded.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read.
    #[error("follow the journal: {0}")]
    Follow(#[from] FollowError),
    /// Its checkpoint cannot be read.
    #[error("load the journal's checkpoint: {0}")]
    Load(#[from] LoadError),
    /// It cannot be taken over.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// What was folded is not what is there.
    #[error("the journal changed while it was taken over")]
    Unsettled,
    /// It holds a record of a kind of ours that cannot be read.
    #[error("the journal cannot be understood: {0}")]
    Unreadable(String),
    /// The writer's thread could not be started.
    #[error("start the journal's writer: {0}")]
    Thread(std::io::Error),
}

impl From<&JournalError> for ApiError {
    fn from(error: &JournalError) -> Self {
        let code = match error {
            JournalError::Follow(FollowError::Damaged(_))
            | JournalError::TakeOver(TakeOverError::Corrupt(_)) => Code::HomeDamaged,
            JournalError::Follow(FollowError::Newer { .. })
            | JournalError::TakeOver(TakeOverError::NewerFormat { .. })
            | JournalError::Load(LoadError::Version { .. }) => Code::HomeNewer,
            JournalError::TakeOver(TakeOverError::Refused(_) | TakeOverError::Lock(_))
            | JournalError::Unreadable(_) => Code::Refused,
            _ => Code::InternalError,
        };
        ApiError::new(code, error.to_string())
    }
}

/// Follows the journal.
pub struct Following {
    dir: PathBuf,
    follower: Follower,
    watch: Option<Watch>,
}

/// What a step of following gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be more at once.
    More,
    /// Everything that was there was folded; there may be more by now.
    MetEnd,
    /// Everything there is was folded.
    CaughtUp,
}

impl Following {
    /// Follows from the newest checkpoint, with the state folded up to there. An absent journal is waited for.
    ///
    /// # Errors
    /// When journal or checkpoint cannot be read.
    pub fn open(dir: &Path) -> Result<(Self, Folded<State>), JournalError> {
        let (checkpoint, follower) = open_at_newest_checkpoint(dir)?;
        let folded = Folded::load_or_empty(checkpoint)?;
        Ok((Self { dir: dir.to_owned(), follower, watch: None }, folded))
    }

    /// Follows on from where a state stands, or, if that record is gone, anew with the state in its place.
    ///
    /// # Errors
    /// When journal or checkpoint cannot be read.
    pub fn behind(dir: &Path, folded: &mut Folded<State>) -> Result<Self, JournalError> {
        if let Some(follower) = Follower::open_behind(dir, folded.position)? {
            return Ok(Self { dir: dir.to_owned(), follower, watch: None });
        }
        let (following, anew) = Self::open(dir)?;
        *folded = anew;
        Ok(following)
    }

    /// Folds what has come, so many records at most; the view is told what is its own.
    ///
    /// # Errors
    /// When journal or checkpoint cannot be read.
    pub fn step(&mut self, folded: &mut Folded<State>, view: Option<&View>) -> Result<Step, JournalError> {
        if let Some(watch) = &self.watch {
            // A watch that fails costs time, not truth: the loop looks by itself now and then.
            let _hints = watch.clear();
        }
        match self.follower.poll(FOLDED_AT_A_TIME)? {
            Followed::Records(records) => {
                let met_end = records.len() < FOLDED_AT_A_TIME && !self.follower.has_to_restart();
                records.into_iter().for_each(|record| fold(folded, record, view));
                Ok(if met_end { Step::MetEnd } else { Step::More })
            }
            Followed::UpToDate => {
                if let Some(view) = view {
                    view.reached(folded.position);
                }
                Ok(Step::CaughtUp)
            }
            Followed::Restart => {
                tracing::info!(at = folded.position.lsn, "following the journal anew from its checkpoint");
                self.begin_anew(folded, view)?;
                Ok(Step::More)
            }
        }
    }

    /// A descriptor that is readable when the journal grew; `None` while there is no journal to watch.
    pub fn watch(&mut self) -> Option<OwnedFd> {
        let watch = Watch::new(&self.dir).ok()?;
        let descriptor = watch.as_fd().try_clone_to_owned().ok()?;
        self.watch = Some(watch);
        Some(descriptor)
    }

    /// Whether it is being watched.
    pub fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    fn begin_anew(&mut self, folded: &mut Folded<State>, view: Option<&View>) -> Result<(), JournalError> {
        let (anew, from_checkpoint) = Self::open(&self.dir)?;
        self.follower = anew.follower;
        *folded = from_checkpoint;
        if let Some(view) = view {
            view.skipped();
        }
        Ok(())
    }

    fn fold_to(
        &mut self,
        end: Position,
        folded: &mut Folded<State>,
        view: Option<&View>,
    ) -> Result<(), JournalError> {
        for _ in 0..RESTARTS {
            if self.follower.drain_to(end, |record| fold(folded, record, view))? {
                return Ok(());
            }
            self.begin_anew(folded, view)?;
        }
        Err(JournalError::Unsettled)
    }
}

/// Folds a record and tells the view of what became a file.
fn fold(folded: &mut Folded<State>, record: JournalRecord, view: Option<&View>) {
    if let Some(view) = view
        && let Ok(Some(Record { body: Body::SpanFiled(filed), .. })) = filed(&record)
    {
        view.filed(&filed.task, filed.first);
    }
    folded.apply(record);
}

/// Only the kind that concerns the view is parsed here.
fn filed(record: &JournalRecord) -> Result<Option<Record>, Unreadable> {
    if record.kind == SPAN_FILED { Record::of(record) } else { Ok(None) }
}

#[cfg(test)]
mod tests;
