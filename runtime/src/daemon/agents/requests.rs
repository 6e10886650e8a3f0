//! What agents ask for: taken by record, served away from the loop, answered by a message.

use super::super::active::Active;
use super::super::{Event, RunError};
use super::terminals;
use crate::acp::answer::{Asked, Refusal};
use crate::acp::line::RequestId;
use crate::acp::terminal::Terminal;
use crate::acp::{outgoing, permission};
use crate::agent::dialogue::Request;
use crate::agent::{StandingWorker, WAITS, terminal_name};
use crate::io::files;
use crate::io::served::Served;
use crate::record::{Body, PermissionAnswered, PermissionOutcome, RequestTaken, TerminalDeed};
use crate::task::Task;
use crate::turn::TurnState;

/// Whether the turn waits for somebody to answer a request for permission.
pub(super) fn waits_for_people(served: &Served, task: &Task, worker: &StandingWorker) -> bool {
    pending_permissions(served, task, worker).next().is_some()
}

/// Requests for permission of the running turn that are not answered.
pub(super) fn pending_permissions<'a>(
    served: &'a Served,
    task: &'a Task,
    worker: &'a StandingWorker,
) -> impl Iterator<Item = (u64, &'a Request)> {
    let in_turn = is_in_turn(served, task, worker);
    let dialogue = served.spools.dialogue(&worker.spawn_id).filter(|_| in_turn);
    let requests = dialogue.into_iter().flat_map(|dialogue| dialogue.requests_behind(worker.settled_to));
    let open = task.conversation.open.as_ref();
    requests.filter(move |(seq, request)| {
        request.permission().is_some() && open.is_some_and(|span| span.permission(*seq).is_none())
    })
}

/// The first of those that nobody is asked any more, and whether that is because the agent has withdrawn it.
fn over_permission<'a>(
    served: &'a Served,
    task: &'a Task,
    worker: &'a StandingWorker,
) -> Option<(u64, &'a Request, bool)> {
    let cancelling = task.running.as_ref().is_some_and(|running| running.state == TurnState::Cancelling);
    let dialogue = served.spools.dialogue(&worker.spawn_id)?;
    pending_permissions(served, task, worker).find_map(|(seq, request)| {
        let withdrawn = dialogue.is_withdrawn(seq, request.name());
        (cancelling || withdrawn).then_some((seq, request, withdrawn))
    })
}

/// What the worker says now belongs to the running turn.
fn is_in_turn(served: &Served, task: &Task, worker: &StandingWorker) -> bool {
    task.running.as_ref().is_some_and(|running| served.spools.turn(&worker.spawn_id) == running.turn)
}

impl Active {
    /// Journals which messages will answer what the agent asks for; whether there was something.
    pub(super) fn take_requests(&mut self, id: &str) -> Result<bool, RunError> {
        let mut taken = false;
        while let Some(body) = self.next_request(id) {
            if !self.journal(body)? {
                return Ok(false);
            }
            taken = true;
        }
        Ok(taken)
    }

    fn next_request(&self, id: &str) -> Option<Body> {
        let served = self.shared.borrow();
        let task = served.folded.state.task(id)?;
        let worker = task.agent.as_ref()?.worker.as_ref()?;
        let consumed = served.spools.consumed(&worker.spawn_id);
        if !worker.ready || worker.ending.is_some() || !worker.has_room(consumed) {
            return None;
        }
        if let (Some(running), Some((seq, request, withdrawn))) =
            (task.running.as_ref(), over_permission(&served, task, worker))
        {
            return Some(Body::PermissionAnswered(PermissionAnswered {
                task: id.to_owned(),
                turn: running.turn.clone(),
                spawn_id: worker.spawn_id.clone(),
                seq,
                id: request.id.as_json().to_owned(),
                number: worker.next,
                outcome: PermissionOutcome::Cancelled,
                option_id: None,
                by: None,
                withdrawn,
                after: served.known_outputs(id)?,
                consumed,
            }));
        }
        if let Some(over) = self.next_exit(task, worker, consumed) {
            return Some(over);
        }
        let in_turn = is_in_turn(&served, task, worker);
        let dialogue = served.spools.dialogue(&worker.spawn_id)?;
        let mut requests = dialogue.requests_behind(worker.taken_to);
        // People answer those of a turn; nobody is asked outside of one.
        let is_for_people = |seq| in_turn || seq <= worker.settled_to;
        let (seq, request) =
            requests.find(|(seq, request)| request.permission().is_none() || !is_for_people(*seq))?;
        let deed = match &request.asked {
            Ok(Asked::Terminal(asked)) => terminals::deed(task.agent.as_ref()?, asked),
            _ => None,
        };
        if matches!(deed, Some(TerminalDeed::Wait { .. })) && worker.waiting.len() >= WAITS {
            return None;
        }
        let request = RequestTaken {
            task: id.to_owned(),
            spawn_id: worker.spawn_id.clone(),
            seq,
            id: request.id.as_json().to_owned(),
            number: worker.next,
            consumed,
            terminal: None,
        };
        Some(terminals::taken(request, deed))
    }

