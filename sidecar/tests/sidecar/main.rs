//! The real sidecar between fake runtimes, a fake supervisor and real WebSocket clients.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod browser;
mod fake_runtime;
mod hostile;
mod http;
mod process;
mod streams;
mod switching;
mod time_rules;

/// Runs a test with everything that is not the sidecar on one thread.
pub fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
