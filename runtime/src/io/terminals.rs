//! What commands that agents have run wrote, and how they ended: read from their spools. Waits for a disk.

use crate::acp::answer::Refusal;
use crate::acp::terminal::{self as answers, Exit};
use crate::agent::TerminalWorker;
use holdfast_shared::home::Home;
use holdfast_shared::spool::{
    HISTORY_PIECE_BYTES_MAX, SegmentHistory, SpoolError, SpoolRecord, SpoolTail, TAIL_PIECE_BYTES_MAX,
    is_locked,
};
use holdfast_shared::worker::{self, ExitStatus, Started, is_abandoned};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::Path;

/// Entries of a spool's index are at least so far apart.
const INDEX_STEP_BYTES: usize = 64 * 1024;

/// What a command wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The end of it.
    pub bytes: Vec<u8>,
    /// More was written before.
    pub dropped: bool,
    /// Once it has ended.
    pub exit: Option<Exit>,
}

/// The last `limit_bytes` that a command wrote, standard error among it in the order in which it was read.
///
/// # Errors
/// When its spool cannot be read.
pub fn written(directory: &Path, limit_bytes: usize) -> Result<Written, SpoolError> {
    let mut tail = SpoolTail::open(directory);
    let (mut bytes, mut dropped) = (Vec::new(), false);
    loop {
        let records = tail.poll(TAIL_PIECE_BYTES_MAX)?;
        if records.is_empty() {
            break;
        }
        for record in &records {
            if let SpoolRecord::Output { bytes: more, .. } = record {
                bytes.extend_from_slice(more);
            }
        }
        if bytes.len() > limit_bytes {
            bytes.drain(..bytes.len() - limit_bytes);
            dropped = true;
        }
    }
    Ok(Written { bytes, dropped, exit: tail.exit().map(exit) })
}

/// The same, read from near the end: `index` says where some of its output records are, the first of them at its beginning
/// (as [`SparseIndex`](holdfast_shared::spool::SparseIndex) has it). How it ended is not looked for.
///
/// # Errors
/// When its spool cannot be read.
pub fn written_end(
    directory: &Path,
    limit_bytes: usize,
    index: &[(u64, u64)],
) -> Result<Written, SpoolError> {
    let nothing = Written { bytes: Vec::new(), dropped: false, exit: None };
    let Some(mut history) = SegmentHistory::open(directory, 0)? else { return Ok(nothing) };
    history.give_index(index);
    let last = history.last_seq()?;
    let entries = history.index().entries().to_vec();
    let mut from = entries.len();
    loop {
        // Twice as far back each time; headers take room, so the first try may not bring enough.
        from = from.saturating_sub((entries.len() - from).max(entries_of(limit_bytes)));
        let Some((first, _)) = entries.get(from).copied() else { return Ok(nothing) };
        let (mut bytes, mut next) = (Vec::new(), first);
        while next <= last {
            let records = history.read_from(next, HISTORY_PIECE_BYTES_MAX)?;
            let Some(SpoolRecord::Output { seq, .. }) = records.last() else { break };
            next = seq + 1;
            for record in &records {
                if let SpoolRecord::Output { bytes: more, .. } = record {
                    bytes.extend_from_slice(more);
                }
            }
        }
        if bytes.len() >= limit_bytes || from == 0 {
            let over = bytes.len().saturating_sub(limit_bytes);
            bytes.drain(..over);
            return Ok(Written { bytes, dropped: over > 0 || from > 0, exit: None });
        }
    }
}

/// So many entries of an index cover at least so many bytes of a spool.
fn entries_of(bytes: usize) -> usize {
    bytes / INDEX_STEP_BYTES + 2
}

/// What is known of a command's spool without reading it.
pub struct Seen {
    /// Where some of its output records are.
    pub index: Vec<(u64, u64)>,
    /// How it ended, once that was read.
    pub exit: Option<Exit>,
}

/// What a command wrote, and how it ended if it has. The end of a spool that is followed is found without reading it whole.
///
/// # Errors
/// What the agent is to be told where its spool cannot be read.
pub fn look(home: &Home, known: &TerminalWorker, seen: Option<Seen>) -> Result<Value, Refusal> {
    let directory = home.worker(&known.spawn_id);
    let limit = usize::try_from(known.bytes).unwrap_or(usize::MAX);
    let read = match &seen {
        Some(seen) => written_end(&directory, limit, &seen.index),
        None => written(&directory, limit),
    };
    let written = read.map_err(|error| Refusal::internal(&error.to_string()))?;
    let exit = written.exit.or(seen.and_then(|seen| seen.exit));
    let exit = exit.or_else(|| is_lost(&directory).then(lost));
    Ok(answers::output(&written.bytes, written.dropped, limit, exit.as_ref()))
}

