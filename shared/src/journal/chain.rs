//! Whether the files of a journal belong together, from their headers alone.

use super::checkpoint::CheckpointHeader;
use super::damage::{Damage, Why};
use super::segment::{self, SegmentHeader};

/// A segment as found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its header.
    pub header: SegmentHeader,
    /// Where its first batch is.
    pub first_batch: u64,
    /// Its length.
    pub file_bytes: u64,
}

/// The segments that make up a journal, oldest first, never empty, without gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Oldest first.
    pub segments: Vec<SegmentFile>,
    /// The highest LSN that a checkpoint shows to have been durable.
    pub checkpointed_lsn: u64,
}

impl Chain {
    /// The segment that may grow.
    pub fn newest(&self) -> &SegmentFile {
        self.segments.last().expect("a chain is made from at least one segment")
    }

    /// The highest epoch in any header; records have none that is higher.
    pub fn highest_epoch(&self) -> u64 {
        self.segments.iter().map(|file| file.header.epoch).max().unwrap_or(0)
    }
}

/// Checks `segments` (by index, at least one) and the `checkpoints` beside them. A gap leaves older segments out:
/// they are what a cut-off removal left, provided that a checkpoint stands for them.
pub fn check(segments: Vec<SegmentFile>, checkpoints: &[CheckpointHeader]) -> Result<Chain, Damage> {
    let start = (1..segments.len())
        .rev()
        .find(|&nth| segments[nth].header.index != segments[nth - 1].header.index + 1)
        .unwrap_or(0);
    let run = &segments[start..];
    for pair in run.windows(2) {
        check_neighbours(&pair[0], &pair[1])?;
    }
    check_checkpoints(run, checkpoints)?;
    let checkpointed_lsn = checkpoints.iter().map(|checkpoint| checkpoint.position.lsn).max().unwrap_or(0);
    Ok(Chain { segments: run.to_vec(), checkpointed_lsn })
}

fn damage(file: &SegmentFile, offset: u64, why: Why) -> Damage {
    Damage { file: segment::file_name(file.header.index), offset, why }
}

fn check_neighbours(before: &SegmentFile, after: &SegmentFile) -> Result<(), Damage> {
    if after.header.journal_id != before.header.journal_id {
        return Err(damage(after, 0, Why::ForeignJournal));
    }
    let Some(end) = after.header.prev_end else { return Err(damage(after, 0, Why::Chain)) };
    let fits = end.segment == before.header.index
        && end.byte >= before.first_batch
        && end.lsn + 1 == after.header.base_lsn
        && end.lsn == after.header.before.lsn
        && end.lsn >= before.header.synced_lsn
        && after.header.epoch >= before.header.epoch;
    if !fits {
        return Err(damage(after, 0, Why::Chain));
    }
    if before.file_bytes < end.byte {
        let why = Why::LostDurable { lsn: before.header.base_lsn, synced_lsn: end.lsn };
        return Err(damage(before, before.file_bytes, why));
    }
    Ok(())
}

/// The run must begin at record 1 or with a segment that a checkpoint leads to, and no checkpoint may lead beyond it.
fn check_checkpoints(run: &[SegmentFile], checkpoints: &[CheckpointHeader]) -> Result<(), Damage> {
    let (oldest, newest) = (&run[0], &run[run.len() - 1]);
    let id = newest.header.journal_id;
    if let Some(foreign) = checkpoints.iter().find(|checkpoint| checkpoint.journal_id != id) {
        return Err(Damage { file: foreign.file_name(), offset: 0, why: Why::ForeignJournal });
    }
    if let Some(ahead) = checkpoints.iter().find(|checkpoint| checkpoint.segment > newest.header.index) {
        let file = segment::file_name(ahead.segment);
        return Err(Damage { file, offset: 0, why: Why::MissingSegment });
    }
    let whole = oldest.header.base_lsn == 1 && oldest.header.prev_end.is_none();
    let leads_in = |checkpoint: &&CheckpointHeader| {
        run.iter().any(|file| {
            file.header.index == checkpoint.segment && file.header.base_lsn == checkpoint.position.lsn + 1
        })
    };
    if whole || checkpoints.iter().find(leads_in).is_some() {
        return Ok(());
    }
    let missing = segment::file_name(oldest.header.index.saturating_sub(1));
    Err(Damage { file: missing, offset: 0, why: Why::MissingSegment })
}
