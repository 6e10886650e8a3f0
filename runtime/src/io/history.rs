//! Reading a conversation from any offset: filed spans, sealed ones that are not filed yet, and the open one.
//!
//! Whatever is asked for is read in pieces from files in the page cache, by a sparse index of each spool; no span is
//! ever held whole. Every offset has its event, so what is read is gap-free also where something is gone: what
//! cannot be read any more is `turn.skip` up to its end, where `truncated` says from where to where.

mod files;
mod last;
mod live;
mod piece;
mod segment;

use crate::event;
use crate::filed::{Filed, FiledBody, REASON_DAMAGED, REASON_LIMIT};
use crate::io::filing::{self, FilingError};
use crate::io::spools::TurnPlace;
use crate::recent::Recent;
use crate::span::{Span, Stretch};
use files::{Keep, Place};
use holdfast_shared::home::Home;
use holdfast_shared::link::Publication;
use holdfast_shared::spool::{
    HISTORY_PIECE_BYTES_MAX, SegmentHistory, SpoolError, SpoolRecord, segment_path,
};
pub use last::{Found, Wanted};
use live::sealed_place;
pub use live::{Asked, Live};
use piece::Piece;
use segment::Segment;
use std::sync::Arc;

/// Spools kept open with their index: a file descriptor and at most 64 KiB each.
const OPEN_SPOOLS: usize = 32;
/// Filed spans kept parsed: late joiners read the same ones.
const PARSED_SPANS: usize = 32;
/// Conversations whose files are kept listed.
const LISTINGS: usize = 32;
/// Where the span of an offset may be found faster than by listing a directory. May be wrong or know nothing.
pub trait SpanIndex {
    /// First offset of the last filed span that begins at or before `offset`.
    fn floor(&self, conversation: &str, offset: u64) -> Option<u64>;
}

/// No index: directories are listed.
impl SpanIndex for () {
    fn floor(&self, _conversation: &str, _offset: u64) -> Option<u64> {
        None
    }
}

/// One that may be there.
impl<Index: SpanIndex> SpanIndex for Option<&Index> {
    fn floor(&self, conversation: &str, offset: u64) -> Option<u64> {
        self.and_then(|index| index.floor(conversation, offset))
    }
}

