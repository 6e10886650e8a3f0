//! Processes: who lives, how to be sure, and how to reach them.
//!
//! Every long-lived process takes a [`RoleLock`] at its start; a new supervisor finds the living by these
//! locks ([`read_holder`]) and holds on to them by [`PidFd`], which can never mean another process.

mod listeners;
mod lock;
mod pidfd;
mod proc;
mod signals;
mod unix;

pub use listeners::{FIRST_PASSED, PassedFd, listen_fds};
pub use lock::{Living, LockError, RoleLock, read_holder};
pub use pidfd::PidFd;
pub use proc::{boot_id, start_time};
pub use signals::Signals;
pub use unix::{bind_unix, connect_unix, connect_unix_blocking, with_short_path};
