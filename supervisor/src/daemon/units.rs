//! The release's units in a root promotion: asked of root of the machine once everything else serves from the new files,
//! and awaited. Their restart of the node's service brings the supervisor that confirms.

use super::Supervisor;
use crate::attempt::{Attempt, Reason};
use crate::io::slots;
use crate::io::units::{self, Standing};
use crate::units::{End, Wish};
use std::path::Path;
use std::time::{Duration, Instant};

/// What root is given to begin, before it counts as not there: an earlier run of it may just be ending.
const HEARD: Duration = Duration::from_secs(30);
/// The wish is written again as long as nothing is heard of it: whoever watches it may have been away.
const AGAIN: Duration = Duration::from_secs(5);
/// Ending of a bundle that was handed over; its digest stands before it.
const BUNDLE: &str = ".tar.zst";

/// What this supervisor has asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    first: Option<Instant>,
    last: Option<Instant>,
    /// No wish is there, nor one of an earlier supervisor.
    withdrawn: bool,
}

impl Asked {
    pub fn is_awaited(&self) -> bool {
        self.first.is_some()
    }
}

/// How the release's units stand.
pub(super) enum Units {
    /// In effect, or there are none.
    InEffect,
    /// Asked for.
    Awaited,
    /// Why not.
    Failed(Reason),
}

impl Supervisor {
    /// What root has answered against it.
    pub(super) fn units_refused(&self, attempt: &Attempt) -> Option<Reason> {
        let Standing::Ended(outcome) = units::standing(&self.home, &wish_of(attempt)?) else { return None };
        let why = format!("{}: {}", outcome.reason, outcome.message);
        match outcome.end {
            End::Applied => None,
            End::Refused => Some(Reason::UnitsRefused(why)),
            End::Restored => Some(Reason::UnitsRestored(why)),
        }
    }

    /// No promotion is under way: what was asked for is not wished any more.
    pub(super) fn withdraw_units(&mut self) {
        if self.promotion.units.withdrawn {
            return;
        }
        if let Err(error) = units::withdraw(&self.home) {
            tracing::error!(%error, "withdraw the wish for units");
        }
        self.promotion.units = Asked { withdrawn: true, ..Asked::default() };
    }

    /// Asks for the units of the attempt's release where they are others than those in effect.
    pub(super) fn ask_for_units(&mut self, attempt: &Attempt) -> Units {
        let wish = wish_of(attempt);
        match wish.as_ref().map_or(Standing::Unheard, |wish| units::standing(&self.home, wish)) {
            Standing::Ended(_) => {
                return self.units_refused(attempt).map_or(Units::InEffect, Units::Failed);
            }
            Standing::UnderWay => {
                self.promotion.units.first.get_or_insert_with(Instant::now);
                return Units::Awaited;
            }
            Standing::Unheard => {}
        }
        let manifest = slots::manifest(&self.home, attempt.request.slot).ok().flatten();
        if manifest.is_none_or(|manifest| units::differing(&self.home, &manifest).is_empty()) {
            return Units::InEffect;
        }
        let now = Instant::now();
        let asked = &mut self.promotion.units;
        if asked.first.is_some_and(|first| now - first >= HEARD) {
            let why = "nobody answers: holdfast-units.path is not active, fails, or is of an older package; \
                       `systemctl status holdfast-units.path holdfast-units` says which";
            return Units::Failed(Reason::UnitsRefused(why.into()));
        }
        if asked.last.is_some_and(|last| now - last < AGAIN) {
            return Units::Awaited;
        }
        let Some(wish) = wish else {
            return Units::Failed(Reason::UnitsRefused("the bundle was not handed over to the node".into()));
        };
        if asked.first.is_none() {
            tracing::info!(attempt = wish.attempt, "root is asked for the release's units");
        }
        asked.first.get_or_insert(now);
        asked.last = Some(now);
        asked.withdrawn = false;
        if let Err(error) = units::wish(&self.home, &wish) {
            tracing::error!(%error, "ask for units");
        }
        Units::Awaited
    }
}

/// The state is entered once for each promotion, and it is what every supervisor in it finds in the journal.
fn wish_of(attempt: &Attempt) -> Option<Wish> {
    let path = Path::new(attempt.request.bundle.as_deref()?);
    let sha256 = path.file_name()?.to_str()?.strip_suffix(BUNDLE)?.to_owned();
    Some(Wish { attempt: attempt.id(), since: attempt.entered_at, sha256 }).filter(Wish::is_well_formed)
}
