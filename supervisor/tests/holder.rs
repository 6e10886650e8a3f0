//! The holder with real processes.

#![allow(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod hold;
