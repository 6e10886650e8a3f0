//! What may still be written when the disk fills up.
//!
//! Space is guarded in three rings: free space of the disk, headroom allocated behind the end of the current
//! segment, and the reserve file. Commands are refused as soon as the first two shrink; what was accepted before
//! fits the headroom; essential writes go on into the reserve.

use super::limits::Limits;

/// What a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteClass {
    /// A new command: refused with `STORAGE_FULL` before the reserve is touched.
    Command,
    /// A seal, a transition, a checkpoint: may use the reserve.
    Essential,
}

/// Whether a write of `class` is admitted while the storage is, or is not, full.
pub fn admits(class: WriteClass, storage_full: bool) -> bool {
    class == WriteClass::Essential || !storage_full
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free on the disk.
    pub free_bytes: u64,
    /// In the reserve file.
    pub reserve_bytes: u64,
    /// Allocated behind the end of the segment.
    pub headroom_bytes: u64,
}

/// Whether the storage counts as full. It becomes so with too little free, and stops being so only when reserve and
/// headroom can be whole again with twice that to spare: no flapping.
pub fn is_full(was_full: bool, space: Space, limits: &Limits) -> bool {
    if !was_full {
        return space.free_bytes < limits.low_space_bytes;
    }
    let missing = limits.reserve_bytes.saturating_sub(space.reserve_bytes)
        + limits.headroom_bytes.saturating_sub(space.headroom_bytes);
    space.free_bytes < missing + 2 * limits.low_space_bytes
}

/// How much of the reserve to give up at once when a write of `needed` bytes met a full disk: what is needed, and at
/// least a little, because whatever is freed can be taken by others first.
pub fn piece(needed: u64, reserve_bytes: u64, limits: &Limits) -> u64 {
    needed.max(limits.reserve_bytes / 64).min(reserve_bytes)
}

/// How much of the reserve a file of `needed` bytes beside the journal, a checkpoint, may take: all it needs or
/// nothing. An eighth stays for records: seals and transitions must go on where a checkpoint does not fit.
pub fn file_piece(needed: u64, reserve_bytes: u64, limits: &Limits) -> Option<u64> {
    let piece = piece(needed, reserve_bytes, limits);
    (piece >= needed && reserve_bytes - piece >= limits.reserve_bytes / 8).then_some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { reserve_bytes: 640, headroom_bytes: 100, low_space_bytes: 50, ..Limits::SMALL };

    #[test]
    fn a_file_takes_what_it_needs_or_nothing_and_leaves_room_for_records() {
        assert_eq!(file_piece(500, 640, &LIMITS), Some(500));
        assert_eq!(file_piece(600, 640, &LIMITS), None, "less than an eighth would stay");
        assert_eq!(file_piece(700, 640, &LIMITS), None, "it would not fit");
        assert_eq!(file_piece(1, 0, &LIMITS), None);
    }

    #[test]
    fn only_commands_are_refused_when_full() {
        let table = [WriteClass::Command, WriteClass::Essential]
            .map(|class| [false, true].map(|full| admits(class, full)));
        assert_eq!(table, [[true, false], [true, true]]);
    }

    #[test]
    fn full_begins_at_the_low_mark_and_ends_when_everything_can_be_whole_again() {
        let space = |free_bytes| Space { free_bytes, reserve_bytes: 600, headroom_bytes: 30 };
        assert!(is_full(false, space(49), &LIMITS));
        assert!(!is_full(false, space(50), &LIMITS));
        assert!(is_full(true, space(40 + 70 + 99), &LIMITS));
        assert!(!is_full(true, space(40 + 70 + 100), &LIMITS));
    }

    #[test]
    fn the_reserve_goes_in_small_pieces_and_ends() {
        assert_eq!(piece(3, 640, &LIMITS), 10);
        assert_eq!(piece(200, 640, &LIMITS), 200);
        assert_eq!(piece(200, 7, &LIMITS), 7);
        assert_eq!(piece(200, 0, &LIMITS), 0);
    }
}
