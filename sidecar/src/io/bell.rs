//! Wakes one task of this thread; rung any number of times it wakes once.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// A flag with someone who waits for it.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    /// Rings.
    pub fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Ready once when it has rung; one task at a time waits.
    pub fn poll_rung(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.rung.replace(false) {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|kept| kept.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until it rings.
    pub async fn rung(&self) {
        std::future::poll_fn(|context| self.poll_rung(context)).await;
    }
}
