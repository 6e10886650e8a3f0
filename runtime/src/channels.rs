//! The short channels `tasks`, `task:<id>` and `members`: one journal record is one event, the last 256 are kept.

use holdfast_shared::link::Publication;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;

/// Events kept of one channel, in memory and in checkpoints (DESIGN.md 5).
pub const KEPT_EVENTS: usize = 256;

/// A channel of the runtime, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// `tasks`: what happens to every task.
    Tasks,
    /// `members`: nothing yet.
    Members,
    /// `task:<id>`: what happens to one task.
    Task(String),
    /// `conversation:<id>`: what is said in one task.
    Conversation(String),
}

impl Channel {
    /// The channel with this name; whether its task exists is another question.
    pub fn from_name(name: &str) -> Option<Channel> {
        match name {
            "tasks" => Some(Channel::Tasks),
            "members" => Some(Channel::Members),
            _ => match name.split_once(':')? {
                ("task", id) => Some(Channel::Task(id.to_owned())),
                ("conversation", id) => Some(Channel::Conversation(id.to_owned())),
                _ => None,
            },
        }
    }
}

/// A channel's last events. Offsets are gap-free from 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Log {
    top: u64,
    events: VecDeque<Value>,
}

/// The position asked for cannot be continued without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutAway;

impl Log {
    /// Takes the next event and answers its offset; the oldest beyond [`KEPT_EVENTS`] goes.
    pub fn push(&mut self, event: Value) -> u64 {
        self.top += 1;
        self.events.push_back(event);
        if self.events.len() > KEPT_EVENTS {
            self.events.pop_front();
        }
        self.top
    }

    /// The highest offset; 0 before the first event.
    pub fn top(&self) -> u64 {
        self.top
    }

    /// Whether what follows `offset` is still here.
    pub fn continues(&self, offset: u64) -> bool {
        offset <= self.top && self.top - offset <= self.events.len() as u64
    }

    /// The events after `offset` up to `visible`, at most `limit` of them and about `max_bytes` (one is given even
    /// if larger).
    ///
    /// # Errors
    /// [`CutAway`] when the event after `offset` is kept no longer, or the offset is above the top.
    pub fn read(
        &self,
        offset: u64,
        visible: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Publication>, CutAway> {
        if !self.continues(offset) {
            return Err(CutAway);
        }
        let skip = self.events.len() - (self.top - offset) as usize;
        let mut publications = Vec::new();
        let mut bytes = 0;
        for (offset, event) in (offset + 1..=visible).zip(self.events.iter().skip(skip)).take(limit) {
            let data = event.to_string().into_bytes();
            bytes += data.len();
            if bytes > max_bytes && !publications.is_empty() {
                break;
            }
            publications.push(Publication { offset, data: data.into() });
        }
        Ok(publications)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn log(events: u64) -> Log {
        let mut log = Log::default();
        for number in 1..=events {
            assert_eq!(log.push(json!(number)), number);
        }
        log
    }

    fn offsets(log: &Log, after: u64, visible: u64, limit: usize, bytes: usize) -> Result<Vec<u64>, CutAway> {
        Ok(log
            .read(after, visible, limit, bytes)?
            .into_iter()
            .map(|publication| publication.offset)
            .collect())
    }

    #[test]
    fn the_last_events_are_kept_and_a_position_before_them_is_cut_away() {
        let log = log(300);
        assert_eq!(log.top(), 300);
        assert_eq!(offsets(&log, 43, 300, 1000, 1 << 20), Err(CutAway));
        assert_eq!(offsets(&log, 44, 300, 1000, 1 << 20), Ok((45..=300).collect()));
        assert_eq!(offsets(&log, 300, 300, 9, 9), Ok(vec![]));
        assert_eq!(offsets(&log, 301, 301, 9, 9), Err(CutAway));
        let first = log.read(44, 300, 1, 1).unwrap();
        assert_eq!(first[0].data.as_ref(), b"45");
    }

    #[test]
    fn what_is_not_durable_stays_hidden_and_pieces_are_bounded() {
        let log = log(10);
        assert_eq!(offsets(&log, 2, 5, 100, 1 << 20), Ok(vec![3, 4, 5]));
        assert_eq!(offsets(&log, 2, 1, 100, 1 << 20), Ok(vec![]));
        assert_eq!(offsets(&log, 0, 10, 3, 1 << 20), Ok(vec![1, 2, 3]));
        assert_eq!(offsets(&log, 0, 10, 100, 2), Ok(vec![1, 2]), "about so many bytes");
        assert_eq!(offsets(&log, 9, 10, 100, 0), Ok(vec![10]), "one even if larger");
        assert_eq!(offsets(&Log::default(), 0, 0, 9, 9), Ok(vec![]));
    }

    #[test]
    fn names_are_channels() {
        for (name, channel) in [
            ("tasks", Some(Channel::Tasks)),
            ("members", Some(Channel::Members)),
            ("task:a", Some(Channel::Task("a".into()))),
            ("conversation:a:b", Some(Channel::Conversation("a:b".into()))),
            ("node", None),
            ("other:a", None),
            ("", None),
        ] {
            assert_eq!(Channel::from_name(name), channel, "{name}");
        }
    }
}
