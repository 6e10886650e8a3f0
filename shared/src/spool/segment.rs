//! Segment files: their names and their header.
//!
//! ```text
//! 0  8 bytes magic      12 u32 segment      24 16 bytes boot id     60 u32 CRC-32C of all before it
//! 8  u32 version        16 u64 first_seq    40 20 bytes of zeros
//! ```

use super::SpoolError;
use crate::version;
use std::path::{Path, PathBuf};

/// Bytes before a segment's first record.
pub const SEGMENT_HEAD_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"HFSPOOL\n";

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Its number; 0 is the file `spool`.
    pub segment: u32,
    /// The number its first output record has or will have.
    pub first_seq: u64,
    /// The boot in which it was begun (16 bytes of the kernel's boot id).
    pub boot_id: [u8; 16],
}

impl SegmentHead {
    /// The header as bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEAD_BYTES] {
        let mut head = [0; SEGMENT_HEAD_BYTES];
        head[..8].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&version::SPOOL.max.to_le_bytes());
        head[12..16].copy_from_slice(&self.segment.to_le_bytes());
        head[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        head[24..40].copy_from_slice(&self.boot_id);
        let crc = crc32c::crc32c(&head[..60]);
        head[60..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Reads a header; `Ok(None)` while it is not wholly there.
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Option<Self>, SpoolError> {
        let Some(head) = bytes.first_chunk::<SEGMENT_HEAD_BYTES>() else { return Ok(None) };
        let crc = u32::from_le_bytes([head[60], head[61], head[62], head[63]]);
        if head[..8] != MAGIC || crc32c::crc32c(&head[..60]) != crc {
            return Err(SpoolError::Damaged { path: path.to_owned(), byte: 0 });
        }
        let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let (min, max) = (version::SPOOL.min, version::SPOOL.max);
        if !(min..=max).contains(&version) {
            return Err(SpoolError::Version { path: path.to_owned(), version, min, max });
        }
        let mut first_seq = [0; 8];
        first_seq.copy_from_slice(&head[16..24]);
        let mut boot_id = [0; 16];
        boot_id.copy_from_slice(&head[24..40]);
        let segment = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        Ok(Some(Self { segment, first_seq: u64::from_le_bytes(first_seq), boot_id }))
    }
}

/// The file of one segment in a worker's directory.
pub fn segment_path(directory: &Path, segment: u32) -> PathBuf {
    match segment {
        0 => directory.join("spool"),
        n => directory.join(format!("spool.{n}")),
    }
}

/// The segments that are in a worker's directory, ascending. A missing directory has none.
pub fn segments(directory: &Path) -> Result<Vec<u32>, SpoolError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SpoolError::io("list", directory)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(SpoolError::io("list", directory))?;
        found.extend(entry.file_name().to_str().and_then(segment_of));
    }
    found.sort_unstable();
    Ok(found)
}

fn segment_of(name: &str) -> Option<u32> {
    match name.strip_prefix("spool")? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> SegmentHead {
        SegmentHead { segment: 3, first_seq: 99, boot_id: [7; 16] }
    }

    #[test]
    fn a_header_is_read_back_and_a_short_one_is_not_judged() {
        let bytes = head().encode();
        assert_eq!(SegmentHead::decode(&bytes, Path::new("spool")).unwrap(), Some(head()));
        assert_eq!(SegmentHead::decode(&bytes[..63], Path::new("spool")).unwrap(), None);
    }

    #[test]
    fn a_flipped_bit_is_damage_and_a_later_version_is_named() {
        let mut bytes = head().encode();
        bytes[20] ^= 1;
        assert!(matches!(SegmentHead::decode(&bytes, Path::new("s")), Err(SpoolError::Damaged { .. })));
        let mut bytes = head().encode();
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        let error = SegmentHead::decode(&bytes, Path::new("s")).unwrap_err();
        assert_eq!(error.to_string(), "spool s has format version 9, this release reads 1 to 1");
    }

    #[test]
    fn only_segment_files_are_segments() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["spool", "spool.2", "spool.10", "spool.3.tmp", "spool.3.index", "inbox.4", "exit"] {
            std::fs::write(directory.path().join(name), b"").unwrap();
        }
        assert_eq!(segments(directory.path()).unwrap(), [0, 2, 10]);
        assert!(segments(&directory.path().join("absent")).unwrap().is_empty());
    }
}
