//! The holder with real processes.

mod hold;
