//! Finding the file of an offset or a turn: by an index that may be wrong, by the listing, by halves.

use super::{History, HistoryError, Live, SpanIndex};
use crate::filed::{Filed, file_name};
use crate::io::filing;
use crate::task::turn_number;
use std::sync::Arc;

/// Where an offset is.
pub(super) enum Place {
    Filed(Arc<Filed>),
    /// Nothing readable from here to there.
    Gone(u64, u64),
}

/// What becomes of a file that had to be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// It is kept for whoever reads it next.
    Parsed,
    /// It is looked at only, and takes the place of none that is kept.
    Nothing,
}

impl History {
    /// What is filed of a turn, or of the stretch that it was in and that is there no longer. Turns bear ascending numbers in
    /// the order in which they ran, so their files are halved.
    ///
    /// # Errors
    /// As [`read`](Self::read). A file that is damaged ends the search. Parses a file for each half: not for a loop.
    pub fn turn(&mut self, conversation: &str, turn: u64) -> Result<Option<Arc<Filed>>, HistoryError> {
        let firsts = self.listing(conversation, false)?;
        let (mut low, mut high) = (0, firsts.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let first = firsts[middle];
            let Some(filed) = self.parse(conversation, first)? else { return Ok(None) };
            match turn_number(filed.turn()) {
                // The others are not kept: each may be long.
                Some(found) if found == turn => {
                    let key = (conversation.to_owned(), first);
                    return Ok(Some(Arc::clone(self.parsed.put(key, Arc::new(filed)))));
                }
                Some(found) if found < turn => low = middle + 1,
                Some(_) => high = middle,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    pub(super) fn find(
        &mut self,
        conversation: &str,
        offset: u64,
        live: &Live<'_>,
        (index, keep): (&impl SpanIndex, Keep),
    ) -> Result<Place, HistoryError> {
        if let Some(first) = index.floor(conversation, offset)
            && let Some(filed) = self.load(conversation, first, keep)?
            && (first..=filed.last()).contains(&offset)
        {
            return Ok(Place::Filed(filed));
        }
        let (mut from, mut behind) = (1, None);
        for fresh in [false, true] {
            let firsts = self.listing(conversation, fresh)?;
            let at = firsts.partition_point(|first| *first <= offset);
            behind = firsts.get(at).copied();
            let Some(first) = at.checked_sub(1).map(|floor| firsts[floor]) else { continue };
            match self.load(conversation, first, keep)? {
                Some(filed) if filed.last() >= offset => return Ok(Place::Filed(filed)),
                Some(filed) => from = filed.last() + 1,
                None => from = first,
            }
        }
        let from = live.last_before(offset).map_or(from, |last| from.max(last + 1));
        let next = behind.into_iter().chain(live.first_behind(offset)).min();
        Ok(Place::Gone(from, next.map_or(live.top, |next| next - 1)))
    }

    /// How much is to be parsed for what is at `offset`: 0 where that is in memory, or there is nothing to be had.
    pub(super) fn bytes_to_parse(
        &mut self,
        conversation: &str,
        offset: u64,
        live: &Live<'_>,
        index: &impl SpanIndex,
    ) -> Result<u64, HistoryError> {
        if live.span_at(offset).is_some() {
            return Ok(0);
        }
        let first = match index.floor(conversation, offset) {
            Some(first) => Some(first),
            None => self.listing(conversation, false)?.iter().rfind(|first| **first <= offset).copied(),
        };
        let Some(first) = first else { return Ok(0) };
        if self.parsed.get(&(conversation.to_owned(), first)).is_some() {
            return Ok(0);
        }
        let path = self.home.conversation(conversation).join(file_name(first));
        Ok(std::fs::metadata(path).map_or(0, |found| found.len()))
    }

    /// The file of the span beginning at `first`, if it can be read.
    fn load(
        &mut self,
        conversation: &str,
        first: u64,
        keep: Keep,
    ) -> Result<Option<Arc<Filed>>, HistoryError> {
        let key = (conversation.to_owned(), first);
        if let Some(filed) = self.parsed.get(&key) {
            return Ok(Some(Arc::clone(filed)));
        }
        let filed = self.parse(conversation, first)?.map(Arc::new);
        if let (Some(filed), Keep::Parsed) = (&filed, keep) {
            self.parsed.put(key, Arc::clone(filed));
        }
        Ok(filed)
    }

    fn parse(&self, conversation: &str, first: u64) -> Result<Option<Filed>, HistoryError> {
        match filing::load(&self.home, conversation, first) {
            Ok(filed) => Ok(Some(filed)),
            Err(error) if error.is_lasting() => {
                tracing::warn!(%error, "filed span cannot be read");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn listing(&mut self, conversation: &str, fresh: bool) -> Result<Arc<Vec<u64>>, HistoryError> {
        if !fresh && let Some(listing) = self.listings.get(conversation) {
            return Ok(Arc::clone(listing));
        }
        let listing = Arc::new(filing::list(&self.home, conversation)?);
        Ok(Arc::clone(self.listings.put(conversation.to_owned(), listing)))
    }
}
