//! The journal's promises, on real files, with a disk that can fail and forget.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "journal/support.rs"]
mod support;

#[path = "journal/faulty_disk.rs"]
mod faulty_disk;

#[path = "journal/small_disk.rs"]
mod small_disk;

#[path = "journal/crash_disk.rs"]
mod crash_disk;

#[path = "journal/basics.rs"]
mod basics;

#[path = "journal/checkpoints.rs"]
mod checkpoints;

#[path = "journal/torn.rs"]
mod torn;

#[path = "journal/damaged.rs"]
mod damaged;

#[path = "journal/faults.rs"]
mod faults;

#[path = "journal/full.rs"]
mod full;

#[path = "journal/crashes.rs"]
mod crashes;
