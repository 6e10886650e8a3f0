//! The first bytes of every journal file, the same in every format: magic, format version, length of the header that
//! follows, each covered by a checksum. So an older release recognises a newer file for what it is.

/// Bytes of a preamble.
pub const PREAMBLE_BYTES: usize = 24;
/// Headers are a few hundred bytes of JSON; the list of must-understand kinds is the only part that grows.
pub const MAX_HEADER_BYTES: usize = 1 << 20;

/// Why a file's beginning could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPreamble {
    /// Not ours, cut or damaged.
    Damaged,
    /// Whole, but of a format this build does not read.
    Newer {
        /// The format found.
        found: u32,
    },
}

/// Puts a preamble and the header's checksum around `header`.
pub fn encode(magic: &[u8; 8], format: u32, header: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREAMBLE_BYTES + header.len());
    out.extend_from_slice(magic);
    out.extend_from_slice(&format.to_le_bytes());
    out.extend_from_slice(&(header.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(header).to_le_bytes());
    let check = crc32c::crc32c(&out);
    out.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(header);
    out
}

/// Bytes of preamble and header together, from the preamble alone.
pub fn total_bytes(magic: &[u8; 8], bytes: &[u8], max_format: u32) -> Result<usize, BadPreamble> {
    let preamble = bytes.get(..PREAMBLE_BYTES).ok_or(BadPreamble::Damaged)?;
    let word =
        |at: usize| u32::from_le_bytes([preamble[at], preamble[at + 1], preamble[at + 2], preamble[at + 3]]);
    if &preamble[..8] != magic || crc32c::crc32c(&preamble[..20]) != word(20) {
        return Err(BadPreamble::Damaged);
    }
    let (format, header_bytes) = (word(8), word(12) as usize);
    if format > max_format {
        return Err(BadPreamble::Newer { found: format });
    }
    if format == 0 || header_bytes > MAX_HEADER_BYTES {
        return Err(BadPreamble::Damaged);
    }
    Ok(PREAMBLE_BYTES + header_bytes)
}

/// The header in `bytes`, and how many bytes it took with its preamble.
pub fn decode<'a>(
    magic: &[u8; 8],
    bytes: &'a [u8],
    max_format: u32,
) -> Result<(&'a [u8], usize), BadPreamble> {
    let total = total_bytes(magic, bytes, max_format)?;
    let header = bytes.get(PREAMBLE_BYTES..total).ok_or(BadPreamble::Damaged)?;
    let expected = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
    if crc32c::crc32c(header) != expected {
        return Err(BadPreamble::Damaged);
    }
    Ok((header, total))
}
