//! The mode of an agent's session: what it was asked to be, and what the agent made of it. Pure; a part of the fold.

use super::{Agent, MESSAGES, What};
use crate::record::{ModeNews, ModeSaid, ModeSet};
use serde::{Deserialize, Serialize};

/// A mode that the agent was asked to go into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The message that asks for it.
    pub number: u64,
    /// The mode in use if it refuses.
    pub before: String,
}

impl Agent {
    /// It is asked to go into a mode, which counts as the one in use unless it refuses.
    pub fn ask_mode(&mut self, set: &ModeSet) {
        let before = self.mode().map(str::to_owned);
        let Some(worker) = self.worker_mut(&set.spawn_id) else { return };
        worker.consumed(set.consumed);
        worker.send(set.number, What::Mode(set.mode.clone()));
        if let Some(before) = before {
            if worker.modes_asked.len() == MESSAGES {
                // One that answers none of them does not make the state grow.
                worker.modes_asked.remove(0);
            }
            worker.modes_asked.push(Asked { number: set.number, before });
        }
        self.set_mode(&set.mode);
    }

    /// It said something about its mode.
    pub fn mode_said(&mut self, said: &ModeSaid) {
        let Some(worker) = self.worker_mut(&said.spawn_id) else { return };
        worker.mode_seen = worker.mode_seen.max(said.seq);
        let mode = match &said.news {
            ModeNews::Is { mode } => match worker.modes_asked.first_mut() {
                None => Some(mode.clone()),
                // What it was asked for comes behind it.
                Some(asked) => {
                    asked.before.clone_from(mode);
                    None
                }
            },
            ModeNews::Accepted { number } => {
                worker.modes_asked.retain(|asked| asked.number != *number);
                None
            }
            ModeNews::Refused { number } => {
                let Some(at) = worker.modes_asked.iter().position(|asked| asked.number == *number) else {
                    return;
                };
                let before = worker.modes_asked.remove(at).before;
                match worker.modes_asked.get_mut(at) {
                    None => Some(before),
                    Some(next) => {
                        next.before = before;
                        None
                    }
                }
            }
        };
        if let Some(mode) = mode {
            self.set_mode(&mode);
        }
    }

    fn mode(&self) -> Option<&str> {
        Some(self.session.as_ref()?.modes.as_ref()?.current_mode_id.as_str())
    }

    fn set_mode(&mut self, mode: &str) {
        if let Some(modes) = self.session.as_mut().and_then(|session| session.modes.as_mut()) {
            modes.current_mode_id = mode.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acp::modes::Modes;
    use crate::agent::Session;

    /// A ready agent in mode `a` that is asked for these, by messages from 16 on.
    fn asked(modes: &[&str]) -> Agent {
        let mut agent = Agent::default();
        agent.order("w", 1, 0).ready = true;
        let modes_of = Modes { current_mode_id: "a".into(), available_modes: Vec::new() };
        let (id, modes_of) = ("s".to_owned(), Some(modes_of));
        agent.session = Some(Session { id, resumable: false, resumed: false, lost: false, modes: modes_of });
        for (number, mode) in (16..).zip(modes) {
            let (task, spawn_id, mode) = ("x".to_owned(), "w".to_owned(), (*mode).to_owned());
            agent.ask_mode(&ModeSet { task, spawn_id, mode, number, consumed: 0 });
        }
        agent
    }

    fn after(mut agent: Agent, news: &[ModeNews]) -> String {
        for (seq, news) in (1..).zip(news) {
            let (task, spawn_id) = ("x".to_owned(), "w".to_owned());
            agent.mode_said(&ModeSaid { task, spawn_id, seq, news: news.clone() });
        }
        assert_eq!(agent.worker.as_ref().unwrap().mode_seen, news.len() as u64);
        agent.mode().unwrap().to_owned()
    }

    #[test]
    fn the_mode_in_use_is_the_last_that_was_asked_for_and_not_refused_or_that_the_agent_went_into() {
        let is = |mode: &str| ModeNews::Is { mode: mode.to_owned() };
        let yes = |number| ModeNews::Accepted { number };
        let no = |number| ModeNews::Refused { number };
        let table: [(&[&str], &[ModeNews], &str); 11] = [
            (&[], &[is("b")], "b"),
            (&["b"], &[], "b"),
            (&["b"], &[yes(16)], "b"),
            (&["b"], &[no(16)], "a"),
            (&["b"], &[is("c"), no(16)], "c"),
            (&["b"], &[is("b"), yes(16), is("c")], "c"),
            (&["b", "c"], &[no(16)], "c"),
            (&["b", "c"], &[no(17)], "b"),
            (&["b", "c"], &[no(16), no(17)], "a"),
            (&["b", "c"], &[yes(16), no(17)], "b"),
            (&["b"], &[no(99), no(16), no(16)], "a"),
        ];
        for (modes, news, expected) in table {
            assert_eq!(after(asked(modes), news), expected, "{modes:?} {news:?}");
        }
    }

    #[test]
    fn an_agent_that_answers_nothing_is_not_remembered_without_end() {
        let agent = asked(&["b"; MESSAGES * 2]);
        assert_eq!(agent.worker.unwrap().modes_asked.len(), MESSAGES);
    }
}
