//! Command ids: each takes effect once, and every repeat gets the same answer (DESIGN.md 5).
//!
//! A principal's answers are kept for 24 h by the id's own time, at most 10,000 of them, and 64 MiB in all. What is
//! evicted raises the principal's floor: an id at or below it is refused, never executed. Everything here is part
//! of the fold, so that every runtime evicts the same.

use crate::record::Answered;
use holdfast_shared::error::{ApiError, Code};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::{Uuid, Variant};

/// Text of a command id at most.
pub const COMMAND_ID_BYTES: usize = 64;
/// How long an answer is kept, by the id's own time.
pub const KEPT_MS: u64 = 24 * 3600 * 1000;
/// How far an id's time may be ahead of ours: clocks differ, but an id from tomorrow would be kept for two days.
pub const AHEAD_MS: u64 = 5 * 60 * 1000;
/// Answers kept per principal.
pub const PRINCIPAL_ANSWERS: usize = 10_000;
/// Bytes of all kept answers.
pub const TOTAL_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of one answer.
pub const ANSWER_BYTES: usize = 4 * 1024;
/// What an answer costs beside its text, in memory and in checkpoints; counted so that the total is honest.
const ANSWER_OVERHEAD_BYTES: usize = 160;

/// A command id: orders by its own time.
pub type CommandId = Uuid;

/// Milliseconds since 1970 that the id itself states.
pub fn time_ms(id: CommandId) -> u64 {
    (id.as_u128() >> 80) as u64
}

/// The id with this text.
///
/// # Errors
/// `INVALID_REQUEST` for anything but a UUIDv7.
pub fn parse(text: &str) -> Result<CommandId, ApiError> {
    let invalid = |why: &str| ApiError::new(Code::InvalidRequest, format!("command_id: {why}"));
    if text.len() > COMMAND_ID_BYTES {
        return Err(invalid("longer than 64 bytes"));
    }
    let id = Uuid::try_parse(text).map_err(|_| invalid("not a UUID"))?;
    if id.get_version_num() != 7 || id.get_variant() != Variant::RFC4122 {
        return Err(invalid("not a UUID of version 7"));
    }
    Ok(id)
}

/// What a command's payload is recognised by: SHA-256 of its method and its parameters in one canonical text, so
/// that spaces and the order of fields do not matter.
pub fn digest(method: &str, params: &Value) -> String {
    holdfast_shared::token::hash(&format!("{method}\n{params}"))
}

/// A kept answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Of which payload.
    pub digest: String,
    /// The result.
    pub answer: Value,
    /// The record that carries it: a repeat waits until that is durable too.
    pub lsn: u64,
    bytes: usize,
}

/// What is to be done with a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Known<'a> {
    /// It was not seen before: decide on it.
    New(CommandId),
    /// It was: give this answer again.
    Answered(&'a Kept),
}

/// All kept answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommandIds {
    principals: BTreeMap<String, Principal>,
    /// Every kept id, oldest first, for eviction.
    by_age: BTreeSet<(CommandId, String)>,
    bytes: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Principal {
    /// The highest id that was evicted.
    floor: CommandId,
    answers: BTreeMap<CommandId, Kept>,
}

