//! The thread's own side: everything that has come is written as one batch and synced once, in the order in which it
//! was submitted. Nothing is told durable before its sync, and nobody is told of an end before descriptors and lock
//! are given back.

use super::super::writer::{WriteError, Writer};
use super::{Group, Message, Shared, WriterEvent};
use crate::journal::limits::MAX_BATCH_BYTES;
use crate::journal::record::{NewRecord, Position};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// How often free space is looked at.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);

/// What the thread works with.
pub(super) struct Work<F> {
    writer: Writer,
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    on_event: F,
    looked: Instant,
    /// Taken from the queue but not yet looked at.
    first: Option<Message>,
}

/// How a turn of the loop ended.
enum Turn {
    Go,
    Fence(SyncSender<Position>),
    Over,
}

impl<F: FnMut(WriterEvent)> Work<F> {
    pub(super) fn new(writer: Writer, messages: Receiver<Message>, shared: Arc<Shared>, on_event: F) -> Self {
        Work { writer, messages, shared, on_event, looked: Instant::now(), first: None }
    }

    /// Until the handle is gone, a fence was asked for, or a write failed.
    pub(super) fn run(mut self) {
        loop {
            match self.turn() {
                Ok(Turn::Go) => {}
                Ok(Turn::Over) => return,
                Ok(Turn::Fence(reply)) => return self.fence(&reply),
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Waits for work, and does all that has come as one batch.
    fn turn(&mut self) -> Result<Turn, WriteError> {
        let message = match self.first.take() {
            Some(message) => message,
            None => match self.messages.recv_timeout(SPACE_INTERVAL) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => return self.look_at_space().map(|()| Turn::Go),
                Err(RecvTimeoutError::Disconnected) => return Ok(Turn::Over),
            },
        };
        match message {
            Message::Group(group) => self.write(group)?,
            Message::Rotate(reply) => {
                let rotated = self.writer.rotate()?;
                // Who asked may be gone.
                let _told = reply.try_send(rotated);
            }
            Message::UseReserve(bytes, reply) => {
                let _told = reply.try_send(self.writer.use_reserve(bytes)?);
            }
            Message::Fence(reply) => return Ok(Turn::Fence(reply)),
        }
        self.tell_space();
        if self.looked.elapsed() >= SPACE_INTERVAL {
            self.look_at_space()?;
        }
        Ok(Turn::Go)
    }

    fn write(&mut self, group: Group) -> Result<(), WriteError> {
        let (records, groups, bytes) = self.gather(group)?;
        self.writer.append(&records)?;
        self.shared.take(groups, bytes);
        let lsn = self.writer.sync()?.lsn;
        self.shared.durable_lsn.store(lsn, Ordering::Release);
        (self.on_event)(WriterEvent::Durable { lsn });
        Ok(())
    }

    /// Everything that is queued now and fits one batch.
    fn gather(&mut self, group: Group) -> Result<(Vec<NewRecord>, usize, u64), WriteError> {
        self.check_order(&group, 0)?;
        let (mut records, mut groups, mut bytes) = (group.records, 1, group.bytes);
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Group(next) if bytes + next.bytes <= MAX_BATCH_BYTES as u64 => {
                    self.check_order(&next, records.len() as u64)?;
                    records.extend(next.records);
                    groups += 1;
                    bytes += next.bytes;
                }
                other => {
                    self.first = Some(other);
                    break;
                }
            }
        }
        Ok((records, groups, bytes))
    }

    fn check_order(&self, group: &Group, gathered: u64) -> Result<(), WriteError> {
        let next = self.writer.next_lsn() + gathered;
        if group.first_lsn == next {
            return Ok(());
        }
        Err(WriteError::OutOfOrder { submitted: group.first_lsn, next })
    }

    fn look_at_space(&mut self) -> Result<(), WriteError> {
        self.looked = Instant::now();
        self.writer.look_at_space()?;
        self.tell_space();
        Ok(())
    }

    fn tell_space(&mut self) {
        let full = self.writer.storage_full();
        if self.shared.storage_full.swap(full, Ordering::AcqRel) != full {
            (self.on_event)(if full { WriterEvent::StorageFull } else { WriterEvent::StorageFreed });
        }
    }

    fn fence(self, reply: &SyncSender<Position>) {
        let Work { writer, messages, mut on_event, .. } = self;
        match writer.fence() {
            Ok(end) => {
                drop(messages);
                on_event(WriterEvent::Fenced { end });
                let _told = reply.try_send(end);
            }
            Err(error) => on_event(WriterEvent::Failed { error }),
        }
    }

    /// Descriptors and lock go before anybody is told.
    fn fail(self, error: WriteError) {
        let Work { writer, messages, mut on_event, .. } = self;
        drop(writer);
        drop(messages);
        on_event(WriterEvent::Failed { error });
    }
}