/// A read that the operating system refused. What is damaged or missing is no error but read as truncated.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// On a filed span.
    #[error(transparent)]
    Filing(#[from] FilingError),
    /// On a spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Reads conversations, keeping little: open spools with their indexes, parsed spans, listings, all few.
#[derive(Debug)]
pub struct History {
    home: Home,
    /// By worker and segment.
    spools: Recent<(String, u32), Segment>,
    parsed: Recent<(String, u64), Arc<Filed>>,
    listings: Recent<String, Arc<Vec<u64>>>,
}

impl History {
    /// A reader of this home's conversations that knows nothing yet.
    pub fn new(home: Home) -> Self {
        let (spools, parsed) = (Recent::new(OPEN_SPOOLS), Recent::new(PARSED_SPANS));
        Self { home, spools, parsed, listings: Recent::new(LISTINGS) }
    }

    /// The publications behind `asked.after`, ascending and gap-free; empty only at the top, or where not even one
    /// was asked for.
    ///
    /// # Errors
    /// [`HistoryError`] when the operating system refuses; what is damaged or gone is given as such.
    pub fn read(
        &mut self,
        conversation: &str,
        live: &Live<'_>,
        asked: Asked,
        index: &impl SpanIndex,
    ) -> Result<Vec<Publication>, HistoryError> {
        let mut piece = Piece::new(asked, live.top);
        while piece.has_room() {
            let before = piece.next;
            match live.span_at(piece.next) {
                Some(span) => {
                    let (place, index) = live.source_of(span);
                    self.read_span(span, place, index, &mut piece)?;
                }
                None => match self.find(conversation, piece.next, live, (index, Keep::Parsed))? {
                    Place::Gone(first, last) => piece.gone("", first, last, REASON_DAMAGED),
                    Place::Filed(filed) => self.read_filed(&filed, &mut piece)?,
                },
            }
            if piece.next == before {
                break;
            }
        }
        Ok(piece.publications)
    }

    /// What is known of a conversation's files is asked for anew: some were written or removed. Spools that were
    /// removed are closed.
    pub fn forget(&mut self, conversation: &str) {
        let home = &self.home;
        self.spools.retain(|(worker, segment)| segment_path(&home.worker(worker), *segment).is_file());
        self.listings.retain(|name| name != conversation);
        self.parsed.retain(|(name, _)| name != conversation);
    }

    /// A span was filed, and with it perhaps a marker put in place of the oldest: costs one small file, however many
    /// there are.
    pub fn filed(&mut self, conversation: &str, first: u64) {
        let gone = match filing::load(&self.home, conversation, 1) {
            Ok(Filed { body: FiledBody::Truncated(marker), .. }) => marker.last,
            _ => 0,
        };
        self.parsed.retain(|(name, kept)| name != conversation || *kept > gone);
        if let Some(listing) = self.listings.get(conversation) {
            let listing = Arc::make_mut(listing);
            listing.retain(|kept| *kept == 1 || *kept > gone);
            if let Err(place) = listing.binary_search(&first) {
                listing.insert(place, first);
            }
        }
        if gone > 0 {
            let home = &self.home;
            self.spools.retain(|(worker, segment)| segment_path(&home.worker(worker), *segment).is_file());
        }
    }

    /// A worker's spool is closed, since it was removed or cut.
    pub fn forget_spool(&mut self, spawn_id: &str) {
        self.spools.retain(|(kept, _)| kept != spawn_id);
    }

    fn read_filed(&mut self, filed: &Filed, piece: &mut Piece) -> Result<(), HistoryError> {
        match &filed.body {
            FiledBody::Turn { span, index, .. } => self.read_span(span, sealed_place(span), index, piece),
            FiledBody::Truncated(gone) => {
                piece.gone(&gone.turn, gone.first, gone.last, REASON_LIMIT);
                Ok(())
            }
        }
    }

    /// Reads what the piece has room for.
    fn read_span(
        &mut self,
        span: &Span,
        place: TurnPlace,
        index: &[(u64, u64)],
        piece: &mut Piece,
    ) -> Result<(), HistoryError> {
        while piece.has_room() {
            match span.stretch(piece.next, place.outputs) {
                None => break,
                Some(Stretch::Event(index)) => piece.push(span.events[index].data.to_string().into()),
                Some(Stretch::Outputs { first, last }) => {
                    let before = piece.next;
                    self.open_spool(span, place, index)?;
                    self.read_outputs(span, place, (first, last), piece)?;
                    if piece.next == before {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Output records `first` to `last` of the turn.
    fn read_outputs(
        &mut self,
        span: &Span,
        place: TurnPlace,
        (first, last): (u64, u64),
        piece: &mut Piece,
    ) -> Result<(), HistoryError> {
        let found = match self.give_outputs(span, place, (first, last), piece) {
            Err(error @ SpoolError::Io { .. }) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(conversation = span.conversation, turn = span.turn, %error, "output is gone");
                false
            }
            Ok(found) => found,
        };
        if !found && span.sealed.is_some() {
            return self.outputs_gone(span, place, (first, last), piece);
        }
        Ok(())
    }

    /// Gives what the piece has room for; whether there was something to give.
    fn give_outputs(
        &mut self,
        span: &Span,
        place: TurnPlace,
        (first, last): (u64, u64),
        piece: &mut Piece,
    ) -> Result<bool, SpoolError> {
        let Some(segment) = key(span, place).and_then(|key| self.spools.get(&key)) else { return Ok(false) };
        let from = place.base + first;
        let records = segment.history.read_from(from, piece.room().min(HISTORY_PIECE_BYTES_MAX))?;
        let found = !records.is_empty();
        let mut give = |seq: u64, event: Vec<u8>| {
            let before = piece.next;
            if seq <= place.base + last && piece.has_room() {
                piece.push(event.into());
            }
            piece.next > before
        };
        // Only a standing worker has further segments.
        if place.segment > 0 {
            return segment.events(&span.turn, from, &records, give).map(|()| found);
        }
        for record in records {
            if let SpoolRecord::Output { seq, stream, bytes, .. } = record
                && !give(seq, event::output(&span.turn, stream, &bytes))
            {
                break;
            }
        }
        Ok(found)
    }

    /// Up to the next event, or to the next record that the index finds.
    fn outputs_gone(
        &mut self,
        span: &Span,
        place: TurnPlace,
        (first, last): (u64, u64),
        piece: &mut Piece,
    ) -> Result<(), HistoryError> {
        let before = span.first_event_from(span.offset_of_output(first)).checked_sub(1);
        let stretch_first = before.map_or(1, |event| span.events[event].after + 1);
        let (from, to) = match key(span, place).and_then(|key| self.spools.get(&key)) {
            Some(segment) => segment.history.unreadable(place.base + first)?,
            None => (1, u64::MAX),
        };
        let from = from.saturating_sub(place.base).max(stretch_first);
        let to = to.saturating_sub(place.base).min(last);
        piece.gone(&span.turn, span.offset_of_output(from), span.offset_of_output(to), REASON_DAMAGED);
        Ok(())
    }

    /// Has the segment with the span's output open if it is there.
    fn open_spool(
        &mut self,
        span: &Span,
        place: TurnPlace,
        index: &[(u64, u64)],
    ) -> Result<(), HistoryError> {
        let Some(key) = key(span, place).filter(|key| self.spools.get(key).is_none()) else { return Ok(()) };
        match SegmentHistory::open(&self.home.worker(&key.0), place.segment) {
            Ok(Some(mut history)) => {
                history.give_index(index);
                self.spools.put(key, Segment::new(history));
            }
            Ok(None) => {}
            Err(error @ SpoolError::Io { .. }) => return Err(error.into()),
            Err(error) => tracing::warn!(conversation = span.conversation, %error, "spool cannot be opened"),
        }
        Ok(())
    }
}

/// Names the segment with a span's output.
fn key(span: &Span, place: TurnPlace) -> Option<(String, u32)> {
    span.worker.clone().map(|worker| (worker, place.segment))
}

#[cfg(test)]
mod tests;
