//! What the supervisor's journal says: a fold of its records (DESIGN.md 3).
//!
//! The epoch of this journal is the supervisor's generation: every start takes the journal over and so raises
//! it durably.

use crate::attempt::{self, Attempts};
use holdfast_shared::journal::{Fold, LoadError, NewRecord, Record};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::TokenEntry;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;

/// Events of the `node` channel kept for a sidecar that starts (DESIGN.md 5).
pub const NODE_EVENTS: usize = 256;

/// An epoch and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The slot.
    pub slot: Slot,
    /// The epoch.
    pub epoch: u64,
}

/// One event of the `node` channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// Gap-free from 1.
    pub offset: u64,
    /// An object with `type`.
    pub data: Value,
}

/// The state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeState {
    /// No epoch above this was used.
    pub highest_epoch: u64,
    /// The last epoch that committed.
    pub committed: Option<Epoch>,
    /// All tokens.
    pub tokens: Vec<TokenEntry>,
    /// The last events of the `node` channel.
    pub events: VecDeque<NodeEvent>,
    /// Offset of the last one; 0 before the first.
    pub node_offset: u64,
    /// Attempts to change the serving runtime; a checkpoint of an older release has none.
    #[serde(default)]
    pub attempts: Attempts,
}

/// A change of the state, as it is journaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Change {
    /// This epoch is used now.
    Switching(Epoch),
    /// Its `Activated` is durable.
    Committed(Epoch),
    /// A new token, or a new form of the one with its id.
    TokenCreated(TokenEntry),
    /// The token with this id is valid no longer.
    TokenRevoked {
        /// Its id.
        id: String,
    },
    /// The next event of the `node` channel.
    Node(NodeEvent),
    /// An attempt goes on.
    Attempt(attempt::Change),
}

const SWITCHING: &str = "epoch.switching";
const COMMITTED: &str = "epoch.committed";
const TOKEN_CREATED: &str = "token.created";
const TOKEN_REVOKED: &str = "token.revoked";
const NODE_EVENT: &str = "node.event";
const ATTEMPT: &str = "attempt.changed";

impl Change {
    /// The record's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Change::Switching(_) => SWITCHING,
            Change::Committed(_) => COMMITTED,
            Change::TokenCreated(_) => TOKEN_CREATED,
            Change::TokenRevoked { .. } => TOKEN_REVOKED,
            Change::Node(_) => NODE_EVENT,
            Change::Attempt(_) => ATTEMPT,
        }
    }

    /// The record to be journaled.
    pub fn record(&self) -> NewRecord {
        NewRecord::new(self.kind(), serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(record: &Record) -> Option<Change> {
        let payload = &record.payload;
        match record.kind.as_str() {
            SWITCHING => serde_json::from_slice(payload).ok().map(Change::Switching),
            COMMITTED => serde_json::from_slice(payload).ok().map(Change::Committed),
            TOKEN_CREATED => serde_json::from_slice(payload).ok().map(Change::TokenCreated),
            TOKEN_REVOKED => {
                let value: Value = serde_json::from_slice(payload).ok()?;
                Some(Change::TokenRevoked { id: value.get("id")?.as_str()?.to_owned() })
            }
            NODE_EVENT => serde_json::from_slice(payload).ok().map(Change::Node),
            ATTEMPT => serde_json::from_slice(payload).ok().map(Change::Attempt),
            _ => None,
        }
    }
}

impl NodeState {
    /// Takes a change; the live path and every later reading of the journal do the same.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::Switching(epoch) => self.highest_epoch = self.highest_epoch.max(epoch.epoch),
            Change::Committed(epoch) => {
                self.highest_epoch = self.highest_epoch.max(epoch.epoch);
                self.committed = Some(epoch);
            }
            Change::TokenCreated(entry) => {
                self.tokens.retain(|token| token.id != entry.id);
                self.tokens.push(entry);
            }
            Change::TokenRevoked { id } => self.tokens.retain(|token| token.id != id),
            Change::Node(event) => {
                self.node_offset = event.offset;
                self.events.push_back(event);
                if self.events.len() > NODE_EVENTS {
                    self.events.pop_front();
                }
            }
            Change::Attempt(change) => self.attempts.take(change),
        }
    }

    /// The change that appends this event to the `node` channel, `ahead` events after the next.
    pub fn node_event(&self, ahead: u64, data: Value) -> Change {
        Change::Node(NodeEvent { offset: self.node_offset + 1 + ahead, data })
    }
}

