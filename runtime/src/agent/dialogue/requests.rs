//! Requests of an agent, from the record that ends their line until they are answered. Pure.

use crate::acp::answer::{Asked, Refusal};
use crate::acp::line::RequestId;
use crate::acp::permission::Permission;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Requests of an agent that are held until they are answered; further ones are not heard, and their agent waits. More
/// than one read of a spool can bring.
pub const REQUESTS: usize = 8192;
/// Bytes of those; further ones are refused.
pub const REQUEST_BYTES: usize = 16 * 1024 * 1024;
/// Names of requests that were withdrawn last and are kept: those that wait are looked for among them.
pub(super) const WITHDRAWN: usize = 256;

/// A request of the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its name for it.
    pub id: RequestId,
    /// What it asks for, or how it is refused.
    pub asked: Result<Asked, Refusal>,
    bytes: usize,
    /// Its name as [`RequestId::canonical`] has it.
    name: String,
}

impl Request {
    /// Its name, written as every request of that name has it.
    pub fn name(&self) -> &str {
        &self.name
    }

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
    /// The records of those that are held, by name: an agent may withdraw as many as it likes.
    named: HashMap<String, BTreeSet<u64>>,
    bytes: usize,
    /// Those up to this record are answered or taken, and of use only if they are named.
    settled_to: u64,
    needed: BTreeSet<u64>,
    /// Names of requests that the agent waits for no longer, in the order in which it said so; in a turn before, too.
    pub(super) withdrawn: VecDeque<(u64, String)>,
    /// The last record that says so of each.
    pub(super) last_withdrawn: HashMap<String, u64>,
}

impl Requests {
    /// A turn begins: what was asked of people is over, and what is answered is of no use.
    pub(super) fn begin_turn(&mut self) {
        let Self { held, settled_to, needed, .. } = self;
        let is_kept = |seq: &u64, request: &Request| {
            request.permission().is_none() && (*seq > *settled_to || needed.contains(seq))
        };
        let over = held.iter().filter(|(seq, request)| !is_kept(seq, request));
        let over: Vec<u64> = over.map(|(seq, _)| *seq).collect();
        over.into_iter().for_each(|seq| self.forget(seq));
    }

    /// Takes one, as long as there is room.
    pub(super) fn take(&mut self, seq: u64, id: RequestId, asked: Result<Asked, Refusal>, bytes: usize) {
        if self.held.len() >= REQUESTS {
            return;
        }
        let (asked, bytes) = match asked {
            Err(refusal) => (Err(refusal), 0),
            Ok(_) if self.bytes + bytes > REQUEST_BYTES => {
                (Err(Refusal::internal("too much waits to be answered")), 0)
            }
            asked => (asked, bytes),
        };
        let name = id.canonical();
        let request = Request { id, asked, bytes, name };
        if self.is_of_use(seq, &request) {
            self.bytes += request.bytes;
            self.named.entry(request.name.clone()).or_default().insert(seq);
            self.held.insert(seq, request);
        }
    }

    /// What was not taken yet is refused. What is taken is answered by what comes of it, unless it waits: whoever journals
    /// answers looks for that.
    pub(super) fn withdraw(&mut self, seq: u64, name: Option<&Value>) {
        let name = name.map(Value::to_string).filter(|name| RequestId::new(name).is_some());
        let Some(name) = name else { return };
        let named = self.named.get(&name).into_iter();
        for one in named.flat_map(|named| named.range(self.settled_to.saturating_add(1).min(seq)..seq)) {
            if let Some(request) = self.held.get_mut(one).filter(|request| request.permission().is_none()) {
                request.asked = Err(Refusal::cancelled());
            }
        }
        if self.withdrawn.len() == WITHDRAWN
            && let Some((at, name)) = self.withdrawn.pop_front()
            && self.last_withdrawn.get(&name) == Some(&at)
        {
            self.last_withdrawn.remove(&name);
        }
        self.last_withdrawn.insert(name.clone(), seq);
        self.withdrawn.push_back((seq, name));
    }

    /// Whether the one of this name ([`RequestId::canonical`]) in the line that ends with this record is withdrawn.
    pub(super) fn is_withdrawn(&self, seq: u64, name: &str) -> bool {
        self.last_withdrawn.get(name).is_some_and(|at| *at > seq)
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
            if let Some(named) = self.named.get_mut(&request.name) {
                named.remove(&seq);
                if named.is_empty() {
                    self.named.remove(&request.name);
                }
            }
        }
    }
}
