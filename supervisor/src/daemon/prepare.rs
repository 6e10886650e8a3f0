//! `preparing`: a bundle verified and put into the inactive slot, apart from the loop.

use super::{Event, SuperviseError, Supervisor, now_ms};
use crate::attempt::{self, Attempt, Kind, State};
use crate::io::bundle::{self, TrustedKeys, lease, root_changes};
use crate::io::found::{Found, find};
use crate::io::{incoming, preflight, slots, units};
use crate::release::{BundleError, Limits, Rules};
use holdfast_shared::error::ApiError;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::release::Manifest;
use holdfast_shared::slot::Slot;
use holdfast_shared::version;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks whether the runtime that was in the slot has ended.
const ROOM_AGAIN: Duration = Duration::from_millis(100);
/// A release reads the whole journal in its self-check.
const SELF_CHECK: Duration = Duration::from_secs(120);

/// Set when whoever prepares is to stop. A lease can be revoked only once it is held; this holds before that, too.
pub(super) type Revoked = Arc<AtomicBool>;

/// What came of preparing.
#[derive(Debug)]
pub enum Outcome {
    /// The release is in the slot.
    Staged {
        /// What it says of itself.
        manifest: Box<Manifest>,
        /// It brings other root files than those in use.
        root_files: bool,
        /// What it must be able to deal with.
        found: Found,
    },
    /// It serves already.
    ServesAlready,
    /// Its runtime serves already, and its root files or units are not those in use: the release's version.
    RootIsOther(String),
    /// A code and words.
    Refused(String, String),
}

/// What is needed beside the attempt, apart from the loop.
struct Workplace {
    home: Home,
    checks: slots::Checks,
    settings: String,
    revoked: Revoked,
}

impl Supervisor {
    /// Verifies and unpacks the bundle of the attempt, once nothing runs from its slot.
    pub(super) fn prepare(&mut self) -> Result<(), SuperviseError> {
        let Some(attempt) = self.preparing().cloned() else { return Ok(()) };
        let slot = attempt.request.slot;
        let owner = self.transition.owner();
        if owner.is_some_and(|owner| owner.slot == slot) {
            let outcome = Outcome::Refused("slot_in_use".into(), format!("slot {slot} serves"));
            return self.prepared(self.attempt_no, outcome);
        }
        // While the node is settling, what is in the slot may be what it settles on.
        if owner.is_none() || self.processes.make_room(Role::Runtime(slot)) {
            if owner.is_some() {
                self.end_child(Role::Runtime(slot));
            }
            self.later(ROOM_AGAIN, Event::PrepareAgain(self.attempt_no));
            return Ok(());
        }
        let (events, number, now) = (self.events.clone(), self.attempt_no, now_ms());
        self.preparation.store(true, Ordering::Release);
        self.preparation = Revoked::default();
        let workplace = Workplace {
            home: self.home.clone(),
            checks: self.processes.checks(),
            settings: self.fresh_settings().runtime_json(),
            revoked: self.preparation.clone(),
        };
        tokio::task::spawn_local(async move {
            let done = tokio::task::spawn_blocking(move || put_in_place(&workplace, &attempt, now)).await;
            let failed =
                |error: tokio::task::JoinError| Outcome::Refused("internal_error".into(), error.to_string());
            let _ = events.send(Event::Prepared(number, done.unwrap_or_else(failed))).await;
        });
        Ok(())
    }

    /// Its slot may be free now.
    pub(super) fn prepare_again(&mut self, number: u64) -> Result<(), SuperviseError> {
        if number == self.attempt_no && self.stopping.is_none() { self.prepare() } else { Ok(()) }
    }

