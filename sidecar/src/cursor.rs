//! Where one subscriber stands in a channel's log: history pieces first, then the hot tail, then live. Pure.

use crate::hot_tail::HotTail;
use bytes::Bytes;
use std::collections::VecDeque;
use std::rc::Rc;

/// Publications read from the runtime's history, as push texts, shared by everyone who reads the same.
#[derive(Debug, PartialEq, Eq)]
pub struct Pushes {
    /// Offset before the first.
    pub after: u64,
    /// Gap-free, ascending.
    pub pushes: VecDeque<Bytes>,
}

/// A subscriber's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last offset given to the socket.
    at: u64,
    piece: Option<Rc<Pushes>>,
}

/// What a cursor can do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything there is has been given.
    Live,
    /// The batch is full; there is more.
    More,
    /// The next publication is in the runtime's history: read from there after this offset.
    Behind(u64),
}

impl Cursor {
    /// A cursor after this offset.
    pub fn after(offset: u64) -> Self {
        Self { at: offset, piece: None }
    }

    /// The last offset given to the socket.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether it holds a piece of history.
    pub fn has_piece(&self) -> bool {
        self.piece.is_some()
    }

    /// Takes a piece read after its offset; `false`: this piece would leave a hole or brings nothing.
    pub fn take_piece(&mut self, piece: Rc<Pushes>) -> bool {
        let fits = piece.after <= self.at && piece.after + piece.pushes.len() as u64 > self.at;
        if fits {
            self.piece = Some(piece);
        }
        fits
    }

    /// Gives pushes in order until `give` answers `false` (the batch is full).
    pub fn advance(&mut self, tail: &HotTail, mut give: impl FnMut(&Bytes) -> bool) -> Progress {
        loop {
            let Some(push) = self.next_push(tail) else {
                self.piece = None;
                return if tail.covers(self.at) { Progress::Live } else { Progress::Behind(self.at) };
            };
            if !give(push) {
                return Progress::More;
            }
            self.at += 1;
        }
    }

    fn next_push<'a>(&'a self, tail: &'a HotTail) -> Option<&'a Bytes> {
        let from_piece =
            self.piece.as_ref().and_then(|piece| piece.pushes.get((self.at - piece.after) as usize));
        from_piece.or_else(|| tail.get(self.at + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(offsets: std::ops::RangeInclusive<u64>) -> HotTail {
        let mut tail = HotTail::after(offsets.start() - 1);
        offsets.for_each(|offset| tail.append(Bytes::from(offset.to_string()), usize::MAX));
        tail
    }

    fn piece(offsets: std::ops::RangeInclusive<u64>) -> Rc<Pushes> {
        let after = offsets.start() - 1;
        Rc::new(Pushes { after, pushes: offsets.map(|offset| Bytes::from(offset.to_string())).collect() })
    }

    fn given(cursor: &mut Cursor, tail: &HotTail, at_most: usize) -> (Vec<String>, Progress) {
        let mut texts = Vec::new();
        let progress = cursor.advance(tail, |push| {
            let room = texts.len() < at_most;
            if room {
                texts.push(String::from_utf8(push.to_vec()).unwrap());
            }
            room
        });
        (texts, progress)
    }

    #[test]
    fn history_then_tail_then_live_without_a_hole() {
        let tail = tail(5..=6);
        let mut cursor = Cursor::after(1);
        assert_eq!(given(&mut cursor, &tail, 9), (vec![], Progress::Behind(1)));
        assert!(!cursor.take_piece(piece(3..=4)), "would leave a hole");
        assert!(!cursor.take_piece(piece(1..=1)), "brings nothing");
        assert!(cursor.take_piece(piece(1..=3)));
        assert_eq!(given(&mut cursor, &tail, 1), (vec!["2".into()], Progress::More));
        assert_eq!(given(&mut cursor, &tail, 9), (vec!["3".into()], Progress::Behind(3)));
        assert!(!cursor.has_piece(), "a used piece is not kept");
        assert!(cursor.take_piece(piece(4..=5)));
        let (texts, progress) = given(&mut cursor, &tail, 9);
        assert_eq!((texts, progress), (vec!["4".into(), "5".into(), "6".into()], Progress::Live));
        assert_eq!(given(&mut cursor, &tail, 9), (vec![], Progress::Live));
    }
}
