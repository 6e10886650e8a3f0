//! What is kept of sessions, for a later process to load. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sessions, pieces of a session's history and bytes of such a piece that are kept.
const SESSIONS_MAX: usize = 64;
const PIECES_MAX: usize = 100;
const PIECE_BYTES_MAX: usize = 4096;

/// The file's contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The number of the last session made here.
    pub made: u64,
    /// Sessions by id.
    pub sessions: BTreeMap<String, Session>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its mode.
    pub mode: String,
    /// What it was told to remember.
    pub told: Option<String>,
    /// What was said: the update's kind and the text, oldest first.
    pub history: Vec<(String, String)>,
}

impl Memory {
    /// A new session's id. The oldest goes where there are too many.
    pub fn make(&mut self, mode: &str) -> String {
        self.made += 1;
        let id = format!("demo-{:06}", self.made);
        let session = Session { mode: mode.to_owned(), told: None, history: Vec::new() };
        self.sessions.insert(id.clone(), session);
        while self.sessions.len() > SESSIONS_MAX {
            self.sessions.pop_first();
        }
        id
    }
}

impl Session {
    /// Adds what was said; the oldest goes where there is too much. Pieces of one answer are one.
    pub fn add(&mut self, kind: &str, text: &str) {
        match self.history.last_mut() {
            Some((last, before)) if last == kind && before.len() + text.len() <= PIECE_BYTES_MAX => {
                before.push_str(text);
            }
            _ => {
                let most = text.len().min(PIECE_BYTES_MAX);
                let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                self.history.push((kind.to_owned(), text[..end].to_owned()));
            }
        }
        let over = self.history.len().saturating_sub(PIECES_MAX);
        self.history.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_what_was_said_are_bounded() {
        let mut memory = Memory::default();
        let first = memory.make("ask");
        for _ in 0..SESSIONS_MAX {
            memory.make("ask");
        }
        assert_eq!((memory.sessions.len(), memory.sessions.contains_key(&first)), (SESSIONS_MAX, false));
        let mut session = Session { mode: "ask".into(), told: None, history: Vec::new() };
        session.add("a", "1");
        session.add("a", "2");
        assert_eq!(session.history, [("a".to_owned(), "12".to_owned())]);
        session.add("a", &"ä".repeat(PIECE_BYTES_MAX));
        assert_eq!(session.history[1].1.len(), PIECE_BYTES_MAX);
        for n in 0..PIECES_MAX {
            session.add(&format!("{n}"), "x");
        }
        assert_eq!(session.history.len(), PIECES_MAX);
    }
}
