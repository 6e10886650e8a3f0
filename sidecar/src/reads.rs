//! Reads of the runtime's history under way: asked once for everyone who waits for the same piece. Pure.

use crate::hub::ChannelKey;
use crate::pending::Asker;
use crate::session::SessionId;
use holdfast_shared::link::{Caller, PIECE_BYTES, ToRuntime};
use std::collections::{BTreeMap, VecDeque};

/// Reads sent and not answered at most: two windows' worth would delay live publications behind them.
pub const READS_IN_FLIGHT: usize = 4;
/// Publications of one piece at most.
pub const PIECE_PUBLICATIONS: u32 = 4096;

/// Who waits for a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A subscription: the session's, with this serial number.
    Subscription {
        /// The session.
        session: SessionId,
        /// Serial number of the subscription.
        serial: u64,
    },
    /// A history command.
    History {
        /// Who asked.
        asker: Asker,
        /// Number of the history command.
        number: u64,
    },
}

/// What is read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadSpec {
    /// Name of the channel.
    pub channel: String,
    /// Its key, for subscriptions.
    pub key: Option<ChannelKey>,
    /// Epoch of the position; empty matches any.
    pub epoch: String,
    /// Publications after this offset.
    pub after: u64,
    /// At most so many.
    pub limit: u32,
    /// In whose name.
    pub caller: Caller,
}

#[derive(Debug)]
struct Read {
    spec: ReadSpec,
    readers: Vec<Reader>,
    sent: bool,
}

/// All reads without an answer. Bounded by its askers: one per session and history command.
#[derive(Debug, Default)]
pub struct Reads {
    reads: BTreeMap<u64, Read>,
    unsent: VecDeque<u64>,
}

impl Reads {
    /// Joins a read of the same, or queues a new one under this number.
    pub fn ask(&mut self, number: u64, spec: ReadSpec, reader: Reader) {
        let same = |read: &&mut Read| {
            let (a, b) = (&read.spec, &spec);
            (&a.channel, &a.epoch, a.after, a.limit) == (&b.channel, &b.epoch, b.after, b.limit)
        };
        if let Some(read) = self.reads.values_mut().find(same) {
            read.readers.push(reader);
            return;
        }
        self.reads.insert(number, Read { spec, readers: vec![reader], sent: false });
        self.unsent.push_back(number);
    }

    /// A new link: everything is asked again.
    pub fn resend_all(&mut self) {
        self.reads.values_mut().for_each(|read| read.sent = false);
        self.unsent = self.reads.keys().copied().collect();
    }

    /// The next read to send, within [`READS_IN_FLIGHT`]. Those nobody waits for any more are forgotten.
    pub fn next_to_send(&mut self) -> Option<ToRuntime> {
        if self.reads.len() - self.unsent.len() >= READS_IN_FLIGHT {
            return None;
        }
        let id = self.unsent.pop_front()?;
        let read = self.reads.get_mut(&id)?;
        read.sent = true;
        let spec = &read.spec;
        Some(ToRuntime::Read {
            id,
            channel: spec.channel.clone(),
            epoch: spec.epoch.clone(),
            offset: spec.after,
            limit: spec.limit,
            max_bytes: PIECE_BYTES,
            caller: spec.caller.clone(),
        })
    }

    /// Whether there is something to send now.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() && self.reads.len() - self.unsent.len() < READS_IN_FLIGHT
    }

    /// A read has its answer.
    pub fn answered(&mut self, number: u64) -> Option<(ReadSpec, Vec<Reader>)> {
        let read = self.reads.remove(&number)?;
        if !read.sent {
            self.unsent.retain(|id| *id != number);
        }
        Some((read.spec, read.readers))
    }

    /// Forgets readers that are gone; what nobody waits for is not asked any more.
    pub fn forget(&mut self, mut gone: impl FnMut(&Reader) -> bool) {
        for read in self.reads.values_mut() {
            read.readers.retain(|reader| !gone(reader));
        }
        let unsent = &mut self.unsent;
        self.reads.retain(|id, read| {
            let keep = read.sent || !read.readers.is_empty();
            if !keep {
                unsent.retain(|other| other != id);
            }
            keep
        });
    }

    /// Reads without an answer.
    pub fn len(&self) -> usize {
        self.reads.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::token::TokenRole;

    fn spec(after: u64) -> ReadSpec {
        let caller = Caller {
            principal: "operator".into(),
            role: TokenRole::Operator,
            focus: None,
            scope: Default::default(),
        };
        ReadSpec { channel: "c".into(), key: None, epoch: String::new(), after, limit: 9, caller }
    }

    fn reader(serial: u64) -> Reader {
        Reader::Subscription { session: 1, serial }
    }

    #[test]
    fn the_same_piece_is_asked_once_and_few_at_a_time() {
        let mut reads = Reads::default();
        for number in 0..6 {
            reads.ask(number, spec(number), reader(number));
            reads.ask(number + 100, spec(number), reader(number + 100));
        }
        assert_eq!(reads.len(), 6);
        let sent = std::iter::from_fn(|| reads.next_to_send()).count();
        assert_eq!(sent, READS_IN_FLIGHT);
        let (spec, readers) = reads.answered(2).unwrap();
        assert_eq!((spec.after, readers), (2, vec![reader(2), reader(102)]));
        assert!(reads.next_to_send().is_some());
        reads.resend_all();
        assert_eq!(std::iter::from_fn(|| reads.next_to_send()).count(), READS_IN_FLIGHT);
    }

    #[test]
    fn what_nobody_waits_for_is_not_asked() {
        let mut reads = Reads::default();
        reads.ask(1, spec(1), reader(1));
        reads.forget(|gone| *gone == reader(1));
        assert!(reads.next_to_send().is_none() && reads.is_empty() && !reads.has_unsent());
    }
}
