//! What the view keeps of each ended turn, under which keys, and when a stored view may be used. Pure.
//!
//! The view is an index of `conversations/`, never the truth: everything in it can be made again from there.

use crate::filed::{Filed, FiledBody};
use crate::span::StopReason;
use holdfast_shared::journal::Position;
use serde::{Deserialize, Serialize};

/// The format this release writes, and the only one it reads.
pub const VIEW_FORMAT: u32 = 1;
/// Bytes of a prompt's text that are kept for searching; cut at a character.
pub const PROMPT_BYTES_MAX: usize = 4096;

/// How far a view came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// [`VIEW_FORMAT`]
    pub format: u32,
    /// The journal it belongs to.
    pub journal: String,
    /// Epoch of the last record taken.
    pub epoch: u64,
    /// LSN of the last record taken.
    pub lsn: u64,
}

/// One ended turn, or the stretch that a truncation marker stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The turn; the last one of a truncated stretch.
    pub turn: String,
    /// Its first offset.
    pub first: u64,
    /// Its last offset.
    pub last: u64,
    /// Why it ended; `None` for a truncated stretch.
    pub stop_reason: Option<StopReason>,
    /// The worker's exit code, where it had one.
    pub exit_code: Option<i32>,
    /// When it was sealed, unix milliseconds.
    pub sealed_at: Option<u64>,
    /// The beginning of its prompt.
    pub prompt: String,
}

/// Why a view that is there is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// It bears no stamp: it was never finished, or is not a view.
    #[error("it was never finished")]
    Unfinished,
    /// A process ended while it was opening it, and may have ended because of that.
    #[error("it was being opened when a process ended")]
    Suspect,
    /// It was written in another format.
    #[error("its format is {0}, this release reads {VIEW_FORMAT}")]
    Format(u32),
    /// It belongs to another journal.
    #[error("it belongs to journal {0}")]
    Foreign(String),
    /// The record it stopped at is not in the journal: it vanished, or it was checkpointed away.
    #[error("the journal does not hold the record it stopped at, epoch {epoch} LSN {lsn}")]
    Elsewhere {
        /// The record's epoch.
        epoch: u64,
        /// Its LSN.
        lsn: u64,
    },
}

impl Stamp {
    /// A stamp of this release.
    pub fn new(journal: &str, at: Position) -> Self {
        Self { format: VIEW_FORMAT, journal: journal.to_owned(), epoch: at.epoch, lsn: at.lsn }
    }

    /// The last record taken.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, lsn: self.lsn }
    }
}

/// Whether a stored view is provably one of this journal; `holds` says whether the journal's segments hold a record.
///
/// A record that was checkpointed away cannot be told from one that vanished before the checkpoint, so it proves
/// nothing. A view that is kept up stands far behind the older checkpoint only after 10,000 records without it.
///
/// # Errors
/// Why not.
pub fn prove(
    stamp: Option<&Stamp>,
    journal: &str,
    holds: impl FnOnce(Position) -> bool,
) -> Result<(), Unproven> {
    let stamp = stamp.ok_or(Unproven::Unfinished)?;
    if stamp.format != VIEW_FORMAT {
        return Err(Unproven::Format(stamp.format));
    }
    if stamp.journal != journal {
        return Err(Unproven::Foreign(stamp.journal.clone()));
    }
    match holds(stamp.position()) {
        true => Ok(()),
        false => Err(Unproven::Elsewhere { epoch: stamp.epoch, lsn: stamp.lsn }),
    }
}

impl Summary {
    /// What is kept of a file.
    pub fn of(filed: &Filed) -> Self {
        let (first, last) = (filed.first(), filed.last());
        match &filed.body {
            FiledBody::Turn { span, .. } => {
                let seal = span.sealed.as_ref();
                let prompt = span.events.first().and_then(|event| event.data["text"].as_str());
                Self {
                    turn: span.turn.clone(),
                    first,
                    last,
                    stop_reason: seal.map(|seal| seal.stop_reason),
                    exit_code: seal.and_then(|seal| seal.exit_code),
                    sealed_at: seal.map(|seal| seal.sealed_at),
                    prompt: beginning(prompt.unwrap_or_default()).to_owned(),
                }
            }
            FiledBody::Truncated(gone) => Self {
                turn: gone.turn.clone(),
                first,
                last,
                stop_reason: None,
                exit_code: None,
                sealed_at: None,
                prompt: String::new(),
            },
        }
    }

    /// Whether it is what a truncation marker stands for.
    pub fn is_truncated(&self) -> bool {
        self.stop_reason.is_none()
    }
}

fn beginning(text: &str) -> &str {
    let mut end = text.len().min(PROMPT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The key of a span: keys of one conversation lie together, in order of their offsets.
pub fn key(conversation: &str, first: u64) -> Vec<u8> {
    let mut key = prefix(conversation);
    key.extend_from_slice(&first.to_be_bytes());
    key
}

/// What the keys of a conversation begin with. Names hold no zero byte.
pub fn prefix(conversation: &str) -> Vec<u8> {
    let mut prefix = conversation.as_bytes().to_vec();
    prefix.push(0);
    prefix
}

/// The conversation and first offset of a key; `None` if it is not one.
pub fn parse_key(key: &[u8]) -> Option<(&str, u64)> {
    let (name, first) = key.split_last_chunk::<8>()?;
    let name = std::str::from_utf8(name.strip_suffix(&[0])?).ok()?;
    Some((name, u64::from_be_bytes(*first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position { epoch: 3, lsn: 70 };

    #[test]
    fn only_a_view_of_this_journal_at_a_record_that_is_there_is_proven() {
        let good = Stamp::new("j", AT);
        assert_eq!(prove(Some(&good), "j", |at| at == AT), Ok(()));
        assert_eq!(prove(None, "j", |_| true), Err(Unproven::Unfinished));
        assert_eq!(prove(Some(&good), "k", |_| true), Err(Unproven::Foreign("j".into())));
        assert_eq!(prove(Some(&good), "j", |_| false), Err(Unproven::Elsewhere { epoch: 3, lsn: 70 }));
        let later = Stamp { format: 2, ..good };
        assert_eq!(prove(Some(&later), "j", |_| true), Err(Unproven::Format(2)));
    }

    #[test]
    fn keys_of_a_conversation_lie_together_in_order() {
        let mut keys = [key("b", 1), key("a", 256), key("ab", 3), key("a", 2), key("a", 1 << 40)];
        keys.sort();
        let parsed: Vec<_> = keys.iter().map(|key| parse_key(key).unwrap()).collect();
        assert_eq!(parsed, [("a", 2), ("a", 256), ("a", 1 << 40), ("ab", 3), ("b", 1)]);
        assert!(keys[0].starts_with(&prefix("a")) && !keys[3].starts_with(&prefix("a")));
        assert_eq!(parse_key(b"short"), None);
        assert_eq!(parse_key(b"no zero here"), None);
    }

    #[test]
    fn a_long_prompt_is_cut_at_a_character() {
        let text = "é".repeat(PROMPT_BYTES_MAX);
        assert_eq!(beginning(&text).len(), PROMPT_BYTES_MAX);
        assert_eq!(beginning(&text[..5 * 2]), "ééééé");
        assert_eq!(beginning(&format!("x{text}")).len(), PROMPT_BYTES_MAX - 1);
    }
}
