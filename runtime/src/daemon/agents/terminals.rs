//! Commands that agents have run for them: each is a worker of its own, so it outlives runtimes as they do. What is
//! asked about one is answered from its spool by whichever runtime is active.

use super::super::Event;
use super::super::active::Active;
use crate::acp::answer::{Refusal, done};
use crate::acp::line::RequestId;
use crate::acp::outgoing;
use crate::acp::terminal::{self, Command, Terminal};
use crate::agent::{Agent, StandingWorker, TERMINALS, TerminalWorker, Wait, terminal_name};
use crate::io::files;
use crate::io::served::Served;
use crate::io::terminals::{Seen, ended, exit, is_lost, look};
use crate::record::{Body, RequestTaken, TerminalAsked, TerminalDeed, TerminalExited};
use crate::task::Task;
use holdfast_shared::home::Home;
use holdfast_shared::supervisor_control::{self, SpawnWorker};
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;

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
    let mut ends = worker.waiting.iter().filter(|wait| !wait.creating);
    ends.any(|wait| !has_ended(served, agent, &wait.terminal))
}

impl Active {
    /// Asks for the commands that are wanted and of which it is not known yet whether they run; whether it is known of one
    /// at once.
    pub(super) fn create_terminals(&mut self, id: &str) -> bool {
        let (worker, wanted) = {
            let served = self.shared.borrow();
            let task = served.folded.state.task(id);
            let agent = task.and_then(|task| task.agent.as_ref());
            let Some(agent) = agent else { return false };
            let Some(worker) = agent.worker.as_ref() else { return false };
            let wanted = worker.waiting.iter().filter(|wait| wait.creating && !wait.called_off);
            let unknown = wanted.filter(|wait| !self.is_answered(&worker.spawn_id, wait.seq));
            let placed = unknown.map(|wait| (wait.clone(), agent.terminal(&wait.terminal).is_some()));
            (worker.spawn_id.clone(), placed.collect::<Vec<(Wait, bool)>>())
        };
        let mut known = false;
        for (wait, is_placed) in wanted {
            let Some(name) = RequestId::new(&wait.id) else { continue };
            if let Some(answer) = self.answer_to(id, &worker, (wait.seq, &name), None) {
                let held = self.agents.entry(worker.clone()).or_default();
                held.answers.insert(wait.seq, answer);
                // What was to run cannot be read any more: the place is given back before the agent hears of it.
                if is_placed {
                    held.in_vain.insert(wait.seq);
                    self.look_at.insert(id.to_owned());
                }
                known = true;
            }
        }
        known
    }

    /// Whether it is known what answers this request, and the agent may hear of it.
    fn is_answered(&self, worker: &str, seq: u64) -> bool {
        let held = self.agents.get(worker);
        held.is_some_and(|held| held.answers.contains_key(&seq) && !held.in_vain.contains(&seq))
    }

