//! What an agent wrote on standard error before it had its session: where it cannot start, that often says why, and
//! nothing else keeps it. Pure.

use std::collections::VecDeque;

/// Bytes of it that are kept, the last ones: a reason for people, which the journal keeps with the end of a start.
pub const LAST_WORDS_BYTES: usize = 1024;

/// The last [`LAST_WORDS_BYTES`] of a stream.
#[derive(Clone, Debug, Default)]
pub struct LastWords {
    bytes: VecDeque<u8>,
    /// There was more before them.
    cut: bool,
}

impl LastWords {
    /// Takes what was written next.
    pub fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(LAST_WORDS_BYTES)..];
        let surplus = (self.bytes.len() + kept.len()).saturating_sub(LAST_WORDS_BYTES);
        self.cut |= surplus > 0 || kept.len() < bytes.len();
        self.bytes.drain(..surplus);
        self.bytes.extend(kept);
    }

    /// On one line: ends of lines become ` | `, other control characters pictures of themselves, invalid UTF-8 is
    /// replaced. `None` where nothing was written but blanks.
    pub fn said(&self) -> Option<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        // The first byte may be in the middle of a character.
        let begin = if self.cut { bytes.iter().take_while(|byte| **byte & 0xc0 == 0x80).count() } else { 0 };
        let text = String::from_utf8_lossy(&bytes[begin..]);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let said: String = lines.join(" | ").chars().map(visible).collect();
        let more = if self.cut { "…" } else { "" };
        (!said.is_empty()).then(|| format!("{more}{said}"))
    }
}

/// A control character as a picture of itself.
fn visible(one: char) -> char {
    match one {
        '\t' => ' ',
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(one)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        other if other.is_control() => char::REPLACEMENT_CHARACTER,
        _ => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pieces: &[&[u8]]) -> Option<String> {
        let mut words = LastWords::default();
        pieces.iter().for_each(|piece| words.push(piece));
        words.said()
    }

    #[test]
    fn last_words_are_one_harmless_line() {
        assert_eq!(said(&[b"FATAL: no ", b"api key\r\n\n", b"\tbye\n"]).unwrap(), "FATAL: no api key | bye");
        assert_eq!(said(&[b"\x1b[2J\x07a\xff\x7f\n"]).unwrap(), "␛[2J␇a\u{fffd}␡");
        assert_eq!((said(&[]), said(&[b" \n\n"])), (None, None));
    }

    #[test]
    fn only_the_last_of_many_words_are_kept_and_that_more_were_said_is_seen() {
        let whole = said(&[&[b'x'; LAST_WORDS_BYTES]]).unwrap();
        assert_eq!(whole, "x".repeat(LAST_WORDS_BYTES));
        for pieces in [vec![&[b'a'; 5000][..], b"end"], vec![&[b'a'; LAST_WORDS_BYTES][..], b"end"]] {
            let cut = said(&pieces).unwrap();
            assert_eq!(cut, format!("…{}end", "a".repeat(LAST_WORDS_BYTES - 3)));
        }
        let cut =
            said(&[&b"a".repeat(LAST_WORDS_BYTES), "ä".repeat(LAST_WORDS_BYTES).as_bytes(), b"."]).unwrap();
        assert!(!cut.contains('\u{fffd}') && cut.ends_with("ä."), "no half character");
    }
}
