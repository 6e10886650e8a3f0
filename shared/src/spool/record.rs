//! One record of a spool, as bytes and as a value. Pure.
//!
//! ```text
//! 0  u32 CRC-32C of everything behind it    6  u8  stream     8  u64 seq
//! 4  u16 length of the bytes                7  u8  flags      16 bytes
//! ```
//! All numbers are little-endian. A header of zeros is not a record: its CRC does not match.

use crate::worker::Exit;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The most bytes one record carries. Longer lines come in parts marked `more`.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Bytes before a record's own.
pub const RECORD_HEAD_BYTES: usize = 16;
/// The longest record on disk.
pub(crate) const RECORD_LENGTH_MAX: usize = RECORD_HEAD_BYTES + RECORD_BYTES_MAX;

const FLAG_MORE: u8 = 1;

/// Which of the worker's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    /// The name used in events.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// What the holder itself has to say. Takes no sequence number and no offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    /// First record of a segment: the turn whose output it holds, and the inbox message that said so (0: the
    /// order, at the worker's start).
    Mark {
        /// The turn.
        turn: String,
        /// The number of the inbox message.
        number: u64,
    },
    /// Every inbox message up to this number was taken; synced before its first byte went in.
    Consumed {
        /// The number.
        number: u64,
    },
    /// The turn's output reached its quota: what came after is not here, and the worker is being ended.
    Quota {
        /// The quota, in bytes of this segment.
        limit_bytes: u64,
    },
    /// How the worker ended; the last record.
    Exit(Exit),
    /// Written by a later release; to be skipped.
    #[serde(other)]
    Unknown,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The segment; 0 is the file `spool`.
    pub segment: u32,
    /// The byte at which the record begins.
    pub byte: u64,
}

/// One record read from a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolRecord {
    /// Something the worker wrote: one event, whatever it means.
    Output {
        /// Its number, from 1, gap-free.
        seq: u64,
        /// Where it was written to.
        stream: Stream,
        /// The line goes on in the next record of this stream.
        more: bool,
        /// The bytes as they were written.
        bytes: Bytes,
        /// Where the record lies.
        at: Position,
    },
    /// Something about the worker.
    Control {
        /// Output records before it.
        outputs_before: u64,
        /// What.
        control: Control,
        /// Where the record lies.
        at: Position,
    },
}

/// The stream byte of a record and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A worker's output.
    Output(Stream),
    /// The holder's own.
    Control,
}

/// A record as it lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Own number of an output record, count of those before for a control record.
    pub seq: u64,
    /// Output or control.
    pub lane: Lane,
    /// The line goes on in the next record of this stream.
    pub more: bool,
    /// The record's own bytes.
    pub bytes: &'a [u8],
}

impl Frame<'_> {
    /// Bytes the record takes on disk.
    pub fn length(&self) -> usize {
        RECORD_HEAD_BYTES + self.bytes.len()
    }
}

/// What a buffer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Not enough bytes to say.
    Incomplete,
    /// As many bytes as a record claims, but they are not one.
    Damaged,
    /// One good record.
    Whole(Frame<'a>),
}

