//! The journal's world: files, the lock, threads.

pub mod checkpoint_files;
pub mod checkpointer;
pub mod disk;
mod ending;
mod fit;
pub mod follower;
pub mod gate;
mod headroom;
pub mod inspect;
pub mod lock;
pub(crate) mod place;
pub mod reader;
pub mod reserve_file;
pub mod survey;
pub mod takeover;
pub mod watch;
pub mod writer;
pub mod writer_thread;
