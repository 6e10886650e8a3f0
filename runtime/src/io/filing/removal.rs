//! What filing removes: the oldest turns past a bound, and workers that never started.

use super::{FilingError, Permit, directory, is_name, list, load, write};
use crate::filed::{Filed, FiledBody, Truncated, file_name, truncate};
use crate::span::Span;
use holdfast_shared::home::Home;
use holdfast_shared::spool::segment_path;
use holdfast_shared::worker::{REMOVED, WorkerState};
use std::fs;
use std::io;
use std::path::Path;

/// Turns removed by one filing at most; the next one goes on. So that no filing takes long.
pub(super) const REMOVED_PER_FILING: usize = 64;

/// Removes the oldest so that what is kept fits: the marker first, durably, then what it stands for.
pub(super) fn bound(
    home: &Home,
    newest: &Filed,
    limit_bytes: u64,
    permit: &impl Permit,
) -> Result<Option<Filed>, FilingError> {
    let FiledBody::Turn { span, .. } = &newest.body else { return Ok(None) };
    let conversation = &span.conversation;
    let oldest = oldest(home, conversation, newest, limit_bytes)?;
    if let Some(Filed { body: FiledBody::Truncated(marker), .. }) = oldest.first() {
        // A crash may have come before all of it was gone.
        sweep(home, marker, permit)?;
    }
    let Some(mut marker) = truncate(&oldest, newest.cumulative_bytes, limit_bytes) else { return Ok(None) };
    if let FiledBody::Truncated(going) = &mut marker.body {
        going.keep_worker(worker_at(home, conversation, going.last + 1, newest)?.as_deref());
    }
    write(&directory(home, conversation)?, &marker, permit)?;
    if let FiledBody::Truncated(marker) = &marker.body {
        sweep(home, marker, permit)?;
    }
    Ok(Some(marker))
}

/// The worker of the turn that begins at `first`, which is filed.
fn worker_at(
    home: &Home,
    conversation: &str,
    first: u64,
    newest: &Filed,
) -> Result<Option<String>, FilingError> {
    let worker = |filed: &Filed| match &filed.body {
        FiledBody::Turn { span, .. } => span.worker.clone(),
        FiledBody::Truncated(_) => None,
    };
    if first == newest.first() {
        return Ok(worker(newest));
    }
    match load(home, conversation, first) {
        Ok(filed) => Ok(worker(&filed)),
        // Whose it was cannot be told; the newest one's may serve on.
        Err(error) if error.is_lasting() => Ok(worker(newest)),
        Err(error) => Err(error),
    }
}

/// The oldest files, as many as may have to go. Each begins where the one before it ends; the first at offset 1.
fn oldest(
    home: &Home,
    conversation: &str,
    newest: &Filed,
    limit_bytes: u64,
) -> Result<Vec<Filed>, FilingError> {
    let (mut oldest, mut first): (Vec<Filed>, u64) = (Vec::new(), 1);
    while first < newest.first() && oldest.len() < REMOVED_PER_FILING {
        match load(home, conversation, first) {
            Ok(filed) => {
                let fits = newest.cumulative_bytes.saturating_sub(filed.cumulative_bytes) <= limit_bytes;
                first = filed.last() + 1;
                oldest.push(filed);
                if fits {
                    break;
                }
            }
            // What cannot be read does not hide behind a marker that names a limit: the next one begins.
            Err(error) if error.is_lasting() && oldest.is_empty() => {
                let next = list(home, conversation)?.into_iter().find(|next| *next > first);
                first = next.unwrap_or(newest.first());
            }
            Err(error) if error.is_lasting() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(oldest)
}

/// Removes what a marker stands for. Done again at each filing, since a crash may have come in between.
fn sweep(home: &Home, marker: &Truncated, permit: &impl Permit) -> Result<(), FilingError> {
    let directory = directory(home, &marker.conversation)?;
    for first in &marker.files {
        let path = directory.join(file_name(*first));
        remove(&path, permit, |path| fs::remove_file(path))?;
    }
    for worker in marker.workers.iter().filter(|worker| is_name(worker)) {
        remove_worker(home, worker, permit)?;
    }
    // Segment 0 is its lock, and no turn's.
    for (worker, segment) in
        marker.segments.iter().filter(|(worker, segment)| is_name(worker) && *segment > 0)
    {
        let path = segment_path(&home.worker(worker), *segment);
        remove(&path, permit, |path| fs::remove_file(path))?;
    }
    Ok(())
}

/// A standing worker has ended and no turn has output of it: its directory goes.
///
/// # Errors
/// [`FilingError::Fenced`], or what cannot be removed.
pub fn remove_unused(home: &Home, worker: &str, permit: &impl Permit) -> Result<(), FilingError> {
    match is_name(worker) {
        true => remove_worker(home, worker, permit),
        false => Ok(()),
    }
}

/// Moved aside in one step, under the permit: a holder that is very late finds nothing, not half of it, and a fence
/// does not wait until hundreds of MiB are freed.
fn remove_worker(home: &Home, worker: &str, permit: &impl Permit) -> Result<(), FilingError> {
    let aside = home.workers().join(format!("{REMOVED}{worker}"));
    remove(&home.worker(worker), permit, |path| fs::rename(path, &aside))?;
    absent_is_fine(fs::remove_dir_all(&aside)).map_err(FilingError::io("remove", &aside))
}

/// Removes what is left of workers that never started. A crash may come before: the span is filed again then.
///
/// # Errors
/// [`FilingError::Fenced`]. What cannot be removed is left: it must not keep a turn from being filed.
pub(super) fn remove_given_up(home: &Home, span: &Span, permit: &impl Permit) -> Result<(), FilingError> {
    for worker in span.given_up.iter().filter(|worker| is_name(worker)) {
        match WorkerState::read(&home.worker(worker)) {
            // Also where only what was moved aside is left.
            Ok(WorkerState::NotStarted | WorkerState::LostBeforeStart) => {
                match remove_worker(home, worker, permit) {
                    Err(error @ FilingError::Fenced) => return Err(error),
                    Err(error) => tracing::warn!(%error, worker, "left behind"),
                    Ok(()) => {}
                }
            }
            // It was given up under its lock, so this cannot be; whatever it is, it stays.
            found => tracing::warn!(worker, ?found, "worker was given up, and yet it was started"),
        }
    }
    Ok(())
}

fn remove(
    path: &Path,
    permit: &impl Permit,
    remove: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), FilingError> {
    let removed = permit.hold(|| remove(path)).ok_or(FilingError::Fenced)?;
    absent_is_fine(removed).map_err(FilingError::io("remove", path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