    /// The first wait for a command that is over, or that the agent has withdrawn.
    pub(super) fn next_exit(&self, task: &Task, worker: &StandingWorker, consumed: u64) -> Option<Body> {
        let served = self.shared.borrow();
        let agent = task.agent.as_ref()?;
        let dialogue = served.spools.dialogue(&worker.spawn_id);
        let withdrawn = |wait: &Wait| {
            let id = RequestId::new(&wait.id);
            id.zip(dialogue).is_some_and(|(id, dialogue)| dialogue.is_withdrawn(wait.seq, &id.canonical()))
        };
        let over = |wait: &&Wait| match wait.creating {
            true => wait.called_off || self.is_answered(&worker.spawn_id, wait.seq),
            false => has_ended(&served, agent, &wait.terminal) || withdrawn(wait),
        };
        let over = worker.waiting.iter().find(over)?;
        let said = if over.creating { Body::TerminalSettled } else { Body::TerminalExited };
        Some(said(TerminalExited {
            task: task.id.clone(),
            spawn_id: worker.spawn_id.clone(),
            seq: over.seq,
            number: worker.next,
            consumed,
            withdrawn: !over.creating && !has_ended(&served, agent, &over.terminal),
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
                let seen = self.seen_of(&known.spawn_id);
                match asked {
                    Terminal::Output(_) => {
                        self.answer_later(task, worker, (seq, id), move || look(&home, &known, seen));
                    }
                    _ => self.answer_later(task, worker, (seq, id), move || Ok(ended(&home, &known, seen))),
                }
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
        let (home, skill, workspace) = {
            let served = self.shared.borrow();
            let of = served.folded.state.task(task);
            let skill = of.map(|task| task.skill.clone()).unwrap_or_default();
            (served.home.clone(), skill, of.and_then(|task| task.workspace.clone()))
        };
        let called_off = Rc::new(Cell::new(false));
        self.creating.insert(known.spawn_id.clone(), called_off.clone());
        let (spawn, events) = (self.workers.spawner(), self.events.clone());
        let (task, spawn_id, id) = (task.to_owned(), worker.to_owned(), id.clone());
        let (name, directory) = (task.clone(), command.cwd.clone());
        let command = command.clone();
        tokio::task::spawn_local(async move {
            let look = move || beneath(&home, (&name, workspace.as_deref()), directory.as_deref());
            let cwd = tokio::task::spawn_blocking(look).await;
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

    /// What was read of a command's spool; `None` where it is not followed, or its end is not known.
    fn seen_of(&self, terminal: &str) -> Option<Seen> {
        let served = self.shared.borrow();
        let is_sound = served.spools.follows(terminal) && !served.spools.is_damaged(terminal);
        is_sound.then(|| Seen {
            index: served.spools.index_of(terminal).to_vec(),
            exit: served.spools.exit(terminal).map(exit),
        })
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
}

/// The record that a request is taken, with what it does about terminals. The message that answers it is decided on when
/// the command has ended, or is known to run: until then others go first.
pub(super) fn taken(mut taken: RequestTaken, deed: Option<TerminalDeed>) -> Body {
    if let Some(TerminalDeed::Create { bytes }) = deed {
        let RequestTaken { task, spawn_id, seq, id, consumed, .. } = taken;
        return Body::TerminalAsked(TerminalAsked { task, spawn_id, seq, id, consumed, bytes });
    }
    if matches!(deed, Some(TerminalDeed::Wait { .. })) {
        taken.number = 0;
    }
    taken.terminal = deed;
    Body::RequestTaken(taken)
}

/// Where a command is to start, relative to the workspace of this id.
fn beneath(
    home: &Home,
    (task, known): (&str, Option<&str>),
    directory: Option<&str>,
) -> Result<String, Refusal> {
    let workspace = files::own_workspace(home, task, known)?;
    let Some(directory) = directory else { return Ok(String::new()) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{KINDS, PermissionsPending, Record};
    use holdfast_shared::journal::takeover::{Refused, check_successor};

    /// What is read by releases that take each command which is asked for as answered by the message in its record, and do
    /// not count questions.
    fn read_before() -> Vec<&'static str> {
        let later = ["permissions.pending", "terminal.asked", "terminal.settled"];
        KINDS.iter().copied().filter(|kind| !later.contains(kind)).collect()
    }

    fn refused(body: Body) -> Result<(), Refused> {
        let new = Record::new(1, body).encode();
        assert!(new.must_understand, "{}", new.kind);
        let in_journal = std::iter::once(new.kind.into_owned()).collect();
        check_successor(2, 1, &in_journal, &read_before())
    }

    #[test]
    fn a_command_or_a_question_that_was_asked_is_refused_by_releases_that_would_misread_it() {
        let request = RequestTaken {
            task: "x".into(),
            spawn_id: "w-1-2".into(),
            seq: 7,
            id: "1".into(),
            number: 16,
            consumed: 15,
            terminal: None,
        };
        let unknown = |kind: &str| Err(Refused::MustUnderstand { kind: kind.to_owned() });
        let command = taken(request.clone(), Some(TerminalDeed::Create { bytes: 9 }));
        assert_eq!(refused(command), unknown("terminal.asked"));
        let pending = PermissionsPending { task: "x".into(), spawn_id: "w-1-2".into(), pending: 1 };
        assert_eq!(refused(Body::PermissionsPending(pending)), unknown("permissions.pending"));
        for earlier in [None, Some(TerminalDeed::Wait { terminal: "w-1-2-t5".into() })] {
            assert_eq!(refused(taken(request.clone(), earlier)), Ok(()));
        }
    }

    #[test]
    fn every_kind_is_demanded_of_a_release_that_an_operator_goes_back_to_written_or_not() {
        let demanded = crate::abilities::abilities().must_understand;
        assert!(KINDS.iter().all(|kind| demanded.iter().any(|one| one == kind)), "{demanded:?}");
    }
}
