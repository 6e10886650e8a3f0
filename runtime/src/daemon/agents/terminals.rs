//! Commands that agents have run for them: each is a worker of its own, so it outlives runtimes as they do. What is
//! asked about one is answered from its spool by whichever runtime is active.

use super::super::active::Active;
use super::super::{Event, RunError};
use crate::acp::answer::{Refusal, done};
use crate::acp::line::RequestId;
use crate::acp::outgoing;
use crate::acp::terminal::{self, Command, Terminal};
use crate::agent::{Agent, StandingWorker, TERMINALS, TerminalWorker, terminal_name};
use crate::io::served::Served;
use crate::io::terminals::{lost, written};
use crate::io::workspace::Workspace;
use crate::record::{Body, RequestTaken, TerminalDeed, TerminalExited, TerminalGone};
use crate::task::Task;
use holdfast_shared::home::Home;
use holdfast_shared::inbox::Message;
use holdfast_shared::spool::is_locked;
use holdfast_shared::supervisor_control::{self, SpawnWorker};
use holdfast_shared::worker::{Protocol, Started};
use serde_json::Value;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

/// The one message that a command gets.
const KILL_MESSAGE: u64 = 1;

/// What is to be journaled about terminals with the request in this record.
pub(super) fn deed(agent: &Agent, asked: &Terminal) -> Option<TerminalDeed> {
    let known = |id: &str| agent.terminal(id).is_some();
    match asked {
        Terminal::Create(command) if agent.terminals.len() < TERMINALS => {
            Some(TerminalDeed::Create { bytes: command.output_bytes as u64 })
        }
        Terminal::WaitForExit(id) if known(id) => Some(TerminalDeed::Wait { terminal: id.clone() }),
        Terminal::Release(id) if known(id) => Some(TerminalDeed::Release { terminal: id.clone() }),
        _ => None,
    }
}

/// Whether a command has ended, as far as its files say; one that is not there any more has.
fn has_ended(served: &Served, agent: &Agent, terminal: &str) -> bool {
    let there = agent.terminals.iter().any(|one| one.spawn_id == terminal);
    let lost = || served.spools.follows(terminal) && is_lost(&served.home.worker(terminal));
    !there || served.spools.exit(terminal).is_some() || lost()
}

/// Whether a request of the worker waits for a command that has not ended.
pub(super) fn waits_for_command(served: &Served, task: &Task, worker: &StandingWorker) -> bool {
    let Some(agent) = &task.agent else { return false };
    worker.waiting.iter().any(|wait| !has_ended(served, agent, &wait.terminal))
}

/// Whether it ran, and its holder is gone. One whose holder is just starting is not lost.
fn is_lost(directory: &Path) -> bool {
    !is_locked(directory).unwrap_or(true) && Started::path(directory).exists()
}

impl Active {
    /// The first wait for a command that is over.
    pub(super) fn next_exit(&self, task: &Task, worker: &StandingWorker, consumed: u64) -> Option<Body> {
        let served = self.shared.borrow();
        let agent = task.agent.as_ref()?;
        let over = worker.waiting.iter().find(|wait| has_ended(&served, agent, &wait.terminal))?;
        Some(Body::TerminalExited(TerminalExited {
            task: task.id.clone(),
            spawn_id: worker.spawn_id.clone(),
            seq: over.seq,
            number: worker.next,
            consumed,
        }))
    }

    /// The answer to what is asked about a terminal; `None` while it is being found out.
    pub(super) fn terminal_answer(
        &mut self,
        task: &str,
        worker: &str,
        (seq, id): (u64, &RequestId),
        asked: &Terminal,
    ) -> Option<Vec<u8>> {
        let (home, known, full) = {
            let served = self.shared.borrow();
            let agent = served.folded.state.task(task).and_then(|task| task.agent.as_ref());
            let name = match asked {
                Terminal::Create(_) => terminal_name(worker, seq),
                Terminal::Output(id)
                | Terminal::WaitForExit(id)
                | Terminal::Kill(id)
                | Terminal::Release(id) => id.clone(),
            };
            let known = agent.and_then(|agent| agent.terminals.iter().find(|one| one.spawn_id == name));
            let full = agent.is_some_and(|agent| agent.terminals.len() >= TERMINALS);
            (served.home.clone(), known.cloned(), full)
        };
        if matches!(asked, Terminal::Release(_)) {
            // By its record it is on its way out, or gone already.
            return Some(outgoing::reply_result(id, &done()));
        }
        let Some(known) = known else {
            let refusal = match asked {
                Terminal::Create(_) if full => Refusal::internal("there are too many terminals"),
                // Another runtime has found out, and said so perhaps to nobody.
                Terminal::Create(_) => Refusal::internal("the command could not be started"),
                _ => Refusal::not_found("there is no such terminal"),
            };
            return Some(outgoing::reply_error(id, refusal.code, &refusal.message));
        };
        match asked {
            Terminal::Create(command) => self.create(task, worker, (seq, id), known, command),
            Terminal::Output(_) | Terminal::WaitForExit(_) => {
                let whole = matches!(asked, Terminal::Output(_));
                let look = move || look(&home, &known, whole);
                self.answer_later(task, worker, (seq, id), look);
            }
            Terminal::Release(_) => {}
            Terminal::Kill(_) => {
                self.kill(&known.spawn_id);
                return Some(outgoing::reply_result(id, &done()));
            }
        }
        None
    }

