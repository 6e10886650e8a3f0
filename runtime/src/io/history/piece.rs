//! The piece that is being read.

use super::Asked;
use crate::event;
use bytes::Bytes;
use holdfast_shared::link::Publication;

/// What a publication costs in a piece beside its text.
const PUBLICATION_HEAD_BYTES: usize = 16;

/// What is being read: bounded, and without a gap by construction.
pub(super) struct Piece {
    pub(super) next: u64,
    top: u64,
    bytes: usize,
    full: bool,
    asked: Asked,
    pub(super) publications: Vec<Publication>,
}

impl Piece {
    pub(super) fn new(asked: Asked, top: u64) -> Self {
        let next = asked.after.saturating_add(1);
        Self { next, top, bytes: 0, full: false, asked, publications: Vec::new() }
    }

    pub(super) fn has_room(&self) -> bool {
        !self.full && self.next <= self.top && self.publications.len() < self.asked.limit
    }

    pub(super) fn room(&self) -> usize {
        self.asked.max_bytes.saturating_sub(self.bytes)
    }

    /// Takes the event of the next offset. One that does not fit ends the piece, unless it is the first.
    pub(super) fn push(&mut self, data: Bytes) {
        self.bytes += data.len() + PUBLICATION_HEAD_BYTES;
        self.full = self.bytes >= self.asked.max_bytes;
        if self.bytes <= self.asked.max_bytes || self.publications.is_empty() {
            self.publications.push(Publication { offset: self.next, data });
            self.next += 1;
        }
    }

    /// Stands for what was from `first` to `last`, from the next offset on.
    pub(super) fn gone(&mut self, turn: &str, first: u64, last: u64, reason: &str) {
        let skip = Bytes::from(event::skip(turn));
        while self.next < last && self.has_room() {
            self.push(skip.clone());
        }
        if self.next == last && self.has_room() {
            self.push(event::truncated(turn, first, last, reason).to_string().into());
        }
    }
}
