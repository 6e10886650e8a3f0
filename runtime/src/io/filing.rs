//! Filing sealed spans: writing, reading and listing `conversations/<conversation>/`, and keeping it bounded.
//!
//! A file comes into place whole and durable. Whoever files is the active runtime, and each change is made under its
//! lock of the journal: one that is fenced meanwhile changes nothing any more. Filing the same span again writes the
//! same file, so a crash at any point is made good by doing it again.

mod error;
mod removal;
mod unused;

use crate::filed::{FILED_FORMAT, Filed, FiledBody, file_name, parse_file_name};
use crate::span::Span;
pub use error::FilingError;
use holdfast_shared::durable_file;
use holdfast_shared::home::Home;
use holdfast_shared::journal::WriterClient;
use holdfast_shared::spool::{SegmentHistory, segment_path};
pub use removal::remove_unused;
use removal::{bound, remove_given_up};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
pub use unused::sweep_unused;

/// Bytes kept of one conversation's ended turns (DESIGN.md 6).
pub const CONVERSATION_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The largest file that is read: a prompt and its events are far smaller.
pub const FILED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// An index entry is filed for about every so many bytes of a spool: the quota of a turn has 512 of them.
const INDEX_STEP_BYTES: u64 = 512 * 1024;
/// Names the file written last, so that filing lists no directory of perhaps a million files.
const NEWEST: &str = "newest";

/// Lets only the active runtime change files.
pub trait Permit {
    /// Runs `change` if this runtime has the journal's lock, and keeps the lock until it is done; `None` if it has it
    /// no more.
    fn hold<T>(&self, change: impl FnOnce() -> T) -> Option<T>;
}

impl Permit for WriterClient {
    fn hold<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        self.with_lock(change)
    }
}

/// Files a sealed span durably (it reads its spool once, and waits for the disk: not for a loop), then removes the
/// oldest turns past `limit_bytes` (the one filed always stays). Answers what is filed, the marker second where one
/// was written.
///
/// # Errors
/// On failure the span is to be filed again; whatever was done already is found done.
pub fn file(
    home: &Home,
    span: &Span,
    limit_bytes: u64,
    permit: &impl Permit,
) -> Result<(Filed, Option<Filed>), FilingError> {
    if span.sealed.is_none() {
        let (conversation, first) = (span.conversation.clone(), span.first);
        return Err(FilingError::Open { conversation, first });
    }
    let directory = directory(home, &span.conversation)?;
    permit.hold(|| make_directory(&directory)).ok_or(FilingError::Fenced)??;
    let _locked = lock(&directory)?;
    let filed = match load(home, &span.conversation, span.first) {
        Ok(filed) if matches!(&filed.body, FiledBody::Turn { span: there, .. } if there == span) => filed,
        _ => {
            if let Some(worker) = &span.worker {
                sync_spool(&home.worker(worker), span.segment)?;
            }
            let filed = with_bytes(home, span)?;
            write(&directory, &filed, permit)?;
            filed
        }
    };
    // Only a hint for the next filing; unwritten or torn it costs a listing.
    let hint = || fs::write(directory.join(NEWEST), span.first.to_string());
    let _hint = permit.hold(hint).ok_or(FilingError::Fenced)?;
    remove_given_up(home, span, permit)?;
    let marker = bound(home, &filed, limit_bytes, permit)?;
    Ok((filed, marker))
}

/// Reads one file.
///
/// # Errors
/// [`FilingError::Bad`] and [`FilingError::Absent`] are lasting; [`FilingError::Io`] may pass.
pub fn load(home: &Home, conversation: &str, first: u64) -> Result<Filed, FilingError> {
    let path = directory(home, conversation)?.join(file_name(first));
    let length = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FilingError::Absent { path }),
        Err(error) => return Err(FilingError::io("ask size of", &path)(error)),
    };
    let text = match length {
        0..=FILED_BYTES_MAX => fs::read(&path).map_err(FilingError::io("read", &path))?,
        // Not one of ours; an empty text is as malformed as it is.
        _ => Vec::new(),
    };
    Filed::parse(&text, conversation, first).map_err(|source| FilingError::Bad { path, source })
}

/// First offsets of a conversation's files, ascending. A conversation without a directory has none.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(home: &Home, conversation: &str) -> Result<Vec<u64>, FilingError> {
    let directory = directory(home, conversation)?;
    let mut firsts: Vec<u64> = names(&directory)?.iter().filter_map(|name| parse_file_name(name)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Names of all conversations that have files, sorted.
///
/// # Errors
/// When the directory cannot be read.
pub fn conversations(home: &Home) -> Result<Vec<String>, FilingError> {
    let mut found = names(&home.path().join("conversations"))?;
    found.retain(|name| is_name(name));
    found.sort_unstable();
    Ok(found)
}

/// Whether this can be a conversation's directory: task ids can.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(plain)
}

