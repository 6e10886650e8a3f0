//! What running turns need: their workers, their seals, the next prompt, their files.

use super::active::Active;
use super::{Event, RunError, now_ms};
use crate::channels::Channel;
use crate::io::filing::{self, FilingError};
use crate::io::served::Served;
use crate::io::workers::wanted;
use crate::order::{spawn_id, turn_started};
use crate::record::{self, Body, Record};
use crate::span::StopReason;
use crate::task::Standing;
use crate::turn::{self, TurnAction, TurnEvent};
use crate::workers::{Action, reconcile};
use holdfast_shared::error::Code;
use holdfast_shared::worker::Exit;

/// Of the journal's reserve for one message to a worker: its inbox, or a directory's block.
const MESSAGE_ROOM_BYTES: u64 = 64 * 1024;

impl Active {
    pub(super) fn look_at_task(&mut self, id: &str) -> Result<(), RunError> {
        if self.undurable.contains_key(id) {
            return Ok(());
        }
        if self.shared.borrow().folded.state.task(id).is_some_and(|task| task.agent.is_some()) {
            return self.look_at_agent(id);
        }
        // A task needs a step or two: an action, then what became of it.
        for _ in 0..crate::turn::ORDERS_PER_TURN {
            let Some(action) = self.next_action(id) else { break };
            match (action == Action::Spawn).then(|| self.workspace_is_own(id)) {
                None | Some(Some(true)) => {}
                Some(Some(false)) => continue,
                Some(None) => break,
            }
            if !self.carry_out(id, action)? || self.undurable.contains_key(id) {
                break;
            }
        }
        self.start_queued(id)?;
        self.file_oldest(id);
        Ok(())
    }

    /// Files the oldest sealed span, away from the loop; answered by [`Event::Filed`].
    pub(super) fn file_oldest(&mut self, id: &str) {
        if self.undurable.contains_key(id) || self.filing.contains(id) {
            return;
        }
        let served = self.shared.borrow();
        let oldest = served.folded.state.task(id).and_then(|task| task.conversation.unfiled.first());
        let Some(span) = oldest.cloned() else { return };
        self.filing.insert(id.to_owned());
        let (home, events, task, first) =
            (served.home.clone(), self.events.clone(), id.to_owned(), span.first);
        let (filings, permit) = (self.filings.clone(), self.writing.permit());
        tokio::task::spawn_local(async move {
            // Never closed.
            let _turn = filings.acquire().await;
            let filing = move || filing::file(&home, &span, filing::CONVERSATION_BYTES_MAX, &permit);
            let filed = tokio::task::spawn_blocking(filing).await;
            let ok = matches!(filed, Ok(Ok(_)));
            if let Ok(Err(error)) = filed
                && !matches!(error, FilingError::Fenced)
            {
                tracing::error!(%error, task, "ended turn cannot be filed; tried again later");
            }
            let _sent = events.send(Event::Filed { task, first, ok }).await;
        });
    }

    pub(super) fn filed(&mut self, task: String, first: u64, ok: bool) {
        self.filing.remove(&task);
        if !ok {
            // Tried again with the next tick.
            return;
        }
        self.shared.borrow_mut().history.filed(&task, first);
        let body = Body::SpanFiled(record::SpanFiled { task: task.clone(), first });
        match self.write(&Record::new(now_ms(), body)) {
            Ok(Some(_)) => {
                if let Some(view) = &self.shared.borrow().view {
                    view.filed(&task, first);
                }
            }
            // A full queue: filing again writes the same file.
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the journal does not take a record"),
        }
    }

    pub(super) fn next_action(&mut self, id: &str) -> Option<Action> {
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let task = served.folded.state.tasks.get(id)?;
        let wanted = wanted(task)?;
        let before = served.spools.outputs(&wanted.spawn_id);
        let observed = self.workers.observe(&wanted, &mut served.spools);
        if served.spools.outputs(&wanted.spawn_id) > before {
            self.news.insert(Channel::Conversation(id.to_owned()));
        }
        match observed {
            Ok(observed) => reconcile(&wanted, &observed),
            Err(error) => {
                tracing::error!(%error, task = id, "worker cannot be looked at");
                None
            }
        }
    }

