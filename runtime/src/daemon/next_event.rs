//! What the loop waits for, in the order of its importance.

use super::{Daemon, Event, Mode};
use crate::io::journal::Writing;
use crate::io::readable::Readable;
use holdfast_shared::journal::{WriteError, WriterEvent};

impl Daemon {
    /// What is there without waiting.
    pub(super) fn waiting_event(&mut self) -> Option<Event> {
        if let Mode::Active(active) = &mut self.mode
            && let Ok(event) = active.writing.events.try_recv()
        {
            return Some(Event::Journal(event));
        }
        self.events.try_recv().ok()
    }

    /// The next event; waits for one where none is there.
    pub(super) async fn next_event(&mut self) -> Event {
        let busy = match &self.mode {
            Mode::Passive(passive) => passive.more || !passive.unread.is_empty(),
            Mode::Active(active) => active.has_more(),
        };
        let (writing, watch, passive) = match &mut self.mode {
            Mode::Active(active) => (Some(&mut active.writing), None, false),
            Mode::Passive(passive) => (None, passive.watch.as_ref(), true),
        };
        tokio::select! {
            biased;
            _ = self.tick.tick() => Event::Tick,
            signal = self.signals.next() => Event::Signal(signal),
            event = reported(writing) => event,
            Some(event) = self.events.recv() => event,
            () = readable(Some(&self.spools)) => Event::SpoolsGrew,
            () = readable(watch) => Event::JournalGrew,
            _ = self.look.tick(), if passive => Event::JournalGrew,
            // There is work left over; others of this thread have their turn first.
            () = tokio::task::yield_now(), if busy => {
                if passive { Event::JournalGrew } else { Event::SpoolsGrew }
            }
        }
    }
}

/// What the journal's threads say; nothing ever while passive.
async fn reported(writing: Option<&mut Writing>) -> Event {
    let Some(writing) = writing else { return std::future::pending().await };
    tokio::select! {
        biased;
        event = writing.events.recv() => match event {
            Some(event) => Event::Journal(event),
            // The thread is gone without a word: it panicked.
            None => Event::Journal(WriterEvent::Failed { error: WriteError::Poisoned }),
        },
        Some(event) = writing.checkpoints.recv() => Event::Checkpoint(event),
    }
}

async fn readable(descriptor: Option<&Readable>) {
    match descriptor {
        Some(descriptor) => descriptor.news().await,
        None => std::future::pending().await,
    }
}
