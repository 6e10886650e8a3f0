//! Requests of an agent, from the record that ends their line until they are answered. Pure.

use crate::acp::answer::{Asked, Refusal};
use crate::acp::line::RequestId;
use crate::acp::permission::Permission;
use std::collections::{BTreeMap, BTreeSet};

/// Requests of an agent that are held until they are answered; further ones are not heard, and their agent waits. More
/// than one read of a spool can bring.
pub const REQUESTS: usize = 8192;
/// Bytes of those; further ones are refused.
pub const REQUEST_BYTES: usize = 16 * 1024 * 1024;
/// A request of the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its name for it.
    pub id: RequestId,
    /// What it asks for, or how it is refused.
    pub asked: Result<Asked, Refusal>,
    bytes: usize,
}

impl Request {
    /// It asks for permission, and can be answered.
    pub fn permission(&self) -> Option<&Permission> {
        match &self.asked {
            Ok(Asked::Permission(permission)) => Some(permission),
            _ => None,
        }
    }
}

/// Those that are held, by record.
#[derive(Debug, Default)]
pub(super) struct Requests {
    held: BTreeMap<u64, Request>,
    bytes: usize,
    /// Those up to this record are answered or taken, and of use only if they are named.
    settled_to: u64,
    needed: BTreeSet<u64>,
}

impl Requests {
    /// A turn begins: what was asked of people is over, and what is answered is of no use.
    pub(super) fn begin_turn(&mut self) {
        let Self { settled_to, needed, .. } = self;
        self.held.retain(|seq, request| {
            request.permission().is_none() && (*seq > *settled_to || needed.contains(seq))
        });
        self.bytes = self.held.values().map(|request| request.bytes).sum();
    }

    /// Takes one, as long as there is room.
    pub(super) fn take(&mut self, seq: u64, id: RequestId, asked: Result<Asked, Refusal>, bytes: usize) {
        if self.held.len() >= REQUESTS {
            return;
        }
        let request = match asked {
            Err(refusal) => Request { id, asked: Err(refusal), bytes: 0 },
            Ok(_) if self.bytes + bytes > REQUEST_BYTES => {
                let refusal = Refusal::internal("too much waits to be answered");
                Request { id, asked: Err(refusal), bytes: 0 }
            }
            asked => Request { id, asked, bytes },
        };
        if self.is_of_use(seq, &request) {
            self.bytes += request.bytes;
            self.held.insert(seq, request);
        }
    }

    fn is_of_use(&self, seq: u64, request: &Request) -> bool {
        seq > self.settled_to || request.permission().is_some() || self.needed.contains(&seq)
    }

    /// Those up to `taken_to` are taken, and only the named ones are still needed.
    pub(super) fn settle(&mut self, taken_to: u64, needed: BTreeSet<u64>) {
        (self.settled_to, self.needed) = (self.settled_to.max(taken_to), needed);
        let over: Vec<u64> = self
            .held
            .range(..=self.settled_to)
            .filter(|(seq, request)| !self.is_of_use(**seq, request))
            .map(|(seq, _)| *seq)
            .collect();
        over.into_iter().for_each(|seq| self.forget(seq));
    }

    /// Those for permission that are over are dropped, unless their answer is still to be written.
    pub(super) fn forget_permissions(&mut self, is_over: impl Fn(u64) -> bool) {
        let asked = self.held.iter().filter(|(_, request)| request.permission().is_some());
        let over: Vec<u64> =
            asked.map(|(seq, _)| *seq).filter(|seq| !self.needed.contains(seq) && is_over(*seq)).collect();
        over.into_iter().for_each(|seq| self.forget(seq));
    }

    /// Those behind this record, in order.
    pub(super) fn behind(&self, seq: u64) -> impl Iterator<Item = (u64, &Request)> {
        self.held.range(seq.saturating_add(1)..).map(|(seq, request)| (*seq, request))
    }

    /// The one whose line ends with this record.
    pub(super) fn at(&self, seq: u64) -> Option<&Request> {
        self.held.get(&seq)
    }

    /// One is answered for good.
    pub(super) fn forget(&mut self, seq: u64) {
        if let Some(request) = self.held.remove(&seq) {
            self.bytes -= request.bytes;
        }
    }
}
