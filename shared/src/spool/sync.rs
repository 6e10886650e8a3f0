//! When a spool that is being followed is due for a sync. Pure.

/// How long output may lie in a spool without being synced: what a power cut can take from a running turn.
pub const SPOOL_SYNC_INTERVAL_MS: u64 = 1000;

/// Remembers what is unsynced since when.
#[derive(Clone, Debug, Default)]
pub struct SyncInterval {
    synced_seq: u64,
    unsynced_since_ms: Option<u64>,
}

impl SyncInterval {
    /// Output records up to this one are known to be durable.
    pub fn starting_at(synced_seq: u64) -> Self {
        Self { synced_seq, unsynced_since_ms: None }
    }

    /// Output records up to `seq` were seen at `now_ms`.
    pub fn saw(&mut self, seq: u64, now_ms: u64) {
        if seq > self.synced_seq {
            self.unsynced_since_ms.get_or_insert(now_ms);
        }
    }

    /// When the next sync is due; `None` while everything seen is durable.
    pub fn due_at_ms(&self) -> Option<u64> {
        self.unsynced_since_ms.map(|since| since + SPOOL_SYNC_INTERVAL_MS)
    }

    /// A sync that began after output record `seq` was read has succeeded.
    pub fn synced(&mut self, seq: u64, now_ms: u64, seen: u64) {
        self.synced_seq = self.synced_seq.max(seq);
        self.unsynced_since_ms = (seen > self.synced_seq).then_some(now_ms);
    }

    /// The last output record known to be durable; what the journal states.
    pub fn synced_seq(&self) -> u64 {
        self.synced_seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_an_interval_after_the_first_unsynced_record() {
        let mut interval = SyncInterval::starting_at(4);
        interval.saw(4, 10);
        assert_eq!(interval.due_at_ms(), None);
        interval.saw(5, 20);
        interval.saw(6, 900);
        assert_eq!(interval.due_at_ms(), Some(20 + SPOOL_SYNC_INTERVAL_MS));
        interval.synced(6, 1030, 7);
        assert_eq!((interval.synced_seq(), interval.due_at_ms()), (6, Some(1030 + SPOOL_SYNC_INTERVAL_MS)));
        interval.synced(7, 1040, 7);
        assert_eq!(interval.due_at_ms(), None);
    }
}
