//! Bounds, each with its reason.

/// A batch is written and checked as one piece in memory, and is what a torn write can lose.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// A record fits a batch beside others; larger things (output, snapshots) have files of their own.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Kinds are names like `turn.sealed`.
pub const MAX_KIND_BYTES: usize = 64;

/// Groups that may wait for the writer thread; the loop that submits sees `Full` past it.
pub const MAX_QUEUED_GROUPS: usize = 4096;

/// What a journal may take, and when it is checkpointed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Disk space kept back for essential writes once the disk is full.
    pub reserve_bytes: u64,
    /// Space kept allocated behind the end of the current segment, so that what was accepted before the disk filled
    /// up never meets a full disk. Three quarters of it must hold what may be queued.
    pub headroom_bytes: u64,
    /// Encoded bytes that may wait for the writer thread.
    pub queue_bytes: u64,
    /// With less than this free for others, commands are refused although the journal itself has room.
    pub low_space_bytes: u64,
    /// A checkpoint is due after this many records,
    pub checkpoint_records: u64,
    /// or after this many bytes, whichever is first.
    pub checkpoint_bytes: u64,
    /// Records of kinds that this release does not know are carried in checkpoints, and in memory. Past this, no more
    /// checkpoints are written: the segments stay, so nothing is lost, and the disk guard speaks up.
    pub unknown_bytes: u64,
}

impl Limits {
    /// For the runtime's business journal.
    pub const RUNTIME: Limits = Limits {
        reserve_bytes: 64 << 20,
        headroom_bytes: 16 << 20,
        queue_bytes: 8 << 20,
        low_space_bytes: 32 << 20,
        checkpoint_records: 10_000,
        checkpoint_bytes: 8 << 20,
        unknown_bytes: 256 << 20,
    };

    /// For the supervisor's journal of attempts and epochs, and for tests.
    pub const SMALL: Limits = Limits {
        reserve_bytes: 1 << 20,
        headroom_bytes: 1 << 20,
        queue_bytes: 512 << 10,
        low_space_bytes: 4 << 20,
        checkpoint_records: 1_000,
        checkpoint_bytes: 1 << 20,
        unknown_bytes: 16 << 20,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::RUNTIME
    }
}