fn directory(home: &Home, conversation: &str) -> Result<PathBuf, FilingError> {
    match is_name(conversation) {
        true => Ok(home.conversation(conversation)),
        false => Err(FilingError::Name(conversation.to_owned())),
    }
}

fn names(directory: &Path) -> Result<Vec<String>, FilingError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FilingError::io("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FilingError::io("list", directory))?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}

fn make_directory(directory: &Path) -> Result<(), FilingError> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(FilingError::io("make", directory))?;
    // The names of `conversations` and of the directory in it must survive as long as the file does.
    for parent in directory.ancestors().skip(1).take(2) {
        durable_file::sync_directory(parent).map_err(FilingError::io("sync", parent))?;
    }
    Ok(())
}

/// A fenced runtime may still be filing what its successor files, too: one after the other, they write the same.
fn lock(directory: &Path) -> Result<File, FilingError> {
    let file = File::open(directory).map_err(FilingError::io("open", directory))?;
    file.lock().map_err(FilingError::io("lock", directory))?;
    Ok(file)
}

/// What the file points to must be durable before the file is. Where it is gone, that is what the file will show.
fn sync_spool(worker: &Path, segment: u32) -> Result<(), FilingError> {
    let path = segment_path(worker, segment);
    match File::open(&path).and_then(|file| file.sync_data()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FilingError::io("sync", &path)(error)),
        _ => Ok(()),
    }
}

fn with_bytes(home: &Home, span: &Span) -> Result<Filed, FilingError> {
    let spool = match &span.worker {
        Some(worker) => bytes_of(&home.worker(worker), span.segment)?,
        None => 0,
    };
    let events: u64 = span.events.iter().map(|event| event.data.to_string().len() as u64).sum();
    let bytes = spool + events;
    let before = cumulative_before(home, &span.conversation, span.first)?;
    let index =
        span.worker.as_ref().map_or_else(Vec::new, |worker| index_of(&home.worker(worker), span.segment));
    let body = FiledBody::Turn { span: span.clone(), bytes, index };
    Ok(Filed { format: FILED_FORMAT, cumulative_bytes: before.saturating_add(bytes), body })
}

fn bytes_of(worker: &Path, segment: u32) -> Result<u64, FilingError> {
    let path = segment_path(worker, segment);
    match fs::metadata(&path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(FilingError::io("ask size of", &path)(error)),
    }
}

/// As far as the spool is good; a spool without an index is still read.
fn index_of(worker: &Path, segment: u32) -> Vec<(u64, u64)> {
    let Ok(Some(mut spool)) = SegmentHistory::open(worker, segment) else { return Vec::new() };
    if let Err(error) = spool.last_seq() {
        tracing::warn!(%error, "spool is filed with a damage");
    }
    spool.index().thinned(INDEX_STEP_BYTES)
}

/// The running total of bytes at the last good file before `first`.
fn cumulative_before(home: &Home, conversation: &str, first: u64) -> Result<u64, FilingError> {
    if first <= 1 {
        return Ok(0);
    }
    let newest = fs::read_to_string(home.conversation(conversation).join(NEWEST));
    if let Some(newest) = newest.ok().and_then(|text| text.parse().ok())
        && let Ok(filed) = load(home, conversation, newest)
        && filed.last() + 1 == first
    {
        return Ok(filed.cumulative_bytes);
    }
    for older in list(home, conversation)?.into_iter().rev().filter(|older| *older < first) {
        match load(home, conversation, older) {
            Ok(filed) => return Ok(filed.cumulative_bytes),
            Err(error) if error.is_lasting() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(0)
}

fn write(directory: &Path, filed: &Filed, permit: &impl Permit) -> Result<(), FilingError> {
    let path = directory.join(file_name(filed.first()));
    let text = serde_json::to_vec(filed).expect("a filed span has string keys and cannot fail to serialize");
    // What is filed leaves memory and the journal: it must be readable.
    let bytes = text.len() as u64;
    if bytes > FILED_BYTES_MAX {
        return Err(FilingError::TooLong { path, bytes });
    }
    let prepared = durable_file::prepare(&path, &text).map_err(FilingError::io("write", &path))?;
    let put = permit.hold(|| prepared.put().map(drop)).ok_or(FilingError::Fenced)?;
    put.map_err(FilingError::io("put into place", &path))
}

#[cfg(test)]
mod tests;
