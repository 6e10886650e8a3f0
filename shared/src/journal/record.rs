//! Records, and the names they have for ever.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Kind of the record that a take-over writes itself; its payload is [`Activated`].
pub const ACTIVATED: &str = "journal.activated";

/// The name of one record, for ever. LSNs alone may be used again after a take-over dropped a torn tail, so
/// positions have no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub struct Position {
    /// The epoch of the writer that wrote the record; 0 before the first record.
    pub epoch: u64,
    /// The record's place, gap-free from 1; 0 before the first record.
    pub lsn: u64,
}

/// A record as read from a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The epoch of its writer.
    pub epoch: u64,
    /// Its place, gap-free from 1.
    pub lsn: u64,
    /// Its kind, as in `turn.sealed`.
    pub kind: String,
    /// A release that does not read this kind must not become active on this journal.
    pub must_understand: bool,
    /// JSON.
    pub payload: Vec<u8>,
}

impl Record {
    /// The record's name.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, lsn: self.lsn }
    }
}

/// A record to be written; epoch and LSN are the writer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Its kind: 1 to 64 of `a-z 0-9 . _ -`.
    pub kind: Cow<'static, str>,
    /// A release that does not read this kind must not become active on this journal.
    pub must_understand: bool,
    /// JSON, at most [`crate::journal::limits::MAX_RECORD_BYTES`].
    pub payload: Vec<u8>,
}

impl NewRecord {
    /// A record that older releases may skip and keep.
    pub fn new(kind: impl Into<Cow<'static, str>>, payload: Vec<u8>) -> Self {
        Self { kind: kind.into(), must_understand: false, payload }
    }

    /// A record of `kind` with `value` as JSON.
    pub fn json(
        kind: impl Into<Cow<'static, str>>,
        value: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self::new(kind, serde_json::to_vec(value)?))
    }

    /// The same record, but one that makes releases which do not read it refuse activation.
    pub fn must_understand(mut self) -> Self {
        self.must_understand = true;
        self
    }
}

/// Consecutive LSNs, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LsnRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Payload of [`ACTIVATED`]: who has written from here on. Durable, it is the commit point of a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// The epoch, used by nobody else, before or after.
    pub epoch: u64,
    /// The slot, or `supervisor`.
    pub owner: String,
    /// The process, new at each start.
    pub instance: String,
    /// Its release.
    pub release: String,
    /// Unix milliseconds.
    pub at_ms: u64,
}

/// Whether `kind` may name a record.
pub fn kind_is_valid(kind: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    (1..=super::limits::MAX_KIND_BYTES).contains(&kind.len()) && kind.bytes().all(allowed)
}
