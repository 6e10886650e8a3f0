//! The ends of agents' commands: followed, killed, and removed when nobody wants them any more.

use super::super::RunError;
use super::super::active::Active;
use crate::agent::{Agent, TerminalWorker, terminal_name};
use crate::record::{Body, TerminalGone};
use crate::workers::KnownRequests;
use holdfast_shared::inbox::Message;
use holdfast_shared::spool::is_locked;
use holdfast_shared::worker::Protocol;

/// The one message that a command gets.
const KILL_MESSAGE: u64 = 1;

impl Active {
    /// Ends a command and all its processes. One that has ended is told nothing.
    pub(super) fn kill(&mut self, terminal: &str) {
        let alive = {
            let served = self.shared.borrow();
            is_locked(&served.home.worker(terminal)).unwrap_or(false)
        };
        if alive
            && self.workers.told(terminal) < KILL_MESSAGE
            && let Err(error) = self.workers.tell(terminal, KILL_MESSAGE, &Message::Kill)
        {
            tracing::error!(%error, terminal, "command cannot be told to end");
        }
    }

    /// Follows the commands that have begun: their ends are news.
    fn follow_terminals(&mut self, id: &str) {
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let agent = served.folded.state.task(id).and_then(|task| task.agent.as_ref());
        for terminal in agent.into_iter().flat_map(|agent| &agent.terminals) {
            let (name, directory) = (&terminal.spawn_id, served.home.worker(&terminal.spawn_id));
            if terminal.released || served.spools.follows(name) || !directory.is_dir() {
                continue;
            }
            match served.spools.follow(name, &directory, Protocol::Command, &KnownRequests::default()) {
                Ok(()) => drop(self.unread.insert(name.clone())),
                Err(error) => tracing::warn!(%error, terminal = name, "spool cannot be followed"),
            }
        }
    }

    /// Twice a second: commands of which an agent was told that they run, and whose start has failed since, are given up.
    /// Nothing would ever end them for the agent.
    pub(in super::super) fn give_up_unbegun(&mut self) {
        let told = {
            let served = self.shared.borrow();
            let tasks =
                served.folded.state.tasks.values().filter(|task| !self.undurable.contains_key(&task.id));
            let told = tasks.flat_map(|task| {
                let agent = task.agent.iter();
                agent.flat_map(told_to_run).map(|terminal| (task.id.clone(), terminal.to_owned()))
            });
            let told = told.filter(|(_, terminal)| served.spools.exit(terminal).is_none());
            told.collect::<Vec<(String, String)>>()
        };
        for (task, terminal) in told {
            match self.workers.give_up_unbegun(&terminal) {
                Ok(false) => {}
                Ok(true) => drop(self.look_at.insert(task)),
                Err(error) => tracing::error!(%error, terminal, "command cannot be looked at"),
            }
        }
    }

    /// The commands that the agent's worker asked for and that do not run.
    fn in_vain(&self, agent: &Agent) -> Vec<String> {
        let Some(worker) = agent.worker.as_ref().map(|worker| worker.spawn_id.as_str()) else {
            return Vec::new();
        };
        let held = self.agents.get(worker);
        held.into_iter().flat_map(|held| &held.in_vain).map(|seq| terminal_name(worker, *seq)).collect()
    }

    /// Terminals that are released, were asked for in vain or called off, or whose agent is gone, are ended and removed.
    pub(super) fn keep_terminals(&mut self, id: &str) -> Result<(), RunError> {
        self.follow_terminals(id);
        let released: Vec<String> = {
            let served = self.shared.borrow();
            let agent = served.folded.state.task(id).and_then(|task| task.agent.as_ref());
            let terminals = agent.into_iter().flat_map(|agent| &agent.terminals);
            let in_vain = agent.map(|agent| self.in_vain(agent)).unwrap_or_default();
            let over = |one: &&TerminalWorker| {
                one.released || self.called_off.contains(&one.spawn_id) || in_vain.contains(&one.spawn_id)
            };
            terminals.filter(over).map(|one| one.spawn_id.clone()).collect()
        };
        for terminal in released {
            if let Some(asked) = self.creating.get(&terminal) {
                // What is asked may start it yet; the task is looked at again when that is known.
                asked.set(true);
                continue;
            }
            let home = self.shared.borrow().home.clone();
            if is_locked(&home.worker(&terminal)).unwrap_or(true) {
                self.kill(&terminal);
                continue;
            }
            // One that was asked for and comes late must not start any more.
            if let Err(error) = self.workers.abandon(&terminal) {
                tracing::error!(%error, terminal, "command cannot be given up");
                continue;
            }
            if is_locked(&home.worker(&terminal)).unwrap_or(true) {
                continue;
            }
            let gone = TerminalGone { task: id.to_owned(), terminal: terminal.clone() };
            if !self.journal(Body::TerminalGone(gone))? {
                return Ok(());
            }
            self.workers.forget(&terminal);
            if let Some((worker, seq)) = terminal.rsplit_once("-t")
                && let Some(held) = self.agents.get_mut(worker)
            {
                held.in_vain.retain(|one| one.to_string() != seq);
            }
            self.called_off.remove(&terminal);
            self.shared.borrow_mut().spools.leave(&terminal);
            self.remove_when_durable(&terminal);
        }
        Ok(())
    }
}

/// The commands of which an agent was told that they run, those that it has released aside.
fn told_to_run(agent: &Agent) -> impl Iterator<Item = &str> {
    let waiting = agent.worker.iter().flat_map(|worker| &worker.waiting);
    let creating: Vec<&str> =
        waiting.filter(|wait| wait.creating).map(|wait| wait.terminal.as_str()).collect();
    let kept = agent.terminals.iter().filter(|terminal| !terminal.released);
    kept.map(|terminal| terminal.spawn_id.as_str()).filter(move |name| !creating.contains(name))
}
