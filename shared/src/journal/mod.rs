//! The journal: one append-only log of records, one writer, any number of followers.
//!
//! A journal is a directory. Segments (`*.segment`) hold batches of records and are begun at each take-over and at
//! each checkpoint; a segment comes into place whole, by rename, and nothing is ever truncated in place. Checkpoints
//! (`*.checkpoint`) hold a folded state and bound reading and disk. `lock` is held by the one writer. `reserve` is
//! disk space kept back for what must still be written when the disk is full.
//!
//! What is promised:
//! * (epoch, LSN) names one record for ever; LSNs are gap-free from 1.
//! * What was reported durable is found again by every later take-over, follower and inspection.
//! * A damaged journal is never written to: damage in what was durable is an error that names file and byte.
//! * A writer whose lock is gone has no descriptor left to write with.
//!
//! Files here decide and are pure; [`io`] touches the world.

pub mod batch;
pub mod chain;
pub mod checkpoint;
pub mod damage;
pub mod fold;
pub mod io;
pub mod limits;
pub mod preamble;
pub mod record;
pub mod reserve;
pub mod segment;
pub mod tail;
pub mod takeover;
pub mod verdict;

pub use checkpoint::CheckpointData;
pub use damage::{Damage, Why};
pub use fold::{Fold, Folded, LoadError};
pub use io::checkpointer::{
    CheckpointError, Checkpointed, Checkpointer, CheckpointerEvent, checkpoint_inline,
};
pub use io::disk::{Disk, DiskError, DiskFile, RealDisk};
pub use io::follower::{FollowError, Followed, Follower, open_at_newest_checkpoint};
pub use io::inspect::{InspectError, Inspection, inspect};
pub use io::lock::{JournalLock, LockError, LockHolder};
pub use io::takeover::{Request, TakeOver, TakeOverError, TakenOver};
pub use io::watch::Watch;
pub use io::writer::{Rotated, WriteError, Writer};
pub use io::writer_thread::{FenceError, SubmitError, WriterClient, WriterEvent, WriterThread};
pub use limits::{Limits, MAX_RECORD_BYTES};
pub use record::{ACTIVATED, Activated, LsnRange, NewRecord, Position, Record};
pub use reserve::WriteClass;

/// The journal format this build writes.
pub const WRITES: u32 = 1;
/// The oldest and newest journal format this build reads.
pub const READS: (u32, u32) = (1, 1);
