//! What a journal says, read without a lock. Final only once every writer was asked or is dead.

use super::ending::{BadEnd, read_and_judge};
use super::reader::SegmentReader;
use super::survey::{SurveyError, survey};
use crate::journal::damage::Damage;
use crate::journal::record::{Activated, Position};
use crate::journal::segment;
use std::collections::BTreeSet;
use std::path::Path;
use uuid::Uuid;

/// What a journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Whether there is a journal; the rest is empty if not.
    pub exists: bool,
    /// Its id.
    pub journal_id: Option<Uuid>,
    /// The newest `Activated`: whose epoch it is.
    pub last_activated: Option<Activated>,
    /// Where that record is.
    pub last_activated_position: Option<Position>,
    /// No record and no header has a higher epoch; 0 in an empty journal.
    pub highest_epoch: u64,
    /// The last good record.
    pub end: Position,
    /// What a release must read to become active.
    pub must_understand_kinds: BTreeSet<String>,
    /// The newest format that this build reads, which all files were within.
    pub format_version: u32,
}

/// Why a journal could not be inspected: damage, a newer format, or failed reads.
pub type InspectError = SurveyError;

/// Inspects the journal in `dir`: headers, and the batches of the newest segment. A directory that is not there
/// holds no journal.
pub fn inspect(dir: &Path) -> Result<Inspection, InspectError> {
    let Some(chain) = survey(dir)? else { return Ok(nothing()) };
    let index = chain.newest().header.index;
    let mut reader = SegmentReader::open(dir, index)?;
    read_and_judge(&mut reader, chain.checkpointed_lsn).map_err(|bad| match bad {
        BadEnd::Io(source) => SurveyError::Io { path: dir.join(segment::file_name(index)), source },
        BadEnd::Corrupt { offset, why } => Damage { file: segment::file_name(index), offset, why }.into(),
    })?;
    let tail = reader.tail;
    Ok(Inspection {
        exists: true,
        journal_id: Some(tail.header.journal_id),
        last_activated: Some(tail.activated),
        last_activated_position: Some(tail.activated_at),
        highest_epoch: chain.highest_epoch(),
        end: tail.last,
        must_understand_kinds: tail.must_understand,
        format_version: crate::journal::WRITES,
    })
}

fn nothing() -> Inspection {
    Inspection {
        exists: false,
        journal_id: None,
        last_activated: None,
        last_activated_position: None,
        highest_epoch: 0,
        end: Position::default(),
        must_understand_kinds: BTreeSet::new(),
        format_version: crate::journal::WRITES,
    }
}