    /// Asks for the worker; repeated as often as the supervisor cannot say.
    fn create(
        &mut self,
        task: &str,
        worker: &str,
        (seq, id): (u64, &RequestId),
        known: TerminalWorker,
        command: &Command,
    ) {
        let (home, skill) = {
            let served = self.shared.borrow();
            let skill = served.folded.state.task(task).map(|task| task.skill.clone()).unwrap_or_default();
            (served.home.clone(), skill)
        };
        let called_off = Rc::new(Cell::new(false));
        self.creating.insert(known.spawn_id.clone(), called_off.clone());
        let (spawn, events) = (self.workers.spawner(), self.events.clone());
        let (task, spawn_id, id) = (task.to_owned(), worker.to_owned(), id.clone());
        let (name, directory) = (task.clone(), command.cwd.clone());
        let command = command.clone();
        tokio::task::spawn_local(async move {
            let cwd = tokio::task::spawn_blocking(move || beneath(&home, &name, directory.as_deref())).await;
            let cwd = cwd.unwrap_or_else(|error| Err(Refusal::internal(&error.to_string())));
            let created = match cwd {
                Err(refusal) => Err(refusal),
                Ok(cwd) => {
                    let request = SpawnWorker {
                        spawn_id: known.spawn_id.clone(),
                        skill,
                        version: String::new(),
                        task: task.clone(),
                        turn: String::new(),
                        epoch: spawn.epoch(),
                        prompt: String::new(),
                        terminal: Some(to_run(command, cwd)),
                    };
                    spawn.until_answered(&request, &called_off).await.map_err(|why| Refusal::internal(&why))
                }
            };
            let in_vain = created.is_err();
            let answer = match created {
                Ok(()) => outgoing::reply_result(&id, &terminal::created(&known.spawn_id)),
                Err(refusal) => outgoing::reply_error(&id, refusal.code, &refusal.message),
            };
            let served = Event::Served { task, spawn_id, seq, answer, in_vain };
            let _sent = events.send(served).await;
        });
    }

    fn answer_later(
        &self,
        task: &str,
        worker: &str,
        (seq, id): (u64, &RequestId),
        look: impl FnOnce() -> Result<Value, Refusal> + Send + 'static,
    ) {
        let (task, spawn_id, id) = (task.to_owned(), worker.to_owned(), id.clone());
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            let found = tokio::task::spawn_blocking(look).await;
            let found = found.unwrap_or_else(|error| Err(Refusal::internal(&error.to_string())));
            let answer = match found {
                Ok(result) => outgoing::reply_result(&id, &result),
                Err(refusal) => outgoing::reply_error(&id, refusal.code, &refusal.message),
            };
            let served = Event::Served { task, spawn_id, seq, answer, in_vain: false };
            let _sent = events.send(served).await;
        });
    }

    /// Ends a command and all its processes. One that has ended is told nothing.
    fn kill(&mut self, terminal: &str) {
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
            match served.spools.follow(name, &directory, Protocol::Command) {
                Ok(()) => drop(self.unread.insert(name.clone())),
                Err(error) => tracing::warn!(%error, terminal = name, "spool cannot be followed"),
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

/// The record that a request is taken, with what it does about terminals.
pub(super) fn taken(mut taken: RequestTaken, deed: Option<TerminalDeed>) -> Body {
    if matches!(deed, Some(TerminalDeed::Wait { .. })) {
        // Its message is decided on when the command has ended: until then others go first.
        taken.number = 0;
    }
    taken.terminal = deed;
    Body::RequestTaken(taken)
}

/// Where a command is to start, relative to the workspace.
fn beneath(home: &Home, task: &str, directory: Option<&str>) -> Result<String, Refusal> {
    let Some(directory) = directory else { return Ok(String::new()) };
    let workspace = Workspace::open(&home.workspaces(), task).map_err(|error| error.to_agent())?;
    let found = workspace.directory(directory).map_err(|error| error.to_agent())?;
    Ok(found.as_str().to_owned())
}

fn to_run(command: Command, cwd: String) -> supervisor_control::Terminal {
    let Command { command, args, env, .. } = command;
    let env = env.into_iter().collect();
    // Some agents give a whole line for a shell.
    if args.is_empty() && command.contains(char::is_whitespace) {
        let args = vec!["-c".to_owned(), command];
        return supervisor_control::Terminal { command: "/bin/sh".to_owned(), args, env, cwd };
    }
    supervisor_control::Terminal { command, args, env, cwd }
}

/// What a command wrote, or how it ended.
fn look(home: &Home, known: &TerminalWorker, whole: bool) -> Result<Value, Refusal> {
    let directory = home.worker(&known.spawn_id);
    let limit = usize::try_from(known.bytes).unwrap_or(usize::MAX);
    let failed = |error: holdfast_shared::spool::SpoolError| Refusal::internal(&error.to_string());
    let mut written = written(&directory, limit).map_err(failed)?;
    if written.exit.is_none() && is_lost(&directory) {
        written.exit = Some(lost());
    }
    match whole {
        true => Ok(terminal::output(&written.bytes, written.dropped, limit, written.exit.as_ref())),
        false => Ok(terminal::exited(&written.exit.unwrap_or_else(lost))),
    }
}
