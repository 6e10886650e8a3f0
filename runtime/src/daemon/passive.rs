//! Following: the journal, the spools of running turns, and when it is enough to be ready.

use super::{Daemon, Mode, Names, RunError};
use crate::io::journal::{Following, Step};
use crate::io::readable::Readable;
use crate::io::served::Served;
use crate::readiness::{Look, Readiness};
use std::time::{Duration, Instant};

/// What it has while it follows.
pub(super) struct Passive {
    pub(super) following: Following,
    pub(super) watch: Option<Readable>,
    pub(super) more: bool,
    /// Workers whose spool may have more.
    pub(super) unread: Names,
}

impl Passive {
    pub(super) fn new(following: Following) -> Self {
        Self { following, watch: None, more: true, unread: Names::new() }
    }
}

impl Daemon {
    /// Folds what the journal's writer has written.
    pub(super) fn follow(&mut self) -> Result<(), RunError> {
        let Mode::Passive(passive) = &mut self.mode else { return Ok(()) };
        let shared = self.shared.clone();
        let served = &mut *shared.borrow_mut();
        // Watched before it is read, so that nothing falls in between.
        if !passive.following.is_watched()
            && let Some(descriptor) = passive.following.watch()
        {
            passive.watch = Readable::new(descriptor).ok();
        }
        let began = Instant::now();
        let mut lag = None;
        match passive.following.step(&mut served.folded, served.view.as_ref()) {
            Ok(step) => {
                passive.more = step != Step::CaughtUp;
                if step != Step::More {
                    lag = Some(began.elapsed());
                    served.problems.clear();
                }
            }
            Err(error) => {
                passive.more = false;
                let problem = error.to_string();
                if served.problems.first() != Some(&problem) {
                    tracing::error!(%error, "the journal cannot be followed");
                }
                served.problems = vec![problem];
            }
        }
        served.outbound.advance(served.folded.position.lsn);
        passive.unread.extend(served.follow_running());
        self.look_whether_ready(served, lag);
        Ok(())
    }

    /// Says once that it is ready.
    fn look_whether_ready(&mut self, served: &mut Served, lag: Option<Duration>) {
        let Mode::Passive(passive) = &mut self.mode else { return };
        let look = |served: &Served| {
            let (sound, spools_catching_up) = (served.is_sound(), served.spools.is_catching_up());
            Look { lag, sound, spools_catching_up }
        };
        if self.readiness == Readiness::Following {
            self.readiness = self.readiness.after(look(served));
            if self.readiness == Readiness::ReadingSpools {
                passive.unread.extend(served.mark_running());
            }
        }
        if self.readiness == Readiness::ReadingSpools {
            self.readiness = self.readiness.after(look(served));
            if self.readiness == Readiness::Ready {
                served.caught_up = true;
                self.notifier.ready();
                tracing::info!(lsn = served.folded.position.lsn, "caught up with journal and spools");
            }
        }
    }

    /// Follows the spools of running turns too, so that a take-over reads only what is new.
    pub(super) fn follow_spools(&mut self) {
        let Mode::Passive(passive) = &mut self.mode else { return };
        let mut served = self.shared.borrow_mut();
        match served.spools.news() {
            Ok(news) => passive.unread.extend(news),
            Err(error) => tracing::error!(%error, "spools cannot be watched"),
        }
    }
}
