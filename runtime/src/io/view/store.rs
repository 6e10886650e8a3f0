//! The view's database: a sled tree of summaries and the stamp.

use crate::view::{Stamp, Summary, key, parse_key, prefix};
use std::path::Path;

/// What sled may hold in memory.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// How often sled writes what it has; a view that lost its end is compared with the directories anyway.
const FLUSH_MS: u64 = 500;
/// Where the stamp is, in a tree of its own.
const STAMP: &[u8] = b"stamp";

/// What can go wrong with the database. Whatever it is, the view is set aside and made again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// sled refused.
    #[error("view: {0}")]
    Sled(#[from] sled::Error),
    /// What it holds is not ours.
    #[error("view holds what is no summary: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// An open database.
#[derive(Clone, Debug)]
pub struct Store {
    spans: sled::Tree,
    meta: sled::Tree,
    database: sled::Db,
}

/// Opens or makes the database, as sled does it for the view. May panic on damage that sled does not expect.
///
/// # Errors
/// sled's own.
pub fn open_database(path: &Path) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(FLUSH_MS))
        .mode(sled::Mode::LowSpace)
        .open()
}

impl Store {
    /// The trees of a database.
    ///
    /// # Errors
    /// sled's own.
    pub fn new(database: sled::Db) -> Result<Self, StoreError> {
        Ok(Self { spans: database.open_tree("spans")?, meta: database.open_tree("meta")?, database })
    }

    /// How far it came; `None` if it was never finished, or not by us.
    ///
    /// # Errors
    /// sled's own.
    pub fn stamp(&self) -> Result<Option<Stamp>, StoreError> {
        let stamp = self.meta.get(STAMP)?;
        Ok(stamp.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Says how far it came.
    ///
    /// # Errors
    /// sled's own.
    pub fn set_stamp(&self, stamp: &Stamp) -> Result<(), StoreError> {
        self.meta.insert(STAMP, serde_json::to_vec(stamp)?)?;
        Ok(())
    }

    /// Keeps a summary; those of what a truncated stretch stands for go.
    ///
    /// # Errors
    /// sled's own.
    pub fn put(&self, conversation: &str, summary: &Summary) -> Result<(), StoreError> {
        self.spans.insert(key(conversation, summary.first), serde_json::to_vec(summary)?)?;
        if summary.is_truncated() {
            let gone = key(conversation, summary.first + 1)..=key(conversation, summary.last);
            for entry in self.spans.range(gone) {
                self.spans.remove(entry?.0)?;
            }
        }
        Ok(())
    }

    /// Forgets a span.
    ///
    /// # Errors
    /// sled's own.
    pub fn remove(&self, conversation: &str, first: u64) -> Result<(), StoreError> {
        self.spans.remove(key(conversation, first))?;
        Ok(())
    }

    /// First offset of the last span that begins at or before `offset`.
    ///
    /// # Errors
    /// sled's own.
    pub fn floor(&self, conversation: &str, offset: u64) -> Result<Option<u64>, StoreError> {
        let range = key(conversation, 0)..=key(conversation, offset);
        match self.spans.range(range).next_back() {
            Some(entry) => Ok(parse_key(&entry?.0).map(|(_, first)| first)),
            None => Ok(None),
        }
    }

    /// First offset of a conversation's oldest span.
    ///
    /// # Errors
    /// sled's own.
    pub fn oldest(&self, conversation: &str) -> Result<Option<u64>, StoreError> {
        match self.spans.scan_prefix(prefix(conversation)).keys().next() {
            Some(entry) => Ok(parse_key(&entry?).map(|(_, first)| first)),
            None => Ok(None),
        }
    }

    /// First offsets of a conversation's spans, ascending.
    ///
    /// # Errors
    /// sled's own.
    pub fn firsts(&self, conversation: &str) -> Result<Vec<u64>, StoreError> {
        let entries = self.spans.scan_prefix(prefix(conversation)).keys();
        let mut firsts = Vec::new();
        for entry in entries {
            firsts.extend(parse_key(&entry?).map(|(_, first)| first));
        }
        Ok(firsts)
    }

    /// The last spans of a conversation that begin before `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// sled's own, or a value that is no summary.
    pub fn spans(&self, conversation: &str, before: u64, limit: usize) -> Result<Vec<Summary>, StoreError> {
        let range = self.spans.range(key(conversation, 0)..key(conversation, before));
        let mut summaries = Vec::new();
        for entry in range.rev().take(limit) {
            summaries.push(serde_json::from_slice(&entry?.1)?);
        }
        Ok(summaries)
    }

    /// Names of all conversations with spans, sorted.
    ///
    /// # Errors
    /// sled's own.
    pub fn conversations(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        let mut from = Vec::new();
        while let Some(entry) = self.spans.range(from..).next() {
            let (found, _) = entry?;
            let Some((name, _)) = parse_key(&found) else { break };
            names.push(name.to_owned());
            // Behind all keys of this conversation: its prefix ends with a zero byte.
            from = name.as_bytes().to_vec();
            from.push(1);
        }
        Ok(names)
    }

    /// Writes what sled holds in memory; not more durable than any write of a rebuildable file.
    ///
    /// # Errors
    /// sled's own.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.database.flush()?;
        Ok(())
    }
}
