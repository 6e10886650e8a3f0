//! The files of a conversation's ended turns: what is in them, and which of them go when there are too many.
//!
//! A sealed span is filed as `conversations/<conversation>/<first>.json`, `first` being its first offset in 16 hex
//! digits. Its output records stay in the worker's spool; the file says which. Files are replaced only by a marker
//! ([`FiledBody::Truncated`]) that stands for a stretch of the conversation which is there no longer.

use crate::event;
use crate::span::{Misplaced, OFFSET_MAX, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The format this release writes and the highest it reads.
pub const FILED_FORMAT: u32 = 1;

/// Why a stretch is there no longer; the `reason` of its `truncated` event.
pub const REASON_LIMIT: &str = "limit";
/// The file of a stretch is missing or cannot be read.
pub const REASON_DAMAGED: &str = "damaged";

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filed {
    /// [`FILED_FORMAT`]
    pub format: u32,
    /// Bytes of everything filed of this conversation up to here, removed ones included. So how much is kept can be
    /// told from the newest and the oldest file.
    pub cumulative_bytes: u64,
    /// What is filed.
    #[serde(flatten)]
    pub body: FiledBody,
}

/// What a file stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "few are held, and nearly all of those are turns")]
pub enum FiledBody {
    /// A sealed turn.
    Turn {
        /// Its span.
        span: Span,
        /// Bytes of its spool and of its events.
        bytes: u64,
        /// Where some of its output records are in the spool: (record, byte), ascending. A help, not the truth.
        #[serde(default)]
        index: Vec<(u64, u64)>,
    },
    /// The oldest turns, which had to go.
    Truncated(Truncated),
}

/// The beginning of a conversation, removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truncated {
    /// The conversation.
    pub conversation: String,
    /// The first offset it stands for.
    pub first: u64,
    /// The last offset it stands for.
    pub last: u64,
    /// The last turn in it.
    pub turn: String,
    /// First offsets of files that it replaced last, beside its own.
    pub files: Vec<u64>,
    /// Workers of those files, whose directories go, too.
    pub workers: Vec<String>,
    /// Segments of those files, whose worker may have served turns that stay: they go, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<(String, u32)>,
}

/// A file that breaks the rules of its format.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// It is not the JSON of a file.
    #[error("not a filed span: {0}")]
    Malformed(#[source] serde_json::Error),
    /// A later release wrote it.
    #[error("filed span of format {found}, this release reads up to {FILED_FORMAT}")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// The span's order is broken.
    #[error("filed span is out of order: {0}")]
    Misplaced(#[from] Misplaced),
    /// The span is not sealed, or a marker ends before it begins.
    #[error("filed span at {first} has no end")]
    Endless {
        /// Its first offset.
        first: u64,
    },
    /// It is of another conversation or offset than its name says.
    #[error("filed span is of {conversation} at {first}")]
    Elsewhere {
        /// The conversation in it.
        conversation: String,
        /// The first offset in it.
        first: u64,
    },
}

impl Filed {
    /// Reads a file's text and checks it against its place.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn parse(text: &[u8], conversation: &str, first: u64) -> Result<Self, BadFile> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(text).map_err(BadFile::Malformed)?;
        if format > FILED_FORMAT {
            return Err(BadFile::Newer { found: format });
        }
        let filed: Filed = serde_json::from_slice(text).map_err(BadFile::Malformed)?;
        filed.check(conversation, first)?;
        Ok(filed)
    }

    fn check(&self, conversation: &str, first: u64) -> Result<(), BadFile> {
        let named = match &self.body {
            FiledBody::Turn { span, .. } => {
                span.check()?;
                &span.conversation
            }
            FiledBody::Truncated(truncated) => &truncated.conversation,
        };
        if let FiledBody::Truncated(Truncated { last: OFFSET_MAX.., first, .. }) = self.body {
            return Err(BadFile::Endless { first });
        }
        if named != conversation || self.first() != first {
            return Err(BadFile::Elsewhere { conversation: named.clone(), first: self.first() });
        }
        match self.end() {
            Some(last) if last >= first => Ok(()),
            _ => Err(BadFile::Endless { first }),
        }
    }

    /// The first offset.
    pub fn first(&self) -> u64 {
        match &self.body {
            FiledBody::Turn { span, .. } => span.first,
            FiledBody::Truncated(truncated) => truncated.first,
        }
    }

    /// The last offset. Of a parsed file, never before the first.
    pub fn last(&self) -> u64 {
        self.end().unwrap_or(self.first())
    }

    fn end(&self) -> Option<u64> {
        match &self.body {
            FiledBody::Turn { span, .. } => span.total(),
            FiledBody::Truncated(truncated) => Some(truncated.last),
        }
    }

    /// The turn, the last one of several.
    pub fn turn(&self) -> &str {
        match &self.body {
            FiledBody::Turn { span, .. } => &span.turn,
            FiledBody::Truncated(truncated) => &truncated.turn,
        }
    }

    /// Bytes that lie on disk for it.
    pub fn bytes(&self) -> u64 {
        match &self.body {
            FiledBody::Turn { bytes, .. } => *bytes,
            FiledBody::Truncated(_) => 0,
        }
    }
}

