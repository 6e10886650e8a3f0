//! A checkpoint's format, when one is due, and what may be removed behind it.

use super::batch;
use super::limits::Limits;
use super::preamble::{self, BadPreamble};
use super::record::{Activated, Position, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use uuid::Uuid;

/// First bytes of a checkpoint.
pub const MAGIC: [u8; 8] = *b"\xF7HFCHK\xFD\n";
/// Checkpoints kept: the newest, and one to fall back to if it is damaged.
pub const KEPT: usize = 2;

/// What a checkpoint says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointHeader {
    /// The journal it belongs to.
    pub journal_id: Uuid,
    /// The last record that is folded into it; durable before the checkpoint was written.
    pub position: Position,
    /// The segment whose first record follows `position`.
    pub segment: u64,
    /// Every must-understand kind up to `position`.
    pub must_understand: BTreeSet<String>,
    /// The newest `Activated` up to `position`.
    pub activated: Activated,
    /// Where that record is.
    pub activated_at: Position,
    /// The fold's own version of its state.
    pub fold_version: u32,
    /// Bytes of the state.
    pub state_bytes: u64,
    /// CRC-32C of the state.
    pub state_crc: u32,
    /// Bytes of the records of unknown kind, behind the state.
    pub unknown_bytes: u64,
    /// CRC-32C of those.
    pub unknown_crc: u32,
}

impl CheckpointHeader {
    /// The file it is in.
    pub fn file_name(&self) -> String {
        file_name(self.position.lsn)
    }
}

/// A checkpoint, whole and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointData {
    /// Its header.
    pub header: CheckpointHeader,
    /// What [`super::Fold::save`] gave.
    pub state: Vec<u8>,
    /// Records, in order, whose kind the fold that wrote this did not know.
    pub unknown: Vec<Record>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCheckpoint {
    /// Cut or damaged.
    Damaged,
    /// Of a newer format.
    Newer {
        /// The format found.
        found: u32,
    },
}

impl From<BadPreamble> for BadCheckpoint {
    fn from(bad: BadPreamble) -> Self {
        match bad {
            BadPreamble::Damaged => Self::Damaged,
            BadPreamble::Newer { found } => Self::Newer { found },
        }
    }
}

/// File name of the checkpoint that ends with record `lsn`.
pub fn file_name(lsn: u64) -> String {
    format!("{lsn:020}.checkpoint")
}

/// The LSN in a checkpoint's file name.
pub fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".checkpoint")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Puts sizes and checksums of `state` and `unknown` into `header` and gives the whole file, in pieces.
pub fn encode(mut header: CheckpointHeader, state: Vec<u8>, unknown: &[Record]) -> [Vec<u8>; 3] {
    let unknown = encode_unknown(unknown);
    header.state_bytes = state.len() as u64;
    header.state_crc = crc32c::crc32c(&state);
    header.unknown_bytes = unknown.len() as u64;
    header.unknown_crc = crc32c::crc32c(&unknown);
    let json = serde_json::to_vec(&header).expect("a header is plain data with string keys");
    [preamble::encode(&MAGIC, super::WRITES, &json), state, unknown]
}

/// The header at the beginning of `bytes`, and where the state begins.
pub fn decode_header(bytes: &[u8]) -> Result<(CheckpointHeader, usize), BadCheckpoint> {
    let (json, total) = preamble::decode(&MAGIC, bytes, super::READS.1)?;
    let header = serde_json::from_slice(json).map_err(|_| BadCheckpoint::Damaged)?;
    Ok((header, total))
}

/// A whole checkpoint.
pub fn decode(bytes: &[u8]) -> Result<CheckpointData, BadCheckpoint> {
    let (header, start) = decode_header(bytes)?;
    let (state, rest) =
        bytes[start..].split_at_checked(header.state_bytes as usize).ok_or(BadCheckpoint::Damaged)?;
    let whole = rest.len() as u64 == header.unknown_bytes
        && crc32c::crc32c(state) == header.state_crc
        && crc32c::crc32c(rest) == header.unknown_crc;
    if !whole {
        return Err(BadCheckpoint::Damaged);
    }
    let unknown = decode_unknown(rest).ok_or(BadCheckpoint::Damaged)?;
    Ok(CheckpointData { header, state: state.to_vec(), unknown })
}

/// Unknown records stand as batches of one, so that they stay what they were, byte for byte.
fn encode_unknown(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let new = super::NewRecord {
            kind: record.kind.clone().into(),
            must_understand: record.must_understand,
            payload: record.payload.clone(),
        };
        batch::encode(record.epoch, record.lsn, 0, &[new], &mut out);
    }
    out
}

fn decode_unknown(mut bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let batch::Found::Batch(header, body) = batch::find(bytes) else { return None };
        records.extend(body.records(&header));
        bytes = &bytes[header.total_bytes()..];
    }
    Some(records)
}

/// Whether so many records or bytes since the last checkpoint ask for a new one.
pub fn is_due(records: u64, bytes: u64, limits: &Limits) -> bool {
    records >= limits.checkpoint_records || bytes >= limits.checkpoint_bytes
}

/// A checkpoint as far as removal cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its last record.
    pub lsn: u64,
    /// The segment that goes on from it.
    pub segment: u64,
}

/// What may go, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// LSNs of checkpoints.
    pub checkpoints: Vec<u64>,
    /// Every segment with a lower index.
    pub segments_below: u64,
}

/// What may be removed when `checkpoints` (ascending, only ones that check) exist. With `held` nothing that follows
/// that LSN goes, nor the newest checkpoint from which it can be reached.
pub fn removable(checkpoints: &[Kept], held: Option<u64>) -> Removal {
    let mut first_kept = checkpoints.len().saturating_sub(KEPT);
    if checkpoints.len() < KEPT {
        return Removal::default();
    }
    if let Some(held) = held {
        // Without a checkpoint below it, the segments from the very first on are what leads to the held record.
        let Some(below) = checkpoints.iter().rposition(|checkpoint| checkpoint.lsn <= held) else {
            return Removal::default();
        };
        first_kept = first_kept.min(below);
    }
    Removal {
        checkpoints: checkpoints[..first_kept].iter().map(|checkpoint| checkpoint.lsn).collect(),
        segments_below: checkpoints[first_kept].segment,
    }
}
