//! The holder with real processes.
// Helpers of tests may unwrap as tests do; the lint's exception covers only `#[test]` functions themselves.
#![allow(clippy::unwrap_used)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod hold;