/// How a command ended that has.
pub fn ended(home: &Home, known: &TerminalWorker, seen: Option<Seen>) -> Value {
    let unseen = || written(&home.worker(&known.spawn_id), 0).ok().and_then(|written| written.exit);
    let exit = seen.and_then(|seen| seen.exit).or_else(unseen);
    answers::exited(&exit.unwrap_or_else(lost))
}

/// Whether it ran, and its holder is gone, or it was given up before its start. One whose holder is just starting is not
/// lost.
pub fn is_lost(directory: &Path) -> bool {
    let will_not_begin = || Started::path(directory).exists() || is_abandoned(directory).unwrap_or(false);
    !is_locked(directory).unwrap_or(true) && will_not_begin()
}

/// How a worker's exit is said to an agent.
pub fn exit(exit: worker::Exit) -> Exit {
    match exit.status {
        ExitStatus::Code(code) => Exit::Code(code.unsigned_abs()),
        ExitStatus::Signal(number) => Exit::Signal(match Signal::try_from(number) {
            Ok(signal) => signal.as_str().to_owned(),
            Err(_) => format!("SIG{number}"),
        }),
    }
}

/// What is said of a command of which nobody knows how it ended.
pub fn lost() -> Exit {
    Exit::Signal(Signal::SIGKILL.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sample::Sample;
    use holdfast_shared::spool::{Control, Flushed, segment_path};
    use holdfast_shared::worker::EndedBy;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_end_of_what_was_written_is_read_and_how_it_ended() {
        let sample = Sample::new();
        sample.worker("w", ["one", "two", "three"]);
        let directory = sample.home.worker("w");
        let all = Written { bytes: b"onetwothree".to_vec(), dropped: false, exit: None };
        assert_eq!(written(&directory, 100).unwrap(), all);
        assert_eq!(written(&directory, 4).unwrap().bytes, b"hree");
        assert!(written(&directory, 4).unwrap().dropped);
        let mut spool = sample.spool("x");
        let status = ExitStatus::Signal(9);
        spool.control(&Control::Exit(worker::Exit { status, final_seq: 0, ended_by: EndedBy::Kill }));
        assert_eq!(spool.flush().unwrap(), Flushed::Done);
        assert_eq!(written(&sample.home.worker("x"), 1).unwrap().exit, Some(Exit::Signal("SIGKILL".into())));
    }

    #[test]
    fn only_the_end_is_read_of_what_is_long() {
        let sample = Sample::new();
        let text = |seq: u64| format!("{seq:>1000}");
        sample.worker("w", (1..=3000).map(text));
        let directory = sample.home.worker("w");
        let mut history = SegmentHistory::open(&directory, 0).unwrap().unwrap();
        history.last_seq().unwrap();
        let index = history.index().entries().to_vec();
        for limit in [1, 1000, 70_000, 1 << 20, 2_999_999, 3_000_000, 1 << 24] {
            let end = written_end(&directory, limit, &index).unwrap();
            assert_eq!(end, written(&directory, limit).unwrap(), "{limit}");
            assert_eq!(end, written_end(&directory, limit, &[]).unwrap(), "{limit} without an index");
        }
        // Whoever read the front would find it damaged.
        let file = std::fs::File::options().write(true).open(segment_path(&directory, 0)).unwrap();
        file.write_all_at(b"damage", 500_000).unwrap();
        assert!(written(&directory, 1).is_err());
        let end = written_end(&directory, 1 << 20, &index).unwrap();
        assert!(end.dropped && end.bytes.len() == 1 << 20 && end.bytes.ends_with(b" 3000"));
        assert_eq!(written_end(&sample.home.worker("none"), 9, &[]).unwrap().bytes, b"");
    }

    #[test]
    fn small_records_are_gone_back_to_as_far_as_is_needed() {
        let sample = Sample::new();
        sample.worker("w", (0..40_000u32).map(|number| [(number % 251) as u8]));
        let directory = sample.home.worker("w");
        for limit in [1, 10_000, 39_999, 40_000, 50_000] {
            assert_eq!(written_end(&directory, limit, &[]).unwrap(), written(&directory, limit).unwrap());
        }
        sample.worker("silent", [""; 0]);
        assert_eq!(written_end(&sample.home.worker("silent"), 9, &[]).unwrap().bytes, b"");
    }
}
