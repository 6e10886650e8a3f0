//! One message of an inbox, as bytes and as a value. Pure.
//!
//! File header, 24 bytes: `HFINBOX\n`, u32 version, u64 epoch, u32 CRC-32C of those. Message header, 24 bytes:
//!
//! ```text
//! 0  u32 CRC-32C of everything behind it    8  u32 length    16 u64 number
//! 4  u8  kind, 3 bytes of zeros             12 u32 zero
//! ```
//! All numbers are little-endian.

use crate::version;

/// The longest input of one message: a document frame's size.
pub const INPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) const FILE_HEAD_BYTES: usize = 24;
pub(super) const MESSAGE_HEAD_BYTES: usize = 24;

const MAGIC: [u8; 8] = *b"HFINBOX\n";

/// What a worker's holder is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Bytes for the worker's stdin.
    Input {
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// End the worker by the stop ladder: close stdin, TERM, KILL.
    Cancel,
    /// End the worker and all its descendants at once.
    Kill,
    /// What follows belongs to this turn; the spool begins a new segment.
    TurnMark {
        /// The turn.
        turn: String,
    },
    /// No more input will come.
    CloseStdin,
}

/// The kind of a message, without what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Message::Input`]
    Input,
    /// [`Message::Cancel`]
    Cancel,
    /// [`Message::Kill`]
    Kill,
    /// [`Message::TurnMark`]
    TurnMark,
    /// [`Message::CloseStdin`]
    CloseStdin,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Input => 1,
            Kind::Cancel => 2,
            Kind::Kill => 3,
            Kind::TurnMark => 4,
            Kind::CloseStdin => 5,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Kind::Input, Kind::Cancel, Kind::Kill, Kind::TurnMark, Kind::CloseStdin]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

impl Message {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Message::Input { .. } => Kind::Input,
            Message::Cancel => Kind::Cancel,
            Message::Kill => Kind::Kill,
            Message::TurnMark { .. } => Kind::TurnMark,
            Message::CloseStdin => Kind::CloseStdin,
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        match self {
            Message::Input { bytes } => bytes,
            Message::TurnMark { turn } => turn.as_bytes(),
            Message::Cancel | Message::Kill | Message::CloseStdin => &[],
        }
    }
}

pub(super) fn encode(number: u64, message: &Message) -> Vec<u8> {
    let payload = message.payload();
    let mut bytes = Vec::with_capacity(MESSAGE_HEAD_BYTES + payload.len());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[message.kind().byte(), 0, 0, 0]);
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(payload);
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A message's header, not yet checked against what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawHead {
    pub crc: u32,
    /// `None`: a kind of a later release.
    pub kind: Option<Kind>,
    pub length: usize,
    pub number: u64,
}

pub(super) fn decode_head(head: &[u8; MESSAGE_HEAD_BYTES]) -> Option<RawHead> {
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let length = word(8) as usize;
    let number = u64::from(word(16)) | u64::from(word(20)) << 32;
    (length <= INPUT_BYTES_MAX).then_some(RawHead { crc: word(0), kind: Kind::of(head[4]), length, number })
}

pub(super) fn encode_file_head(epoch: u64) -> [u8; FILE_HEAD_BYTES] {
    let mut head = [0; FILE_HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&version::INBOX.max.to_le_bytes());
    head[12..20].copy_from_slice(&epoch.to_le_bytes());
    let crc = crc32c::crc32c(&head[..20]);
    head[20..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// Whether this is the header of an inbox of this epoch in a version that this release reads.
pub(super) fn is_file_head(head: &[u8], epoch: u64) -> bool {
    let Some(head) = head.first_chunk::<FILE_HEAD_BYTES>() else { return false };
    let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    let crc = u32::from_le_bytes([head[20], head[21], head[22], head[23]]);
    head[..8] == MAGIC
        && crc32c::crc32c(&head[..20]) == crc
        && (version::INBOX.min..=version::INBOX.max).contains(&version)
        && head[12..20] == epoch.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_and_an_absurd_length_is_not_a_message() {
        let mut bytes = encode(0x1_0000_0002, &Message::TurnMark { turn: "t7".to_owned() });
        let head = decode_head(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!((head.kind, head.length, head.number), (Some(Kind::TurnMark), 2, 0x1_0000_0002));
        assert_eq!(crc32c::crc32c(&bytes[4..]), head.crc);
        bytes[11] = 0xff;
        assert_eq!(decode_head(bytes.first_chunk().unwrap()), None);
    }

    #[test]
    fn a_file_head_names_version_and_epoch() {
        assert!(is_file_head(&encode_file_head(5), 5));
        assert!(!is_file_head(&encode_file_head(5), 6));
        assert!(!is_file_head(&encode_file_head(5)[..23], 5));
    }
}