    /// Whoever verifies or unpacks is to stop; what was unpacked is of no use.
    pub(super) fn revoke(&self) {
        self.preparation.store(true, Ordering::Release);
        let home = self.home.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = lease::revoke(&home) {
                tracing::warn!(%error, "revoke the lease of a slot");
            }
        });
    }

    pub(super) fn prepared(&mut self, number: u64, outcome: Outcome) -> Result<(), SuperviseError> {
        if number != self.attempt_no {
            return Ok(());
        }
        let Some(slot) = self.preparing().map(|attempt| attempt.request.slot) else { return Ok(()) };
        let event = match outcome {
            Outcome::ServesAlready => attempt::Event::ServesAlready,
            Outcome::RootIsOther(release) => attempt::Event::RootIsOther(release),
            Outcome::Refused(code, words) => attempt::Event::Prepared(Err((code, words))),
            Outcome::Staged { manifest, root_files, found } => {
                let release = attempt::Prepared { release: manifest.version, root_files };
                let refused = |why| ("not_admitted".to_owned(), why);
                let blocked = self.release_blocks(slot, &found).map(refused);
                attempt::Event::Prepared(blocked.map_or(Ok(release), Err))
            }
        };
        self.advance_attempt(event)
    }

    /// Settling starts a runtime from this slot: nothing is put into it from now on. Waits for two renames at the most;
    /// afterwards the slot is the old one or the new one, whole, and [`Supervisor::start_child`] looks at its digests. A
    /// new one has not checked itself then, and refuses by itself what it cannot serve.
    pub(super) fn leave_slot(&mut self, slot: Slot) -> Result<(), SuperviseError> {
        if self.recovering || self.preparing().is_none_or(|attempt| attempt.request.slot != slot) {
            return Ok(());
        }
        self.preparation.store(true, Ordering::Release);
        if let Err(error) = lease::revoke(&self.home) {
            tracing::error!(%error, %slot, "revoke the lease of a slot");
        }
        self.advance_attempt(attempt::Event::SlotNeeded)
    }

    /// Removes bundles that were handed over and that no attempt names any more, apart from the loop.
    pub(super) fn sweep_incoming(&self) {
        let attempts = self.attempts();
        let current = attempts.current.as_ref().map(|attempt| &attempt.request);
        let waits = attempts.subsequent.as_ref().map(|waiting| &waiting.request);
        let named = current.into_iter().chain(waits).filter_map(|request| request.bundle.as_ref());
        let (home, named) = (self.home.clone(), named.map(PathBuf::from).collect());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = incoming::sweep(&home, &named) {
                tracing::warn!(%error, "remove bundles that were handed over");
            }
        });
    }

    fn preparing(&self) -> Option<&Attempt> {
        let preparing =
            |attempt: &&Attempt| attempt.state == State::Preparing && attempt.request.kind == Kind::Update;
        self.attempts().current.as_ref().filter(preparing)
    }
}

/// Blocks for as long as the disk takes.
fn put_in_place(workplace: &Workplace, attempt: &Attempt, now_ms: i64) -> Outcome {
    match try_put_in_place(workplace, attempt, now_ms) {
        Ok(outcome) => outcome,
        Err(PrepareError::Bundle(error)) => Outcome::Refused(error.code().to_owned(), error.to_string()),
        Err(PrepareError::SelfCheck(error)) => {
            Outcome::Refused("self_check_failed".to_owned(), error.message)
        }
        Err(PrepareError::Other(error)) => {
            Outcome::Refused(error.code.as_str().to_ascii_lowercase(), error.message)
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("{0}")]
    SelfCheck(ApiError),
    #[error(transparent)]
    Other(#[from] ApiError),
}

fn try_put_in_place(workplace: &Workplace, attempt: &Attempt, now_ms: i64) -> Result<Outcome, PrepareError> {
    let Workplace { home, checks, settings, revoked } = workplace;
    let request = &attempt.request;
    let slot = request.slot;
    let rules = Rules {
        now_ms,
        target: slots::target(),
        contracts: version::contracts(),
        allow_downgrade: request.allow_downgrade,
        limits: Limits::default(),
    };
    let path = request.bundle.as_deref().unwrap_or_default();
    let verified = bundle::verify(Path::new(path), &TrustedKeys::load(&home.keys())?, &rules)?;
    let coming = verified.manifest().installed(slot, verified.key());
    let active = slots::manifest(home, slot.other())?;
    let same = |active: &Manifest| active.version == coming.version && active.digests == coming.digests;
    let root_files =
        !root_changes(Some(home), &coming)?.is_empty() || !units::differing(home, &coming).is_empty();
    if active.as_ref().is_some_and(same) {
        return Ok(match root_files {
            true => Outcome::RootIsOther(coming.version),
            false => Outcome::ServesAlready,
        });
    }
    let stops = || revoked.load(Ordering::Acquire);
    if stops() {
        return Err(BundleError::LeaseRevoked { attempt: attempt.id() }.into());
    }
    let manifest = bundle::stage(&verified, slot, home, &attempt.id(), &mut |_| {
        // Its own lease, which it looks at again before the slot is touched.
        if stops()
            && let Err(error) = lease::revoke(home)
        {
            tracing::warn!(%error, "revoke the lease of a slot");
        }
    })?;
    if let Some(issue) = checks.issues(home, slot).first() {
        let words = format!("slot {slot} is not what was unpacked into it");
        return Ok(Outcome::Refused((*issue).to_owned(), words));
    }
    preflight::self_check(home, slot, settings, SELF_CHECK).map_err(PrepareError::SelfCheck)?;
    Ok(Outcome::Staged { manifest: Box::new(manifest), root_files, found: find(home) })
}
