//! Records of a spool put together to lines: a line longer than a record comes in parts marked `more`.

use crate::acp::outline::{Outline, Passed};
use bytes::{Bytes, BytesMut};

/// What a record of standard output adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// A part; the line goes on in the next record of this stream.
    Part,
    /// The last part, or the only one: the whole line as it was written.
    Line(Bytes),
    /// The last part of a line that is longer than the bound; none of it is kept.
    TooLong {
        /// Its length.
        bytes: u64,
        /// What it was.
        passed: Passed,
    },
}

/// Puts the records of one stream together. Holds at most the bound in memory, and nothing between lines.
#[derive(Clone, Debug)]
pub struct Lines {
    limit_bytes: usize,
    /// Parts of the line so far; empty again once it is too long.
    parts: BytesMut,
    /// All bytes of the line so far.
    length: u64,
    /// Of one that is too long: what it is, as far as it has passed.
    outline: Option<Box<Outline>>,
}

impl Lines {
    /// Nothing yet. Lines longer than `limit_bytes` are not kept.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, parts: BytesMut::new(), length: 0, outline: None }
    }

    /// Takes the next record. A line in one record costs no copy.
    pub fn push(&mut self, more: bool, bytes: &Bytes) -> Assembled {
        let begins = self.length == 0;
        self.length += bytes.len() as u64;
        let fits = self.length <= self.limit_bytes as u64;
        if begins && !more && fits {
            self.length = 0;
            return Assembled::Line(bytes.clone());
        }
        if fits {
            self.parts.extend_from_slice(bytes);
        } else {
            self.pass(bytes);
        }
        if more {
            return Assembled::Part;
        }
        let length = std::mem::take(&mut self.length);
        match self.outline.take() {
            None => Assembled::Line(std::mem::take(&mut self.parts).freeze()),
            Some(outline) => Assembled::TooLong { bytes: length, passed: outline.end() },
        }
    }

    /// Bytes of a line that is too long: looked at, and gone.
    fn pass(&mut self, bytes: &[u8]) {
        let outline = self.outline.get_or_insert_default();
        outline.push(&std::mem::take(&mut self.parts));
        outline.push(bytes);
    }

    /// Forgets a line that was begun: what comes next is the beginning of another.
    pub fn reset(&mut self) {
        self.length = 0;
        self.parts = BytesMut::new();
        self.outline = None;
    }

    /// Whether a line was begun and is not over.
    pub fn is_within(&self) -> bool {
        self.length > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(line: &[u8], size: usize) -> Vec<(bool, Bytes)> {
        let count = line.len().div_ceil(size);
        let parts = line.chunks(size).enumerate();
        parts.map(|(index, part)| (index + 1 < count, Bytes::copy_from_slice(part))).collect()
    }

    fn assemble(limit_bytes: usize, records: &[(bool, Bytes)]) -> Vec<Assembled> {
        let mut lines = Lines::new(limit_bytes);
        let assembled = records.iter().map(|(more, bytes)| lines.push(*more, bytes));
        assembled.filter(|assembled| *assembled != Assembled::Part).collect()
    }

    #[test]
    fn a_line_at_the_bound_is_whole_and_one_byte_more_is_too_long() {
        for size in [1, 3, 8, 100] {
            let at = assemble(8, &cut(b"1234567\n", size));
            assert_eq!(at, [Assembled::Line(Bytes::from_static(b"1234567\n"))], "cut at {size}");
            assert_eq!(
                assemble(8, &cut(b"12345678\n", size)),
                [Assembled::TooLong { bytes: 9, passed: Passed::Nothing }]
            );
        }
    }

    #[test]
    fn a_line_that_is_too_long_takes_no_memory_and_the_next_one_is_whole() {
        let mut lines = Lines::new(10);
        for _ in 0..1000 {
            assert_eq!(lines.push(true, &Bytes::from_static(b"0123456789")), Assembled::Part);
            assert!(lines.parts.len() <= 10 && lines.is_within());
        }
        assert_eq!(
            lines.push(false, &Bytes::from_static(b"\n")),
            Assembled::TooLong { bytes: 10_001, passed: Passed::Nothing }
        );
        assert!(!lines.is_within());
        let next = Bytes::from_static(b"x\n");
        assert_eq!(lines.push(false, &next), Assembled::Line(next.clone()));
    }

    #[test]
    fn what_was_begun_is_forgotten_at_a_reset() {
        let mut lines = Lines::new(10);
        lines.push(true, &Bytes::from_static(b"half"));
        lines.reset();
        let next = Bytes::from_static(b"line\n");
        assert_eq!(lines.push(false, &next), Assembled::Line(next.clone()));
    }

    #[test]
    fn an_empty_record_is_an_empty_line_or_an_empty_part() {
        let mut lines = Lines::new(10);
        assert_eq!(lines.push(false, &Bytes::new()), Assembled::Line(Bytes::new()));
        assert_eq!(lines.push(true, &Bytes::new()), Assembled::Part);
        assert_eq!(lines.push(true, &Bytes::from_static(b"a")), Assembled::Part);
        assert_eq!(lines.push(false, &Bytes::new()), Assembled::Line(Bytes::from_static(b"a")));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_records_are_cut(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..20),
            sizes in prop::collection::vec(1usize..64, 1..8), limit_bytes in 1usize..250,
        ) {
            let whole: Vec<_> = lines.iter().flat_map(|line| cut(line, usize::MAX)).collect();
            let sizes = sizes.iter().cycle();
            let parts: Vec<_> = lines.iter().zip(sizes).flat_map(|(line, size)| cut(line, *size)).collect();
            prop_assert_eq!(assemble(limit_bytes, &whole), assemble(limit_bytes, &parts));
            prop_assert_eq!(assemble(limit_bytes, &whole).len(), lines.len());
        }
    }
}