    /// Carries an action out; whether there may be another at once.
    pub(super) fn carry_out(&mut self, id: &str, action: Action) -> Result<bool, RunError> {
        let Some((worker, done)) = ({
            let served = self.shared.borrow();
            let task = served.folded.state.task(id);
            task.and_then(|task| task.worker().map(|worker| (task, worker))).map(|(task, worker)| {
                if action == Action::Spawn {
                    self.workers.spawn(task);
                }
                worker.to_owned()
            })
        })
        .map(|worker| {
            let done = match action {
                Action::Abandon => self.workers.abandon(&worker),
                Action::TellEnd(number) => self.workers.tell_end(&worker, number),
                Action::Spawn | Action::Turn(_) => Ok(()),
            };
            (worker, done)
        }) else {
            return Ok(false);
        };
        if let Err(error) = done {
            tracing::error!(%error, worker, "worker cannot be told");
            if error.is_disk_full() {
                self.make_room_for_a_message();
            }
            return Ok(false);
        }
        match action {
            Action::Turn(event) => self.turn(id, &worker, event).map(|()| false),
            _ => Ok(true),
        }
    }

    /// What may be filling the disk is to be told to end; it is told again with the next tick.
    pub(super) fn make_room_for_a_message(&self) {
        let journal = self.writing.permit();
        // Answered by the journal's thread, which may be waiting for this loop.
        tokio::task::spawn_blocking(move || journal.use_reserve(MESSAGE_ROOM_BYTES));
    }

    /// What an event of a running turn leads to is journaled.
    fn turn(&mut self, id: &str, worker: &str, event: TurnEvent) -> Result<(), RunError> {
        let body = {
            let served = self.shared.borrow();
            let Some(running) = served.folded.state.task(id).and_then(|task| task.running.as_ref()) else {
                return Ok(());
            };
            let Ok((_, actions)) = turn::step(running.state, event) else {
                tracing::error!(task = id, ?event, state = ?running.state, "turn cannot take this");
                return Ok(());
            };
            let (task, turn) = (id.to_owned(), running.turn.clone());
            match actions.first() {
                Some(TurnAction::OrderAgain) => {
                    let (epoch, lsn) = self.writing.next();
                    let (spawn_id, numbers, same_try) = (spawn_id(epoch, lsn), None, false);
                    Body::OrderRetried(record::OrderRetried { task, turn, spawn_id, numbers, same_try })
                }
                Some(TurnAction::Seal(reason)) => {
                    // Nothing of it may be gone after the seal; looked at again once it is durable.
                    let (segment, outputs) =
                        (served.spools.last_segment(worker), served.spools.outputs(worker));
                    if !self.workers.synced_for_seal(id, worker, segment, outputs, outputs) {
                        return Ok(());
                    }
                    Body::TurnSealed(self.sealed(&served, task, turn, worker, *reason, event))
                }
                _ => return Ok(()),
            }
        };
        // A full queue: this is looked at again with the next tick.
        if self.write(&Record::new(now_ms(), body))?.is_some() {
            self.workers.forget(worker);
            self.agents.remove(worker);
            self.shared.borrow_mut().spools.leave(worker);
        }
        Ok(())
    }

    fn sealed(
        &self,
        served: &Served,
        task: String,
        turn: String,
        worker: &str,
        stop_reason: StopReason,
        event: TurnEvent,
    ) -> record::TurnSealed {
        let errored =
            (stop_reason == StopReason::Failed).then(|| self.start_failure(worker, event)).flatten();
        let exit: Option<Exit> = served.spools.exit(worker);
        let outputs = served.spools.outputs(worker);
        let (exit_code, agent) = (exit.map(turn::exit_code), None);
        let code = match stop_reason {
            _ if errored.is_some() => Some(Code::BootstrapFailed),
            StopReason::Interrupted => Some(Code::WorkerDead),
            StopReason::Limit if exit.is_some_and(turn::is_out_of_time) => Some(Code::WorkerDead),
            StopReason::Limit => Some(Code::OutputLimit),
            _ => None,
        };
        let code = code.map(|code| code.as_str().to_owned());
        record::TurnSealed { task, turn, stop_reason, exit_code, outputs, errored, code, agent }
    }

    fn start_failure(&self, worker: &str, event: TurnEvent) -> Option<String> {
        match event {
            TurnEvent::NeverStarted(orders) => Some(format!("no worker started in {orders} tries")),
            TurnEvent::Refused => Some(self.workers.refusal(worker).unwrap_or_default()),
            _ => None,
        }
    }

    /// The first prompt that waits begins once nothing runs before it.
    pub(super) fn start_queued(&mut self, id: &str) -> Result<(), RunError> {
        let body = {
            let served = self.shared.borrow();
            let Some(task) = served.folded.state.task(id) else { return Ok(()) };
            if task.running.is_some() || task.standing != Standing::Open {
                return Ok(());
            }
            let Some(first) = task.queue.front() else { return Ok(()) };
            let (turn, text) = (first.turn.clone(), first.text.clone());
            Body::TurnStarted(turn_started(task, turn, text, self.writing.next()))
        };
        self.write(&Record::new(now_ms(), body)).map(drop)
    }
}
