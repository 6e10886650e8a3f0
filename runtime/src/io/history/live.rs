//! What a read is given: what of a conversation is not in files yet, and what is asked for.

use crate::io::spools::TurnPlace;
use crate::span::Span;

/// What of a conversation is not in files of its own, and how far it may be shown.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// Sealed spans that are not filed yet, ascending.
    pub unfiled: &'a [Span],
    /// The span of the turn that runs.
    pub open: Option<&'a Span>,
    /// Where the open span's output records are, and how many are known to be there.
    pub place: TurnPlace,
    /// Where some of those are in the spool, as far as whoever follows it knows: (record, byte) ascending.
    pub index: &'a [(u64, u64)],
    /// The last offset that may be shown: nothing at or behind an event that is not durable yet.
    pub top: u64,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Publications after this offset.
    pub after: u64,
    /// At most so many bytes of them; one is given even if larger.
    pub max_bytes: usize,
    /// At most so many of them.
    pub limit: usize,
}

/// Where a sealed span's output records are.
pub(super) fn sealed_place(span: &Span) -> TurnPlace {
    let outputs = span.sealed.as_ref().map_or(0, |seal| seal.outputs);
    TurnPlace { segment: span.segment, base: span.base, outputs, given: None }
}

impl Live<'_> {
    pub(super) fn span_at(&self, offset: u64) -> Option<&Span> {
        if let Some(span) = self.open.filter(|span| span.first <= offset) {
            return Some(span);
        }
        self.unfiled
            .iter()
            .find(|span| span.first <= offset && span.total().is_some_and(|last| offset <= last))
    }

    /// Where a span's output records are, and where some of them are in that segment.
    pub(super) fn source_of(&self, span: &Span) -> (TurnPlace, &[(u64, u64)]) {
        match self.open {
            Some(open) if open.first == span.first => (self.place, self.index),
            _ => (sealed_place(span), &[]),
        }
    }

    pub(super) fn last_before(&self, offset: u64) -> Option<u64> {
        self.unfiled.iter().filter_map(Span::total).filter(|last| *last < offset).max()
    }

    pub(super) fn first_behind(&self, offset: u64) -> Option<u64> {
        let firsts = self.unfiled.iter().chain(self.open).map(|span| span.first);
        firsts.filter(|first| *first > offset).min()
    }
}