impl Fold for NodeState {
    const VERSION: u32 = 1;

    fn empty() -> Self {
        Self::default()
    }

    fn apply(&mut self, record: &Record) {
        if let Some(change) = Change::read(record) {
            self.take(change);
        }
    }

    fn save(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn load(version: u32, bytes: &[u8]) -> Result<Self, LoadError> {
        if version != Self::VERSION {
            return Err(LoadError::Version { found: version, newest: Self::VERSION });
        }
        serde_json::from_slice(bytes)
            .map_err(|error| LoadError::Malformed { version, reason: error.to_string() })
    }

    fn kinds() -> &'static [&'static str] {
        &[SWITCHING, COMMITTED, TOKEN_CREATED, TOKEN_REVOKED, NODE_EVENT, ATTEMPT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::token::TokenRole;

    fn token(id: &str) -> TokenEntry {
        TokenEntry {
            id: id.into(),
            hash: "h".into(),
            role: TokenRole::Viewer,
            scope: Default::default(),
            principal: "p".into(),
            probe_slot: None,
            expires_at: None,
        }
    }

    /// What a switch that is asked for, queued behind and cancelled journals.
    fn attempt() -> Vec<Change> {
        use crate::attempt::{Event, Kind, Operation, Request, Rules, step};
        let request = |slot| Request {
            kind: Kind::Switch,
            slot,
            release: None,
            bundle: None,
            allow_downgrade: false,
            requested_at: 5,
        };
        let ask = |slot| Event::Request { request: request(slot), ready: false, settled: false };
        let mut attempts = Attempts::default();
        let mut changes = Vec::new();
        for event in [ask(Slot::B), ask(Slot::A), Event::Operate(Operation::Cancel)] {
            for change in step(&attempts, event, 5, &Rules::default()).unwrap().changes {
                attempts.take(change.clone());
                changes.push(Change::Attempt(change));
            }
        }
        assert_eq!((attempts.ended.len(), attempts.subsequent.is_some()), (1, true));
        changes
    }

    #[test]
    fn live_state_is_the_fold_of_its_records_and_of_its_checkpoint() {
        let epoch = |epoch| Epoch { slot: Slot::B, epoch };
        let mut live = NodeState::default();
        let mut folded = NodeState::empty();
        let changes = vec![
            Change::Switching(epoch(1)),
            Change::Committed(epoch(1)),
            Change::TokenCreated(token("a")),
            Change::TokenCreated(token("b")),
            Change::TokenRevoked { id: "a".into() },
            Change::Switching(epoch(2)),
            Change::Node(NodeEvent { offset: 1, data: serde_json::json!({"type": "x"}) }),
        ];
        let changes = changes.into_iter().chain(attempt());
        for (lsn, change) in (1..).zip(changes) {
            let new = change.record();
            let kind = new.kind.to_string();
            folded.apply(&Record { epoch: 1, lsn, kind, must_understand: false, payload: new.payload });
            live.take(change);
        }
        assert_eq!(live, folded);
        assert_eq!((live.highest_epoch, live.committed), (2, Some(epoch(1))));
        assert_eq!(NodeState::load(1, &live.save()).unwrap(), live);
        assert!(NodeState::load(2, &live.save()).is_err());
    }

    #[test]
    fn past_their_bound_the_oldest_events_go() {
        let mut state = NodeState::default();
        for _ in 0..NODE_EVENTS + 10 {
            let change = state.node_event(0, Value::Null);
            state.take(change);
        }
        assert_eq!(state.events.len(), NODE_EVENTS);
        assert_eq!(state.events.front().map(|event| event.offset), Some(11));
        assert_eq!(state.node_offset, NODE_EVENTS as u64 + 10);
    }
}
