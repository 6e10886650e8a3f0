//! Root's side (`holdfast units apply`, run by `holdfast-units.service`): a wish of the node carried out, or refused, or
//! put back. Nothing that the node's user can write is believed: the bundle is copied by descriptor, verified again with
//! keys that only root writes, and only units of fixed names are taken from it.
//!
//! The previous state is durable before anything changes, so whoever finds it (after a crash or a power cut the same
//! unit, which `holdfast-units.path` starts for it) puts it back.

mod checked;
mod files;

use super::systemctl::Manager;
use super::{OUTCOME, REMEMBERED, taken};
use crate::units::{End, Outcome, Placed, Remembered, Texts, There, Wish, changes};
use files::{alone, forget, packaged, put, read, there, write};
use holdfast_shared::home::Home;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the node's new unit is given to become ready, and the previous one again after it.
const READY: Duration = Duration::from_secs(45);
/// Later than so long after the beginning nothing is placed. Then reload, restart and a question, twice at most, end before
/// the trial of the root files does (`promotion::TRIAL_MS`, 180 s): 25 + 2 x (15 + 45 + 10).
const TAKEN: Duration = Duration::from_secs(25);
/// What a bundle has placed.
const PLACED: &str = "placed.json";
/// Bundles whose units a package has removed, oldest first.
const REMOVED: &str = "removed.json";
/// So many of them are remembered: one for each upgrade after which the node was given a release with units.
const REMOVED_KEPT: usize = 64;

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Places {
    /// The node's home.
    pub home: Home,
    /// Root's own state, which the node may read.
    pub state: PathBuf,
    /// Trusted keys.
    pub keys: PathBuf,
    /// The administrator's units.
    pub units: PathBuf,
    /// The package's units; the first that has one decides.
    pub packaged: Vec<PathBuf>,
    /// Where the installed programs are, with `/` at its end.
    pub programs: String,
    /// Version of the installed programs: nothing older is placed.
    pub version: String,
    /// Who must own the keys: root.
    pub owner: u32,
}

/// Why nothing was placed, or could not be put back.
#[derive(Debug, thiserror::Error)]
pub enum PlacingError {
    /// Files of root's own.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The previous units are back, and the node did not become ready with them.
    #[error("the previous units are back: {0}")]
    Manager(io::Error),
}

