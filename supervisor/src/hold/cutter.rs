//! Where output is cut into records. Pure.

use holdfast_shared::spool::RECORD_BYTES_MAX;
use holdfast_shared::worker::OutputMode;

/// One record's worth of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes of the buffer.
    pub length: usize,
    /// The line goes on in the next record.
    pub more: bool,
}

/// The next record in `buffer`; `None` while what is there must wait for more. At the end of the stream nothing
/// waits. `buffer` holds at most [`RECORD_BYTES_MAX`] bytes.
pub fn next(mode: OutputMode, buffer: &[u8], at_end: bool) -> Option<Piece> {
    match mode {
        OutputMode::Bytes => next_bytes(buffer, at_end),
        OutputMode::Lines => next_line(buffer, at_end),
    }
}

fn next_bytes(buffer: &[u8], at_end: bool) -> Option<Piece> {
    let length = if at_end { buffer.len() } else { character_boundary(buffer) };
    (length > 0).then_some(Piece { length, more: false })
}

fn next_line(buffer: &[u8], at_end: bool) -> Option<Piece> {
    if let Some(newline) = memchr::memchr(b'\n', buffer) {
        return Some(Piece { length: newline + 1, more: false });
    }
    if buffer.len() >= RECORD_BYTES_MAX {
        return Some(Piece { length: character_boundary(buffer), more: true });
    }
    (at_end && !buffer.is_empty()).then_some(Piece { length: buffer.len(), more: false })
}

/// The longest prefix that does not end within a UTF-8 character that may still be completed. Bytes that are not
/// UTF-8 are never held back.
fn character_boundary(buffer: &[u8]) -> usize {
    let from = buffer.len().saturating_sub(3);
    for begin in (from..buffer.len()).rev() {
        match std::str::from_utf8(&buffer[begin..]) {
            Ok(_) => return buffer.len(),
            Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => return begin,
            Err(_) => {}
        }
    }
    buffer.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts a stream that arrives in reads of the given sizes.
    fn cut(mode: OutputMode, stream: &[u8], reads: &[usize]) -> Vec<(Vec<u8>, bool)> {
        let mut records = Vec::new();
        let mut buffer = Vec::new();
        let mut rest = stream;
        let mut reads = reads.iter().cycle();
        loop {
            let room = RECORD_BYTES_MAX - buffer.len();
            let count = rest.len().min(room).min(*reads.next().unwrap());
            buffer.extend_from_slice(&rest[..count]);
            rest = &rest[count..];
            while let Some(piece) = next(mode, &buffer, rest.is_empty()) {
                records.push((buffer.drain(..piece.length).collect(), piece.more));
            }
            if rest.is_empty() {
                return records;
            }
            assert!(buffer.len() < RECORD_BYTES_MAX, "a full buffer always gives a record");
        }
    }

    fn texts(records: &[(Vec<u8>, bool)]) -> Vec<&str> {
        records.iter().map(|(bytes, _)| std::str::from_utf8(bytes).unwrap()).collect()
    }

    #[test]
    fn a_character_is_never_cut() {
        assert_eq!(texts(&cut(OutputMode::Bytes, "aé€😀z".as_bytes(), &[1])), ["a", "é", "€", "😀", "z"]);
        assert_eq!(texts(&cut(OutputMode::Bytes, "aé€😀z".as_bytes(), &[4])), ["aé", "€", "😀z"]);
    }

    #[test]
    fn what_is_no_character_is_not_held_back() {
        for bytes in [&b"a\xff"[..], b"\x80", b"a\xc0", b"\xed\xa0", b"\xf0\x9f\x98\x80", b"\xe2\x82a"] {
            assert_eq!(character_boundary(bytes), bytes.len(), "{bytes:?}");
        }
        assert_eq!(character_boundary(b"a\xe2\x82"), 1);
        assert_eq!(character_boundary(b"\xff\xe2"), 1);
        assert_eq!(character_boundary(b"\xf0\x9f\x98"), 0);
    }

    #[test]
    fn half_a_character_at_the_end_is_still_recorded() {
        assert_eq!(
            cut(OutputMode::Bytes, b"a\xe2\x82", &[1]),
            [(b"a".to_vec(), false), (b"\xe2\x82".to_vec(), false)]
        );
    }

    #[test]
    fn each_line_is_a_record_with_its_newline() {
        assert_eq!(
            texts(&cut(OutputMode::Lines, b"one\n\ntwo\nrest", &[5])),
            ["one\n", "\n", "two\n", "rest"]
        );
    }

    #[test]
    fn a_long_line_comes_in_parts_marked_more() {
        let line = [vec![b'x'; 2 * RECORD_BYTES_MAX], b"y\n".to_vec(), b"next\n".to_vec()].concat();
        let records = cut(OutputMode::Lines, &line, &[RECORD_BYTES_MAX]);
        let shape: Vec<_> = records.iter().map(|(bytes, more)| (bytes.len(), *more)).collect();
        assert_eq!(shape, [(RECORD_BYTES_MAX, true), (RECORD_BYTES_MAX, true), (2, false), (5, false)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_valid_text_is_cut(
            text in "\\PC{0,400}", newlines in 0usize..5, reads in prop::collection::vec(1usize..40, 1..6), lines: bool,
        ) {
            let mode = if lines { OutputMode::Lines } else { OutputMode::Bytes };
            let text = text + &"\n".repeat(newlines);
            let records = cut(mode, text.as_bytes(), &reads);
            let together: Vec<u8> = records.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            prop_assert_eq!(together, text.as_bytes());
            for (bytes, _) in &records {
                prop_assert!(std::str::from_utf8(bytes).is_ok());
            }
        }

        #[test]
        fn any_bytes_come_out_as_they_went_in(
            bytes in prop::collection::vec(any::<u8>(), 0..60_000), read in 1usize..20_000, lines: bool,
        ) {
            let mode = if lines { OutputMode::Lines } else { OutputMode::Bytes };
            let together: Vec<u8> = cut(mode, &bytes, &[read]).into_iter().flat_map(|(bytes, _)| bytes).collect();
            prop_assert_eq!(together, bytes);
        }
    }
}
