//! The mode of a session: what an agent says about it is journaled, whichever runtime reads it.

use super::super::RunError;
use super::super::active::Active;
use crate::acp::modes::Modes;
use crate::agent::StandingWorker;
use crate::agent::dialogue::Said;
use crate::record::{Body, ModeNews, ModeSaid};

impl Active {
    /// Journals what the agent said about its mode; whether there was something.
    pub(super) fn note_mode(&mut self, id: &str) -> Result<bool, RunError> {
        match self.next_mode(id) {
            Some(body) => self.journal(body),
            None => Ok(false),
        }
    }

    fn next_mode(&self, id: &str) -> Option<Body> {
        let served = self.shared.borrow();
        let agent = served.folded.state.task(id)?.agent.as_ref()?;
        let worker = agent.worker.as_ref().filter(|worker| worker.ready)?;
        let modes = agent.session.as_ref()?.modes.as_ref()?;
        let mut said = served.spools.dialogue(&worker.spawn_id)?.said_behind(worker.mode_seen);
        let (seq, news) = said.find_map(|(seq, said)| Some((seq, news(said, worker, modes)?)))?;
        let (task, spawn_id) = (id.to_owned(), worker.spawn_id.clone());
        Some(Body::ModeSaid(ModeSaid { task, spawn_id, seq, news }))
    }
}

/// What is worth a record: a mode that there is, and answers to whoever asked for one.
fn news(said: &Said, worker: &StandingWorker, modes: &Modes) -> Option<ModeNews> {
    match said {
        Said::Mode(mode) => modes.has(mode).then(|| ModeNews::Is { mode: mode.clone() }),
        Said::Answered { number, refused } => {
            let number = *number;
            let asked = worker.modes_asked.iter().any(|asked| asked.number == number);
            let news = if *refused { ModeNews::Refused { number } } else { ModeNews::Accepted { number } };
            asked.then_some(news)
        }
    }
}
