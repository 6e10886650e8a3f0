//! The gate between the writer and whoever changes files beside it: what passes is done before the lock is given back,
//! and nothing passes afterwards.

use std::sync::{Arc, Mutex, PoisonError};

/// Open as long as the writer has its lock; who removes files or puts them into place holds it meanwhile.
#[derive(Debug, Default)]
pub struct Gate(Mutex<bool>);

impl Gate {
    /// Runs `change` if the lock is still held, and keeps it held until `change` is done.
    pub fn pass<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        let closed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *closed { None } else { Some(change()) }
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// The writer's end of the gate.
#[derive(Default)]
pub(super) struct CloseOnDrop(Arc<Gate>);

impl CloseOnDrop {
    pub(super) fn gate(&self) -> Arc<Gate> {
        self.0.clone()
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
