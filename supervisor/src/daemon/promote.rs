//! Root promotion (docs/decisions/0012): new root files put in place, this process replaced by their supervisor, and
//! what a later supervisor confirms or finds put back.

use super::units::{self, Units};
use super::{End, Event, SuperviseError, Supervisor, now_ms};
use crate::attempt::{self, Attempt, State};
use crate::io::replace::HandOver;
use crate::io::root::{self, Order, Placed};
use crate::io::slots;
use crate::promotion::{InUse, Root};
use crate::transition::Phase;
use holdfast_shared::error::ApiError;
use holdfast_shared::home::Role;
use std::path::{Path, PathBuf};

/// Failed starts in a row after which a promoted sidecar is not waited for.
const SIDECAR_STARTS: u32 = 3;

/// What came of placing root files.
pub(super) type Outcome = Result<Placed, ApiError>;

/// What this process is to do at the end of its turn.
#[derive(Debug, Default)]
pub(super) struct Promotion {
    /// Become this program.
    replace_by: Option<PathBuf>,
    /// Go, so that the keeper starts what is in use now.
    leave: bool,
    /// Why the program could not be executed that this process was to become.
    failed: Option<String>,
    /// Units that were asked of root.
    pub(super) units: units::Asked,
}

impl Promotion {
    pub(super) fn new(failed: Option<String>) -> Self {
        Self { failed, ..Self::default() }
    }
}

impl Supervisor {
    /// Puts the root files of the attempt's release in place, apart from the loop.
    pub(super) fn place_root(&mut self) {
        let Some(attempt) = &self.attempts().current else { return };
        let (home, attempt, slot) = (self.home.clone(), attempt.id(), attempt.request.slot);
        let (number, events) = (self.attempt_no, self.events.clone());
        tokio::task::spawn_local(async move {
            let named = attempt.clone();
            let placing = tokio::task::spawn_blocking(move || {
                let manifest = slots::manifest(&home, slot)?.ok_or_else(|| empty(slot.name()))?;
                root::place(&home, &Order { manifest, attempt, now_ms: now_ms() })
            });
            let outcome = placing.await.unwrap_or_else(|error| {
                Err(ApiError::new(holdfast_shared::error::Code::InternalError, error.to_string()))
            });
            let _ = events.send(Event::RootPlaced(number, named, outcome)).await;
        });
    }

    pub(super) fn root_placed(
        &mut self,
        number: u64,
        attempt: &str,
        outcome: Outcome,
    ) -> Result<(), SuperviseError> {
        if number != self.attempt_no {
            // Its attempt has ended meanwhile: nobody would confirm the files.
            if matches!(outcome, Ok(Placed::InUse(_)))
                && self.attempts().current.as_ref().is_none_or(|current| current.id() != attempt)
                && let Err(error) = root::restore(&self.home, attempt)
            {
                tracing::error!(%error, attempt, "put the root files back");
            }
            return Ok(());
        }
        if self.stopping.is_some() {
            return Ok(());
        }
        match outcome {
            Ok(Placed::Restored) => self.advance_attempt(attempt::Event::RootConfirmed(false)),
            Err(error) => {
                self.tidy_root();
                self.advance_attempt(attempt::Event::RootPlaced(Err(error.message)))
            }
            Ok(Placed::InUse(program)) => {
                self.advance_attempt(attempt::Event::RootPlaced(Ok(())))?;
                let ours = self.root_in_use().current.is_some_and(|root| root::is_ours(&self.home, &root));
                if !ours && self.attempts().state() == Some(State::RootRestartInProgress) {
                    self.promotion.replace_by = Some(program);
                }
                Ok(())
            }
        }
    }

    /// Puts back the root files that were in use before the attempt that has just ended; whoever runs from what was
    /// put back goes.
    pub(super) fn restore_root(&mut self) {
        let Some(attempt) = self.attempts().last().map(Attempt::id) else { return };
        let Some(root) = self.root_in_use().current.filter(|root| root.attempt == attempt) else { return };
        if let Err(error) = root::restore(&self.home, &attempt) {
            // The keeper does it when the trial is over.
            tracing::error!(%error, attempt, "put the root files back");
            return;
        }
        tracing::warn!(attempt, "the root files are put back");
        self.promotion.leave = root::is_ours(&self.home, &root);
        self.renew_sidecar_of(&root);
    }

