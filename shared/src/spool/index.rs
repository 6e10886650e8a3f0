//! Where to begin to look for an output record in a segment: near enough, and in a memory that is bounded by the
//! segment's size.

/// An entry for about every so many bytes of the segment: what a read scans at most before it finds its record.
pub(super) const INDEX_STEP_BYTES: u64 = 64 * 1024;

/// Where some of a segment's output records begin: 16 bytes for every 64 KiB of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseIndex {
    /// (output record, byte), ascending.
    entries: Vec<(u64, u64)>,
    last_seq: u64,
}

impl SparseIndex {
    /// An index of entries that were kept; `None` if they do not ascend.
    pub(super) fn of(entries: &[(u64, u64)]) -> Option<Self> {
        let ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let last_seq = entries.last().map_or(0, |(seq, _)| *seq);
        ascending.then(|| Self { entries: entries.to_vec(), last_seq })
    }

    /// Takes note of an output record, in order; those in between entries are forgotten.
    pub fn note(&mut self, seq: u64, byte: u64) {
        let due = self.entries.last().is_none_or(|(_, last)| byte >= last + INDEX_STEP_BYTES);
        if due {
            self.entries.push((seq, byte));
        }
        self.last_seq = seq;
    }

    /// The entry at or before this record.
    pub fn before(&self, seq: u64) -> Option<(u64, u64)> {
        let after = self.entries.partition_point(|(first, _)| *first <= seq);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// The first entry behind this record.
    pub fn after(&self, seq: u64) -> Option<(u64, u64)> {
        self.entries.get(self.entries.partition_point(|(first, _)| *first <= seq)).copied()
    }

    /// All entries, (record, byte) ascending.
    pub fn entries(&self) -> &[(u64, u64)] {
        &self.entries
    }

    /// Entries at least `step_bytes` apart: what is worth keeping in a file.
    pub fn thinned(&self, step_bytes: u64) -> Vec<(u64, u64)> {
        let mut kept: Vec<(u64, u64)> = Vec::new();
        for (seq, byte) in &self.entries {
            if kept.last().is_none_or(|(_, last)| *byte >= last + step_bytes) {
                kept.push((*seq, *byte));
            }
        }
        kept
    }

    /// First and last record noted.
    pub fn range(&self) -> Option<(u64, u64)> {
        self.entries.first().map(|(first, _)| (*first, self.last_seq))
    }
}
