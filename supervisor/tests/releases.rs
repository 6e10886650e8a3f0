//! Release bundles: packed, verified, staged, by the library and by the command line.

#![allow(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod bundle;
