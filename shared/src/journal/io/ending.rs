//! The newest segment read to its end, and what is there judged: whole, torn or corrupt.

use super::follower::Follower;
use super::reader::{Next, SegmentReader};
use super::takeover::TakeOverError;
use crate::journal::chain::Chain;
use crate::journal::damage::{Damage, Why};
use crate::journal::segment;
use crate::journal::tail::Tail;
use crate::journal::verdict::{Verdict, judge};
use std::io;
use std::path::Path;

/// What a predecessor left.
pub(super) struct Read {
    pub(super) tail: Tail,
    /// Good batches behind the last synced one.
    pub(super) unsynced: Vec<u8>,
    pub(super) torn_bytes: u64,
}

pub(super) fn read_to_the_end(
    dir: &Path,
    chain: &Chain,
    follower: Option<&Follower>,
) -> Result<Read, TakeOverError> {
    let newest = chain.newest();
    let warm = follower.and_then(Follower::tail).filter(|tail| tail.header == newest.header);
    let mut reader = match warm {
        Some(tail) => SegmentReader::resume(dir, tail.back_to_synced())?,
        None => SegmentReader::open(dir, newest.header.index)?,
    };
    let file = segment::file_name(newest.header.index);
    let path = dir.join(&file);
    let failed = |source| TakeOverError::Read { path: path.clone(), source };
    let torn_bytes = read_and_judge(&mut reader, chain.checkpointed_lsn).map_err(|bad| match bad {
        BadEnd::Io(source) => failed(source),
        BadEnd::Corrupt { offset, why } => Damage { file: file.clone(), offset, why }.into(),
    })?;
    let tail = reader.tail.clone();
    let unsynced = reader.range(tail.synced.byte, tail.byte).map_err(failed)?;
    Ok(Read { tail, unsynced, torn_bytes })
}

/// Why the newest segment has no good end.
#[derive(Debug)]
pub(crate) enum BadEnd {
    Io(io::Error),
    Corrupt { offset: u64, why: Why },
}

/// Reads the newest segment to its end and judges what is there. Returns the bytes of a torn tail.
///
/// Where the end is, is asked before anything is read: a reader without the lock has a writer beside it, and what
/// that one appends after the last good batch was looked for is no witness that a batch is missing.
pub(crate) fn read_and_judge(reader: &mut SegmentReader, checkpointed_lsn: u64) -> Result<u64, BadEnd> {
    let end = reader.length().map_err(BadEnd::Io)?;
    read_batches(reader)?;
    judge_up_to(reader, end, checkpointed_lsn)
}

/// Reads every good batch there is.
fn read_batches(reader: &mut SegmentReader) -> Result<(), BadEnd> {
    loop {
        match reader.next(None).map_err(BadEnd::Io)? {
            Next::Batch(..) => {}
            Next::Nothing => return Ok(()),
            Next::Misplaced => {
                return Err(BadEnd::Corrupt { offset: reader.tail.byte, why: Why::Nonsense });
            }
        }
    }
}

/// Judges what lies between the last good batch and byte `end`.
fn judge_up_to(reader: &SegmentReader, end: u64, checkpointed_lsn: u64) -> Result<u64, BadEnd> {
    let synced_lsn = reader.header().synced_lsn.max(checkpointed_lsn);
    let rest = reader.range(reader.tail.byte, end).map_err(BadEnd::Io)?;
    match judge(reader.tail.last.lsn, &rest, synced_lsn) {
        Verdict::Clean => Ok(0),
        Verdict::Torn { bytes } => Ok(bytes),
        Verdict::Corrupt(why) => Err(BadEnd::Corrupt { offset: reader.tail.byte, why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::io::disk::RealDisk;
    use crate::journal::io::takeover::{Request, TakeOver};
    use crate::journal::limits::Limits;
    use crate::journal::record::NewRecord;
    use std::sync::Arc;
    use uuid::Uuid;

    #[test]
    fn what_a_writer_appends_behind_the_readers_back_is_no_witness() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("journal");
        let request = Request {
            epoch: 1,
            owner: "a".into(),
            instance: "rt-a".into(),
            release: "0.1.0".into(),
            at_ms: 1,
            first: true,
            journal_id: Uuid::from_u128(1),
            known_kinds: &[],
            limits: Limits { low_space_bytes: 0, ..Limits::SMALL },
        };
        let (mut writer, taken) = TakeOver::begin(&dir, Arc::new(RealDisk), request).unwrap();
        let mut reader = SegmentReader::open(&dir, 1).unwrap();
        let end = reader.length().unwrap();
        read_batches(&mut reader).unwrap();
        assert_eq!(reader.tail.last, taken.last);

        let record = NewRecord::new("x", b"{}".to_vec());
        writer.append(std::slice::from_ref(&record)).unwrap();
        writer.sync().unwrap();
        writer.append(std::slice::from_ref(&record)).unwrap();

        assert_eq!(judge_up_to(&reader, end, 0).unwrap(), 0);
        // The same bytes would bear witness had they been there when the reading began.
        let later = reader.length().unwrap();
        assert!(matches!(judge_up_to(&reader, later, 0), Err(BadEnd::Corrupt { .. })));
        // And whoever reads now reads them.
        read_and_judge(&mut reader, 0).unwrap();
        assert_eq!(reader.tail.last, writer.last());
    }
}