impl Truncated {
    /// The worker of the next turn, which stays, is this one. Turns of a standing worker follow each other, so every
    /// other that is named has none left: its whole directory goes.
    pub fn keep_worker(&mut self, kept: Option<&str>) {
        let going = std::mem::take(&mut self.segments);
        for (worker, segment) in going {
            if kept == Some(&*worker) {
                self.segments.push((worker, segment));
            } else if !self.workers.contains(&worker) {
                self.workers.push(worker);
            }
        }
    }

    /// The event that stands in its place.
    pub fn event(&self) -> Value {
        event::truncated(&self.turn, self.first, self.last, REASON_LIMIT)
    }
}

/// The name of the file of the span that begins at `first`.
pub fn file_name(first: u64) -> String {
    format!("{first:016x}.json")
}

/// The first offset a file name stands for; `None` for other files.
pub fn parse_file_name(name: &str) -> Option<u64> {
    let hex = name.strip_suffix(".json")?;
    let first = u64::from_str_radix(hex, 16).ok()?;
    (hex.len() == 16 && file_name(first) == name).then_some(first)
}

/// Extends the marker at a conversation's beginning over the turns behind it.
///
/// `oldest` are the oldest files in order, the marker first where there is one; as many turns of them go as must so
/// that what is kept, up to `newest_cumulative_bytes`, fits `limit_bytes`. The caller names no file that must stay.
/// `None`: all may stay.
pub fn truncate(oldest: &[Filed], newest_cumulative_bytes: u64, limit_bytes: u64) -> Option<Filed> {
    let fits = |filed: &Filed| newest_cumulative_bytes.saturating_sub(filed.cumulative_bytes) <= limit_bytes;
    let begin = oldest.first()?;
    let before = begin.cumulative_bytes.saturating_sub(begin.bytes());
    if newest_cumulative_bytes.saturating_sub(before) <= limit_bytes {
        return None;
    }
    let going = oldest.iter().position(fits).map_or(oldest.len(), |last| last + 1);
    let last = oldest.get(going.checked_sub(1)?)?;
    let mut marker = Truncated {
        conversation: String::new(),
        first: begin.first(),
        last: last.last(),
        turn: String::new(),
        files: oldest[1..going].iter().map(Filed::first).collect(),
        workers: Vec::new(),
        segments: Vec::new(),
    };
    let mut turns = 0;
    for filed in &oldest[..going] {
        match &filed.body {
            FiledBody::Turn { span, .. } => {
                turns += 1;
                marker.conversation.clone_from(&span.conversation);
                marker.turn.clone_from(&span.turn);
                match (&span.worker, span.segment) {
                    (Some(worker), 0) => marker.workers.push(worker.clone()),
                    (Some(worker), segment) => marker.segments.push((worker.clone(), segment)),
                    (None, _) => {}
                }
            }
            // What an earlier marker stands for is gone before it is extended.
            FiledBody::Truncated(earlier) => marker.conversation.clone_from(&earlier.conversation),
        }
    }
    (turns > 0).then_some(Filed {
        format: FILED_FORMAT,
        cumulative_bytes: last.cumulative_bytes,
        body: FiledBody::Truncated(marker),
    })
}

#[cfg(test)]
mod tests;