    /// The text that answers a request which was taken, a wait for the end of the command `waited`, or what it says
    /// itself; `None` while it is being served.
    pub(super) fn answer_to(
        &mut self,
        task: &str,
        worker: &str,
        (seq, id): (u64, &RequestId),
        waited: Option<&str>,
    ) -> Option<Vec<u8>> {
        let held = self.agents.entry(worker.to_owned()).or_default();
        // It has its place back before the agent hears of it.
        if held.in_vain.contains(&seq) {
            return None;
        }
        if let Some(answer) = held.answers.get(&seq) {
            return Some(answer.clone());
        }
        if held.serving.contains(&seq) {
            return None;
        }
        if let Some(terminal) = waited {
            let asked = Terminal::WaitForExit(terminal.to_owned());
            return self.answer_about_terminal(task, worker, (seq, id), &asked);
        }
        let served = self.shared.borrow();
        let request = served.spools.dialogue(worker).and_then(|dialogue| dialogue.request_at(seq));
        let refused = |refusal: &Refusal| Some(outgoing::reply_error(id, refusal.code, &refusal.message));
        let asked = match request.map(|request| &request.asked) {
            Some(Ok(asked)) => asked,
            Some(Err(refusal)) => return refused(refusal),
            None => return refused(&Refusal::internal("the request cannot be read any more")),
        };
        match asked {
            Asked::Permission(_) => Some(outgoing::reply_result(id, &permission::cancelled())),
            Asked::Unknown => refused(&Refusal::unknown_method("")),
            Asked::Terminal(asked) => {
                let asked = asked.clone();
                drop(served);
                self.answer_about_terminal(task, worker, (seq, id), &asked)
            }
            Asked::ReadFile { .. } | Asked::WriteFile { .. } => {
                held.serving.insert(seq);
                let (home, asked, name) = (served.home.clone(), asked.clone(), task.to_owned());
                let known = served.folded.state.task(task).and_then(|task| task.workspace.clone());
                let (events, spawn_id, id) = (self.events.clone(), worker.to_owned(), id.clone());
                let permit = self.writing.permit();
                tokio::task::spawn_local(async move {
                    let task = name.clone();
                    let serve = move || files::serve(&home, (&name, known.as_deref()), &asked, &permit);
                    let done = tokio::task::spawn_blocking(serve).await;
                    let done = done.unwrap_or_else(|error| Err(Refusal::internal(&error.to_string())));
                    let answer = match done {
                        Ok(result) => outgoing::reply_result(&id, &result),
                        Err(refusal) => outgoing::reply_error(&id, refusal.code, &refusal.message),
                    };
                    let _sent =
                        events.send(Event::Served { task, spawn_id, seq, answer, in_vain: false }).await;
                });
                None
            }
        }
    }

    fn answer_about_terminal(
        &mut self,
        task: &str,
        worker: &str,
        request: (u64, &RequestId),
        asked: &Terminal,
    ) -> Option<Vec<u8>> {
        let answer = self.terminal_answer(task, worker, request, asked);
        if answer.is_none() {
            self.agents.entry(worker.to_owned()).or_default().serving.insert(request.0);
        }
        answer
    }

    pub(in crate::daemon) fn request_served(
        &mut self,
        task: String,
        worker: &str,
        (seq, in_vain): (u64, bool),
        answer: Vec<u8>,
    ) {
        let terminal = terminal_name(worker, seq);
        if self.creating.remove(&terminal).is_some_and(|called_off| called_off.get()) {
            self.called_off.insert(terminal);
        }
        if let Some(held) = self.agents.get_mut(worker) {
            held.serving.remove(&seq);
            held.in_vain.extend(in_vain.then_some(seq));
            held.answers.insert(seq, answer);
        }
        self.look_at.insert(task);
    }
}
