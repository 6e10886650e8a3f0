//! Torn or corrupt: what the first bad bytes of the last segment mean. Only a writer, under the lock, asks.

use super::batch;
use super::damage::Why;
use memchr::memmem;

/// What lies behind the last good batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Clean,
    /// Writes that nobody was told about; they are void and are not copied.
    Torn {
        /// How many bytes.
        bytes: u64,
    },
    /// Records that were durable are gone.
    Corrupt(Why),
}

/// Judges what lies behind the record `last_lsn`: `rest` is the remainder of the last segment, `synced_lsn` the
/// highest LSN that a header or a checkpoint shows to have been durable.
pub fn judge(last_lsn: u64, rest: &[u8], synced_lsn: u64) -> Verdict {
    let shown = synced_lsn.max(shown_by_later_batches(rest));
    if shown > last_lsn {
        return Verdict::Corrupt(Why::LostDurable { lsn: last_lsn + 1, synced_lsn: shown });
    }
    if rest.is_empty() { Verdict::Clean } else { Verdict::Torn { bytes: rest.len() as u64 } }
}

/// The highest `synced_lsn` in any batch header of `rest`. A header bears witness even if its body is damaged.
fn shown_by_later_batches(rest: &[u8]) -> u64 {
    let headers = memmem::find_iter(rest, &batch::MAGIC).filter_map(|at| batch::header(&rest[at..]));
    headers.map(|header| header.synced_lsn).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::NewRecord;

    fn batch_at(first_lsn: u64, synced_lsn: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        batch::encode(1, first_lsn, synced_lsn, &[NewRecord::new("x", b"{}".to_vec())], &mut bytes);
        bytes
    }

    #[test]
    fn nothing_behind_is_clean() {
        assert_eq!(judge(7, &[], 7), Verdict::Clean);
    }

    #[test]
    fn garbage_that_nobody_was_told_about_is_torn() {
        assert_eq!(judge(7, b"garbage", 7), Verdict::Torn { bytes: 7 });
    }

    #[test]
    fn an_end_before_what_was_durable_is_corrupt_even_without_bytes() {
        assert_eq!(judge(7, &[], 8), Verdict::Corrupt(Why::LostDurable { lsn: 8, synced_lsn: 8 }));
    }

    #[test]
    fn a_later_batch_of_the_same_unsynced_run_is_torn() {
        let rest = [b"bad batch for 8".to_vec(), batch_at(9, 7)].concat();
        assert_eq!(judge(7, &rest, 7), Verdict::Torn { bytes: rest.len() as u64 });
    }

    #[test]
    fn a_later_batch_that_knew_the_bad_one_durable_is_corrupt_even_if_its_own_body_is_damaged() {
        let mut rest = [b"bad batch for 8".to_vec(), batch_at(9, 8)].concat();
        let last = rest.len() - 1;
        rest[last] ^= 1;
        assert_eq!(judge(7, &rest, 7), Verdict::Corrupt(Why::LostDurable { lsn: 8, synced_lsn: 8 }));
    }
}
