//! What the real-process tests and the benchmarks share: a node in a directory of its own, a client that
//! checks every offset, faults at random but repeatable moments, and waits for a level with a deadline.

pub mod agents;
pub mod client;
pub mod faults;
pub mod http;
pub mod journal_witness;
pub mod model;
pub mod node;
pub mod processes;
pub mod terminal;
pub mod wait;
pub mod work;

/// Runs a test's future on one thread, as every daemon of ours runs.
///
/// # Panics
/// When the runtime cannot be made (no descriptors left).
pub fn run<F: Future>(future: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an epoll descriptor");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, future)
}