    /// A later supervisor than the one that placed the files: confirms them once it serves from them, or finds that
    /// they were put back.
    pub(super) fn look_at_root(&mut self) -> Result<(), SuperviseError> {
        let current = self.attempts().current.as_ref();
        let promoted = current.filter(|attempt| attempt.state == State::RootRestartInProgress);
        let Some(attempted) = promoted.cloned() else {
            self.withdraw_units();
            return Ok(());
        };
        let attempt = attempted.id();
        if self.recovering || self.promotion.replace_by.is_some() {
            return Ok(());
        }
        if let Some(why) = self.promotion.failed.take() {
            return self.advance_attempt(attempt::Event::RootPlaced(Err(why)));
        }
        if let Some(why) = self.units_refused(&attempted) {
            return self.advance_attempt(attempt::Event::RootRefused(why));
        }
        let in_use = self.root_in_use();
        let Some(root) = in_use.current.clone().filter(|root| root.attempt == attempt) else {
            if let Some(root) = in_use.restored.filter(|root| root.attempt == attempt) {
                self.renew_sidecar_of(&root);
            }
            return self.advance_attempt(attempt::Event::RootConfirmed(false));
        };
        if !root::is_ours(&self.home, &root) {
            let why = "another supervisor was started in its place".to_owned();
            return self.advance_attempt(attempt::Event::RootPlaced(Err(why)));
        }
        if root.renews_sidecar && !self.sidecar_is_from(&root) {
            return self.renew_sidecar();
        }
        let serves = matches!(self.transition.phase, Phase::Settled { routed: true, .. });
        if !serves || !self.transition.sidecar {
            return Ok(());
        }
        let units = self.ask_for_units(&attempted);
        match units {
            Units::InEffect => self.confirm_root(in_use),
            Units::Awaited => Ok(()),
            Units::Failed(why) => self.advance_attempt(attempt::Event::RootRefused(why)),
        }
    }

    fn confirm_root(&mut self, in_use: InUse) -> Result<(), SuperviseError> {
        if let Err(error) = root::write(&self.home, &in_use.confirmed()) {
            tracing::error!(%error, "confirm the root files");
            return Ok(());
        }
        self.tidy_root();
        self.advance_attempt(attempt::Event::RootConfirmed(true))
    }

    /// Removes root files that nothing names any more, apart from the loop: earlier ones, and those of a promotion that
    /// failed. Whoever still runs from them goes on, and goes by itself.
    pub(super) fn tidy_root(&self) {
        let home = self.home.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = root::tidy(&home) {
                tracing::warn!(%error, "remove earlier root files");
            }
        });
    }

    /// Ends a sidecar of earlier root files; its death starts the new one. Browsers come back by themselves and go on
    /// from their offset.
    fn renew_sidecar(&mut self) -> Result<(), SuperviseError> {
        if self.processes.process(Role::Sidecar).is_some() {
            self.end_child(Role::Sidecar);
            return Ok(());
        }
        if self.processes.child(Role::Sidecar).restarts.failed() < SIDECAR_STARTS {
            return Ok(());
        }
        let last = crate::io::logs::last_error(&self.home.logs(), Role::Sidecar.name()).unwrap_or_default();
        self.advance_attempt(attempt::Event::RootPlaced(Err(format!("the sidecar does not start: {last}"))))
    }

    fn sidecar_is_from(&self, root: &Root) -> bool {
        let Some(process) = self.processes.process(Role::Sidecar).filter(|process| !process.ending) else {
            return false;
        };
        let program = std::fs::read_link(Path::new("/proc").join(process.pid.to_string()).join("exe"));
        program.is_ok_and(|program| root::is_from(&self.home, root, &program))
    }

    /// A sidecar of root files that were put back goes with them.
    fn renew_sidecar_of(&mut self, root: &Root) {
        if self.sidecar_is_from(root) {
            self.end_child(Role::Sidecar);
        }
    }

    pub(super) fn root_in_use(&self) -> InUse {
        root::read(&self.home).unwrap_or_else(|error| {
            tracing::error!(%error, "root files");
            InUse::default()
        })
    }

    /// How this process ends, where a promotion asks for it. Everything that is asked meanwhile is asked again, as
    /// after any other end of a supervisor.
    pub(super) fn promotion_ends(&mut self) -> Option<Ends> {
        if self.stopping.is_some() {
            return None;
        }
        if std::mem::take(&mut self.promotion.leave) {
            return Some(Ends::Leave);
        }
        self.promotion.replace_by.take().map(Ends::Replace)
    }

    /// Closes the journal and gives what is kept.
    pub(super) fn hand_over(self, program: PathBuf) -> Result<End, SuperviseError> {
        tracing::info!(program = %program.display(), "replaced by the promoted supervisor");
        // Also wakes the keeper, which counts the time from now on.
        self.keeper.status("root restart in progress");
        let Supervisor { journal, lock, processes, .. } = self;
        let journal = journal.close_and_keep_lock()?;
        Ok(End::Replaced(Box::new(HandOver { program, journal, role: lock, listener: processes.listener })))
    }
}

/// See [`Supervisor::promotion_ends`].
pub(super) enum Ends {
    /// Become this program.
    Replace(PathBuf),
    /// Go.
    Leave,
}

fn empty(slot: &str) -> ApiError {
    ApiError::new(holdfast_shared::error::Code::Refused, format!("slot {slot} is empty"))
}
