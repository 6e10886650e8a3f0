//! What commands that agents have run wrote, and how they ended: read from their spools. Waits for a disk.

use crate::acp::terminal::Exit;
use holdfast_shared::spool::{SpoolError, SpoolRecord, SpoolTail, TAIL_PIECE_BYTES_MAX};
use holdfast_shared::worker::{self, ExitStatus};
use nix::sys::signal::Signal;
use std::path::Path;

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
    use holdfast_shared::spool::{Control, Flushed};
    use holdfast_shared::worker::EndedBy;

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
}