fn on(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlacingError {
    move |source| PlacingError::File { operation, path: path.display().to_string(), source }
}

/// Puts back what an earlier run has left in the middle, then carries out the wish of the node, if there is one that was
/// not answered. The answer is in `outcome.json`.
///
/// # Errors
/// Root's own files or systemd fail; what is remembered is put back by the next run.
pub fn apply(places: &Places, manager: &dyn Manager, now_ms: i64) -> Result<Option<Outcome>, PlacingError> {
    let _alone = alone(places)?;
    let begun = Instant::now();
    checked::clear(places);
    recover(places, manager)?;
    let wish = taken::wish(&places.home).map_err(on("read", &places.home.run()))?;
    let Some(wish) = wish else { return Ok(None) };
    let answered: Option<Outcome> = read(&places.state.join(OUTCOME));
    if answered.is_some_and(|answered| answered.wish == wish) {
        return Ok(None);
    }
    // It is heard, before anything that takes long.
    remember(places, &wish, Texts::new())?;
    let outcome = match checked::wanted(places, &wish, now_ms) {
        Ok(wanted) => place(places, manager, &wish, &wanted, begun)?,
        Err((reason, message)) => {
            tracing::error!(attempt = wish.attempt, reason, message, "units are not placed");
            Outcome { wish, end: End::Refused, reason, message }
        }
    };
    write(&places.state.join(OUTCOME), &outcome)?;
    forget(&places.state.join(REMEMBERED))?;
    Ok(Some(outcome))
}

/// Removes what a bundle has placed: a package that is newer, or goes, decides, and this bundle's units are not placed
/// again. The caller reloads and restarts.
///
/// # Errors
/// Root's own files fail.
pub fn remove(places: &Places) -> Result<Vec<String>, PlacingError> {
    if !places.state.exists() {
        return Ok(Vec::new());
    }
    let _alone = alone(places)?;
    let mut ours: Placed = read(&places.state.join(PLACED)).unwrap_or_default();
    let mut bundles = Vec::new();
    if let Some(remembered) = read::<Remembered>(&places.state.join(REMEMBERED)) {
        put(places, &remembered.before)?;
        ours = remembered.placed;
        bundles.extend((!remembered.before.is_empty()).then_some(remembered.wish.sha256));
    }
    bundles.extend((!ours.units.is_empty()).then(|| ours.sha256.clone()));
    note_removed(places, bundles)?;
    let is_ours = |(name, text): &(&String, &String)| {
        std::fs::read_to_string(places.units.join(name)).is_ok_and(|there| there == **text)
    };
    let names: Vec<String> = ours.units.iter().filter(is_ours).map(|(name, _)| name.clone()).collect();
    put(places, &names.iter().map(|name| (name.clone(), None)).collect())?;
    forget(&places.state.join(PLACED))?;
    forget(&places.state.join(REMEMBERED))?;
    Ok(names)
}

fn note_removed(places: &Places, bundles: Vec<String>) -> Result<(), PlacingError> {
    if bundles.is_empty() {
        return Ok(());
    }
    let path = places.state.join(REMOVED);
    let mut all: Vec<String> = read(&path).unwrap_or_default();
    all.retain(|earlier| !bundles.contains(earlier));
    all.extend(bundles);
    all.drain(..all.len().saturating_sub(REMOVED_KEPT));
    write(&path, &all)
}

/// What is remembered is put back, unless the answer says that it came to its end.
fn recover(places: &Places, manager: &dyn Manager) -> Result<(), PlacingError> {
    let path = places.state.join(REMEMBERED);
    let Some(remembered) = read::<Remembered>(&path) else { return Ok(()) };
    let answered: Option<Outcome> = read(&places.state.join(OUTCOME));
    if answered.is_some_and(|answered| answered.wish == remembered.wish) {
        return forget(&path);
    }
    let end = if remembered.before.is_empty() { End::Refused } else { End::Restored };
    tracing::warn!(attempt = remembered.wish.attempt, ?end, "it was interrupted");
    if end == End::Restored {
        put_back(places, manager, &remembered)?;
    }
    let outcome = Outcome {
        wish: remembered.wish,
        end,
        reason: "interrupted".into(),
        message: "placing the units was interrupted".into(),
    };
    write(&places.state.join(OUTCOME), &outcome)?;
    forget(&path)
}

/// Places what differs, as a whole, and waits until the node is ready with it; else what was there before is back.
fn place(
    places: &Places,
    manager: &dyn Manager,
    wish: &Wish,
    wanted: &BTreeMap<&'static str, String>,
    begun: Instant,
) -> Result<Outcome, PlacingError> {
    let attempt = &wish.attempt;
    let ended = |end: End, reason: &str, message: String| Outcome {
        wish: wish.clone(),
        end,
        reason: reason.to_owned(),
        message,
    };
    let placed: Placed = read(&places.state.join(PLACED)).unwrap_or_default();
    let there = there(places)?;
    let changes = match changes(wanted, &there, &packaged(places), &placed) {
        Ok(changes) => changes,
        Err(name) => {
            let path = places.units.join(name);
            let words = format!("{} is the administrator's, not a bundle's", path.display());
            return Ok(ended(End::Refused, "unit_of_the_administrator", words));
        }
    };
    if changes.is_empty() {
        return Ok(ended(End::Applied, "", "these units were in effect already".into()));
    }
    let text = |name: &String| match there.get(name.as_str()) {
        Some(There::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let before: Texts = changes.keys().map(|name| (name.clone(), text(name))).collect();
    if let Some((reason, words)) = outdated(places, manager, wish, begun) {
        return Ok(ended(End::Refused, reason, words.into()));
    }
    let remembered = remember(places, wish, before)?;
    tracing::info!(attempt, units = ?changes.keys().collect::<Vec<_>>(), "units are placed");
    let ready = put(places, &changes)
        .map_err(|error| io::Error::other(error.to_string()))
        .and_then(|()| manager.reload())
        .and_then(|()| loaded(manager, &changes))
        .and_then(|()| match manager.is_wanted() {
            true => manager.restart(READY),
            false => Err(io::Error::other("the node was stopped meanwhile")),
        });
    if let Err(error) = ready {
        tracing::error!(attempt, %error, "the node is not ready with the new units; the previous ones are put back");
        put_back(places, manager, &remembered)?;
        return Ok(ended(End::Restored, "unit_not_ready", error.to_string()));
    }
    let mut now = Placed { sha256: wish.sha256.clone(), ..placed };
    for (name, text) in &changes {
        match text {
            Some(text) => drop(now.units.insert(name.clone(), text.clone())),
            None => drop(now.units.remove(name)),
        }
    }
    write(&places.state.join(PLACED), &now)?;
    Ok(ended(End::Applied, "", format!("placed: {}", changes.keys().cloned().collect::<Vec<_>>().join(", "))))
}

/// Why it is not to be placed any more: the copy took its time, and the node did not stand still.
fn outdated(
    places: &Places,
    manager: &dyn Manager,
    wish: &Wish,
    begun: Instant,
) -> Option<(&'static str, &'static str)> {
    let wished = taken::wish(&places.home).ok().flatten();
    if wished.as_ref() != Some(wish) {
        return Some(("wish_withdrawn", "the node does not wish for it any more"));
    }
    if begun.elapsed() > TAKEN {
        return Some(("bundle_not_taken_in_time", "reading the bundle took too long"));
    }
    (!manager.is_wanted()).then_some(("node_stopped", "holdfast.service was stopped"))
}

/// Whether systemd takes what was placed: what it reads only at the next boot would be found broken there.
fn loaded(manager: &dyn Manager, changes: &Texts) -> io::Result<()> {
    let placed = changes.iter().filter(|(_, text)| text.is_some());
    placed.map(|(name, _)| name).try_for_each(|name| manager.loaded(name))
}

fn remember(places: &Places, wish: &Wish, before: Texts) -> Result<Remembered, PlacingError> {
    let placed = read(&places.state.join(PLACED)).unwrap_or_default();
    let remembered = Remembered { wish: wish.clone(), before, placed };
    write(&places.state.join(REMEMBERED), &remembered)?;
    Ok(remembered)
}

/// The remembered units, in effect again.
fn put_back(places: &Places, manager: &dyn Manager, remembered: &Remembered) -> Result<(), PlacingError> {
    put(places, &remembered.before)?;
    // Before anything that a full disk can prevent.
    manager.reload().map_err(PlacingError::Manager)?;
    write(&places.state.join(PLACED), &remembered.placed)?;
    // A node that was stopped meanwhile is to stay so.
    if manager.is_wanted()
        && let Err(error) = manager.restart(READY)
    {
        // Nothing that is known here helps it; its unit is tried again by systemd.
        tracing::error!(%error, "the node is not ready with its previous units");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