impl CommandIds {
    /// Whether this command was seen before.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for an id that is none or too far ahead, `COMMAND_EXPIRED` for one too old to know,
    /// `COMMAND_ID_REUSED` for one that was used for something else.
    pub fn look_up(
        &self,
        principal: &str,
        id: &str,
        digest: &str,
        now_ms: u64,
    ) -> Result<Known<'_>, ApiError> {
        let id = parse(id)?;
        let known = self.principals.get(principal);
        if let Some(kept) = known.and_then(|principal| principal.answers.get(&id)) {
            if kept.digest != digest {
                let message = format!("command_id {id} was used for another command");
                return Err(ApiError::new(Code::CommandIdReused, message));
            }
            return Ok(Known::Answered(kept));
        }
        if time_ms(id) > now_ms + AHEAD_MS {
            let message = "command_id: its time is more than 5 minutes ahead of this node's";
            return Err(ApiError::new(Code::InvalidRequest, message));
        }
        let floor = known.map_or(Uuid::nil(), |principal| principal.floor);
        if id <= floor || time_ms(id) + KEPT_MS < now_ms {
            let message = format!("command_id {id} is older than what is remembered; it was not executed");
            return Err(ApiError::new(Code::CommandExpired, message));
        }
        Ok(Known::New(id))
    }

    /// Keeps the answer that the record `lsn` carries, and evicts what is too much or too old at `now_ms`.
    pub fn keep(&mut self, answered: &Answered, lsn: u64, now_ms: u64) {
        let Ok(id) = parse(&answered.id) else { return };
        let answer = answered.answer.clone();
        let bytes = answer.to_string().len() + answered.principal.len() * 2 + ANSWER_OVERHEAD_BYTES;
        self.insert(&answered.principal, id, Kept { digest: answered.digest.clone(), answer, lsn, bytes });
        while let Some(principal) = self.overfull(&answered.principal) {
            self.evict(principal);
        }
        while let Some((oldest, principal)) = self.by_age.first()
            && time_ms(*oldest) + KEPT_MS < now_ms
        {
            let principal = principal.clone();
            self.evict(principal);
        }
    }

    /// Answers kept for a principal.
    pub fn count(&self, principal: &str) -> usize {
        self.principals.get(principal).map_or(0, |principal| principal.answers.len())
    }

    /// Bytes of everything kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whose oldest answer has to go: the principal's own past its number, else the oldest of all past the bytes.
    fn overfull(&self, principal: &str) -> Option<String> {
        if self.count(principal) > PRINCIPAL_ANSWERS {
            return Some(principal.to_owned());
        }
        let oldest = || self.by_age.first().map(|(_, principal)| principal.clone());
        (self.bytes > TOTAL_BYTES).then(oldest).flatten()
    }

    fn insert(&mut self, principal: &str, id: CommandId, kept: Kept) {
        self.bytes += kept.bytes;
        self.by_age.insert((id, principal.to_owned()));
        let replaced = self.principals.entry(principal.to_owned()).or_default().answers.insert(id, kept);
        self.bytes -= replaced.map_or(0, |kept| kept.bytes);
    }

    fn evict(&mut self, name: String) {
        let Some(principal) = self.principals.get_mut(&name) else { return };
        let Some((id, kept)) = principal.answers.pop_first() else { return };
        principal.floor = principal.floor.max(id);
        self.bytes -= kept.bytes;
        self.by_age.remove(&(id, name));
    }

    /// Forgets principals without answers whose floor the 24 h say anyway. Called when a state is saved; what it
    /// forgets changes no decision.
    fn remembered(&self) -> impl Iterator<Item = (&String, &Principal)> {
        let newest = self.by_age.last().map_or(0, |(id, _)| time_ms(*id));
        self.principals.iter().filter(move |(_, principal)| {
            !principal.answers.is_empty() || time_ms(principal.floor) + 2 * KEPT_MS > newest
        })
    }
}

/// As it lies in a checkpoint.
#[derive(Serialize, Deserialize)]
struct Saved {
    principal: String,
    floor: CommandId,
    /// Id, digest, answer, LSN.
    answers: Vec<(CommandId, String, Value, u64)>,
}

impl Serialize for CommandIds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let saved = self.remembered().map(|(name, principal)| Saved {
            principal: name.clone(),
            floor: principal.floor,
            answers: principal
                .answers
                .iter()
                .map(|(id, kept)| (*id, kept.digest.clone(), kept.answer.clone(), kept.lsn))
                .collect(),
        });
        serializer.collect_seq(saved)
    }
}

impl<'de> Deserialize<'de> for CommandIds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut ids = CommandIds::default();
        for saved in Vec::<Saved>::deserialize(deserializer)? {
            ids.principals
                .insert(saved.principal.clone(), Principal { floor: saved.floor, ..Default::default() });
            for (id, digest, answer, lsn) in saved.answers {
                let bytes = answer.to_string().len() + saved.principal.len() * 2 + ANSWER_OVERHEAD_BYTES;
                ids.insert(&saved.principal, id, Kept { digest, answer, lsn, bytes });
            }
        }
        Ok(ids)
    }
}

#[cfg(test)]
pub(crate) mod tests;