/// Appends a record to `buffer`.
///
/// # Panics
/// If the bytes are more than [`RECORD_BYTES_MAX`]: the caller cuts.
pub fn encode(buffer: &mut Vec<u8>, frame: &Frame<'_>) {
    assert!(frame.bytes.len() <= RECORD_BYTES_MAX, "a record carries at most {RECORD_BYTES_MAX} bytes");
    let begin = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&(frame.bytes.len() as u16).to_le_bytes());
    buffer.push(match frame.lane {
        Lane::Output(Stream::Stdout) => 1,
        Lane::Output(Stream::Stderr) => 2,
        Lane::Control => 3,
    });
    buffer.push(if frame.more { FLAG_MORE } else { 0 });
    buffer.extend_from_slice(&frame.seq.to_le_bytes());
    buffer.extend_from_slice(frame.bytes);
    let crc = crc32c::crc32c(&buffer[begin + 4..]);
    buffer[begin..begin + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the record at the beginning of `buffer`.
pub fn decode(buffer: &[u8]) -> Decoded<'_> {
    let Some((head, rest)) = buffer.split_at_checked(RECORD_HEAD_BYTES) else { return Decoded::Incomplete };
    let length = usize::from(u16::from_le_bytes([head[4], head[5]]));
    if length > RECORD_BYTES_MAX {
        return Decoded::Damaged;
    }
    let Some(bytes) = rest.get(..length) else { return Decoded::Incomplete };
    let crc = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if crc32c::crc32c(&buffer[4..RECORD_HEAD_BYTES + length]) != crc {
        return Decoded::Damaged;
    }
    let lane = match head[6] {
        1 => Lane::Output(Stream::Stdout),
        2 => Lane::Output(Stream::Stderr),
        3 => Lane::Control,
        _ => return Decoded::Damaged,
    };
    let seq =
        u64::from_le_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]]);
    Decoded::Whole(Frame { seq, lane, more: head[7] & FLAG_MORE != 0, bytes })
}

/// Checks that a record continues the sequence: `Some(new count of output records)` if it does.
pub(crate) fn continues(frame: &Frame<'_>, outputs_before: u64) -> Option<u64> {
    match frame.lane {
        Lane::Output(_) => (frame.seq == outputs_before + 1).then_some(frame.seq),
        Lane::Control => (frame.seq == outputs_before).then_some(outputs_before),
    }
}

/// The control record in a frame; `Unknown` for what this release cannot read.
pub(crate) fn control(bytes: &[u8]) -> Control {
    serde_json::from_slice(bytes).unwrap_or(Control::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::{EndedBy, ExitStatus};
    use proptest::prelude::*;

    fn stdout(seq: u64, bytes: &[u8]) -> Frame<'_> {
        Frame { seq, lane: Lane::Output(Stream::Stdout), more: false, bytes }
    }

    #[test]
    fn every_shorter_prefix_of_a_record_is_incomplete() {
        let mut buffer = Vec::new();
        encode(&mut buffer, &stdout(7, b"hello"));
        for length in 0..buffer.len() {
            assert_eq!(decode(&buffer[..length]), Decoded::Incomplete, "prefix of {length} bytes");
        }
        assert_eq!(decode(&buffer), Decoded::Whole(stdout(7, b"hello")));
    }

    #[test]
    fn zeros_are_not_a_record() {
        assert_eq!(decode(&[0; 64]), Decoded::Damaged);
    }

    #[test]
    fn controls_of_later_releases_are_unknown_not_errors() {
        assert_eq!(control(br#"{"type":"weather","wind":3}"#), Control::Unknown);
        assert_eq!(control(br#"{"type":"consumed","number":3,"why":1}"#), Control::Consumed { number: 3 });
        assert_eq!(control(b"\xff"), Control::Unknown);
    }

    #[test]
    fn an_exit_is_written_as_documented() {
        let exit =
            Control::Exit(Exit { status: ExitStatus::Signal(9), final_seq: 2, ended_by: EndedBy::Kill });
        let text = r#"{"type":"exit","status":{"signal":9},"final_seq":2,"ended_by":"kill"}"#;
        assert_eq!(serde_json::to_string(&exit).unwrap(), text);
        assert_eq!(control(text.as_bytes()), exit);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(seq: u64, more: bool, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let frame = Frame { seq, lane: Lane::Output(Stream::Stderr), more, bytes: &bytes };
            let mut buffer = Vec::new();
            encode(&mut buffer, &frame);
            prop_assert_eq!(buffer.len(), frame.length());
            prop_assert_eq!(decode(&buffer), Decoded::Whole(frame));
        }

        #[test]
        fn a_flipped_bit_is_never_a_good_record(
            bytes in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let mut buffer = Vec::new();
            encode(&mut buffer, &stdout(1, &bytes));
            let at = at.index(buffer.len());
            buffer[at] ^= 1 << bit;
            prop_assert!(!matches!(decode(&buffer), Decoded::Whole(_)));
        }
    }
}
