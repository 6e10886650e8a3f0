//! A batch on disk: what was written, and can be lost, as one piece.
//!
//! ```text
//! 0  magic 8 | epoch u64 | first_lsn u64 | synced_lsn u64 | count u32 | body_bytes u32 | body_crc u32 | header_crc u32
//! 48 body: count x { bytes u32 | flags u8 | kind_bytes u8 | kind | payload }
//! ```
//! Little-endian, CRC-32C. The header has a checksum of its own, so that it bears witness to `synced_lsn` even when
//! its body is damaged. A batch without records is a mark: it only says what was durable.

use super::limits::{MAX_BATCH_BYTES, MAX_RECORD_BYTES};
use super::record::{NewRecord, Record};

/// First bytes of a batch. 0xF7 and 0xFD never occur in UTF-8, so no JSON payload contains it.
pub const MAGIC: [u8; 8] = *b"\xF7HFBAT\xFD\n";
/// Bytes before the body.
pub const HEADER_BYTES: usize = 48;
/// Bytes of a record beside kind and payload.
pub const RECORD_OVERHEAD_BYTES: usize = 6;
const MUST_UNDERSTAND: u8 = 1;

/// A batch's header, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Epoch of all its records.
    pub epoch: u64,
    /// LSN of its first record (of the next record, in a mark).
    pub first_lsn: u64,
    /// Known durable when it was written.
    pub synced_lsn: u64,
    /// Number of records.
    pub count: u32,
    body_bytes: u32,
    body_crc: u32,
}

impl BatchHeader {
    /// LSN of its last record (the one before, in a mark).
    pub fn last_lsn(&self) -> u64 {
        self.first_lsn + u64::from(self.count) - 1
    }

    /// Bytes of header and body.
    pub fn total_bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes as usize
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole batch that checks.
    Batch(BatchHeader, Body<'a>),
    /// The beginning of one, or nothing; `at_least` bytes are needed to know more.
    Incomplete {
        /// Bytes from the beginning of the batch.
        at_least: usize,
    },
    /// Something else, or a batch that does not check.
    Bad,
}

/// A checked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body<'a>(&'a [u8]);

/// Bytes that `record` takes in a batch.
pub fn record_bytes(record: &NewRecord) -> usize {
    RECORD_OVERHEAD_BYTES + record.kind.len() + record.payload.len()
}

/// Appends a batch of `records` to `out`. Sizes and kinds were checked by the writer.
pub fn encode(epoch: u64, first_lsn: u64, synced_lsn: u64, records: &[NewRecord], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    for record in records {
        out.extend_from_slice(&((record_bytes(record) - 4) as u32).to_le_bytes());
        out.push(if record.must_understand { MUST_UNDERSTAND } else { 0 });
        out.push(record.kind.len() as u8);
        out.extend_from_slice(record.kind.as_bytes());
        out.extend_from_slice(&record.payload);
    }
    let body = &out[start + HEADER_BYTES..];
    let (body_bytes, body_crc) = (body.len() as u32, crc32c::crc32c(body));
    let header = &mut out[start..start + HEADER_BYTES];
    header[0..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&epoch.to_le_bytes());
    header[16..24].copy_from_slice(&first_lsn.to_le_bytes());
    header[24..32].copy_from_slice(&synced_lsn.to_le_bytes());
    header[32..36].copy_from_slice(&(records.len() as u32).to_le_bytes());
    header[36..40].copy_from_slice(&body_bytes.to_le_bytes());
    header[40..44].copy_from_slice(&body_crc.to_le_bytes());
    let check = crc32c::crc32c(&header[..44]);
    header[44..48].copy_from_slice(&check.to_le_bytes());
}

/// The header at the beginning of `bytes`, if it checks. The body may be cut or damaged.
pub fn header(bytes: &[u8]) -> Option<BatchHeader> {
    let bytes = bytes.get(..HEADER_BYTES)?;
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..44]) != word(44) {
        return None;
    }
    let header = BatchHeader {
        epoch: long(8),
        first_lsn: long(16),
        synced_lsn: long(24),
        count: word(32),
        body_bytes: word(36),
        body_crc: word(40),
    };
    let sane = header.first_lsn > 0
        && header.synced_lsn < header.first_lsn
        && header.body_bytes as usize <= MAX_BATCH_BYTES
        && header.first_lsn.checked_add(u64::from(header.count)).is_some();
    sane.then_some(header)
}

/// What stands at the beginning of `bytes`.
pub fn find(bytes: &[u8]) -> Found<'_> {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Found::Bad;
    }
    if bytes.len() < HEADER_BYTES {
        return Found::Incomplete { at_least: HEADER_BYTES };
    }
    let Some(header) = header(bytes) else { return Found::Bad };
    let Some(body) = bytes.get(HEADER_BYTES..header.total_bytes()) else {
        return Found::Incomplete { at_least: header.total_bytes() };
    };
    if crc32c::crc32c(body) != header.body_crc || !body_is_sane(body, header.count) {
        return Found::Bad;
    }
    Found::Batch(header, Body(body))
}

fn body_is_sane(body: &[u8], count: u32) -> bool {
    let mut raw = RawRecords(body);
    let good = raw.by_ref().take(count as usize).count();
    good == count as usize && raw.0.is_empty()
}

/// A record inside a batch, not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// See [`Record::kind`].
    pub kind: &'a str,
    /// See [`Record::must_understand`].
    pub must_understand: bool,
    /// See [`Record::payload`].
    pub payload: &'a [u8],
}

struct RawRecords<'a>(&'a [u8]);

impl<'a> Iterator for RawRecords<'a> {
    type Item = RawRecord<'a>;

    fn next(&mut self) -> Option<RawRecord<'a>> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let (&[flags, kind_bytes], record) = record.split_first_chunk::<2>()?;
        let (kind, payload) = record.split_at_checked(kind_bytes as usize)?;
        let kind = std::str::from_utf8(kind).ok()?;
        if payload.len() > MAX_RECORD_BYTES {
            return None;
        }
        self.0 = rest;
        Some(RawRecord { kind, must_understand: flags & MUST_UNDERSTAND != 0, payload })
    }
}

impl<'a> Body<'a> {
    /// Its records, in order, not copied.
    pub fn raw(&self) -> impl Iterator<Item = RawRecord<'a>> + use<'a> {
        RawRecords(self.0)
    }

    /// Its records, in order.
    pub fn records(&self, header: &BatchHeader) -> impl Iterator<Item = Record> + use<'a> {
        let (epoch, first_lsn) = (header.epoch, header.first_lsn);
        self.raw().enumerate().map(move |(nth, raw)| Record {
            epoch,
            lsn: first_lsn + nth as u64,
            kind: raw.kind.to_owned(),
            must_understand: raw.must_understand,
            payload: raw.payload.to_vec(),
        })
    }
}
