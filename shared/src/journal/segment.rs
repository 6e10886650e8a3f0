//! A segment's name and header.

use super::preamble::{self, BadPreamble};
use super::record::{Activated, Position};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use uuid::Uuid;

/// First bytes of a segment; 0xF7 and 0xFD never occur in UTF-8.
pub const MAGIC: [u8; 8] = *b"\xF7HFSEG\xFD\n";

/// Where the segment before this one ends: what lies behind there is void, its good batches are copied here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousEnd {
    /// Index of that segment.
    pub segment: u64,
    /// Byte behind its last synced batch.
    pub byte: u64,
    /// The last synced record.
    pub lsn: u64,
}

/// What a segment says about itself; written and synced before the segment comes into place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHeader {
    /// The journal it belongs to.
    pub journal_id: Uuid,
    /// Its place in the journal, from 1.
    pub index: u64,
    /// The epoch that owns it. Batches copied at take-over have lower ones.
    pub epoch: u64,
    /// LSN of its first record.
    pub base_lsn: u64,
    /// `None` only in the first segment of a journal.
    pub prev_end: Option<PreviousEnd>,
    /// Position of the record before the first one here.
    pub before: Position,
    /// Records up to here were durable when the segment came into place, those it brought with it included.
    pub synced_lsn: u64,
    /// Every must-understand kind in the records before this segment, checkpointed ones too.
    pub must_understand: BTreeSet<String>,
    /// The newest `Activated` when the segment came into place. In a segment begun by a take-over it is the record
    /// that the segment brings with it.
    pub activated: Activated,
    /// Where that record is.
    pub activated_at: Position,
}

/// File name of segment `index`.
pub fn file_name(index: u64) -> String {
    format!("{index:020}.segment")
}

/// The index in a segment's file name.
pub fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The header as it stands at the beginning of the file.
pub fn encode(header: &SegmentHeader) -> Vec<u8> {
    let json = serde_json::to_vec(header).expect("a header is plain data with string keys");
    preamble::encode(&MAGIC, super::WRITES, &json)
}

/// The header at the beginning of `bytes`, and where the first batch is.
pub fn decode(bytes: &[u8]) -> Result<(SegmentHeader, u64), BadPreamble> {
    let (json, total) = preamble::decode(&MAGIC, bytes, super::READS.1)?;
    let header = serde_json::from_slice(json).map_err(|_| BadPreamble::Damaged)?;
    Ok((header, total as u64))
}
