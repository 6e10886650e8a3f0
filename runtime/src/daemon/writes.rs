//! What the active runtime writes into its journal: decided on, submitted and applied at once; what waits for it leaves
//! when it is durable.

use super::active::Active;
use super::agents::{may_be_warm, warm_order};
use super::reads::{answer_read, decide};
use super::{IncomingCall, RunError, fresh_epoch, now_ms};
use crate::channels::Channel;
use crate::commands::{self, Decision, Given};
use crate::io::journal::Fatal;
use crate::io::served::Waiting;
use crate::record::{Body, Record};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::journal::{Position, SubmitError, WriteError};
use serde_json::Value;
use std::rc::Rc;

impl Active {
    /// Decides on a call; its answer waits for the disk.
    pub fn call(&mut self, call: IncomingCall) -> Result<(), RunError> {
        let given = Given {
            now_ms: now_ms(),
            next: self.writing.next(),
            fresh_epoch: fresh_epoch(),
            // A probe's link bears no epoch: it may only read.
            active: call.link.is_route() && !self.shared.borrow().fencing,
            storage_full: self.writing.storage_full(),
            no_room: (call.method == commands::PROMPT).then(|| self.no_room()).flatten(),
            switch_timeout_ms: self.settings.switch_timeout_ms,
        };
        let decided = decide(&self.shared.borrow(), &call, &given);
        match decided {
            Ok(Decision::Write(record)) => self.command(&call, &record),
            Ok(Decision::Answer { result, lsn }) if lsn > 0 => {
                self.answer(&call, result, lsn);
                Ok(())
            }
            decided => {
                answer_read(&self.shared, &call, decided);
                Ok(())
            }
        }
    }

    fn command(&mut self, call: &IncomingCall, record: &Record) -> Result<(), RunError> {
        if self.shared.borrow().outbound.full() {
            call.link.reply(call.id, Err(busy()));
            return Ok(());
        }
        let order = self.order_with(record);
        let both: Vec<&Record> = [record].into_iter().chain(&order).collect();
        match self.try_write(&both)? {
            Written::At(lsn) => {
                let result = record.command.as_ref().map_or(Value::Null, |command| command.answer.clone());
                self.answer(call, result, lsn);
            }
            Written::Full => call.link.reply(call.id, Err(busy())),
            Written::Unfit(error) => {
                call.link.reply(call.id, Err(ApiError::new(Code::InvalidRequest, error.to_string())));
            }
        }
        Ok(())
    }

    fn answer(&mut self, call: &IncomingCall, result: Value, lsn: u64) {
        let waiting = Waiting { link: Rc::downgrade(&call.link), id: call.id, result };
        if let Some(waiting) = self.shared.borrow_mut().outbound.answer(lsn, waiting) {
            call.link.reply(waiting.id, Ok(&waiting.result));
        }
    }

    /// Submits and applies a record. `None`: nothing happened; the journal's queue is full, or the record is too long
    /// because of what an agent said, which is the end of that agent.
    pub(super) fn write(&mut self, record: &Record) -> Result<Option<u64>, RunError> {
        match self.try_write(&[record])? {
            Written::At(lsn) => Ok(Some(lsn)),
            Written::Full => Ok(None),
            Written::Unfit(error) => match self.blame_agent(record, &error) {
                true => Ok(None),
                false => Err(Fatal(error).into()),
            },
        }
    }

    /// Submits records as one batch, and applies them; the first one's number.
    fn try_write(&mut self, records: &[&Record]) -> Result<Written, RunError> {
        let first = match self.writing.submit(records) {
            Ok(first) => first,
            Err(SubmitError::Full(_)) => return Ok(Written::Full),
            Err(SubmitError::Unfit(error)) => return Ok(Written::Unfit(error)),
            Err(SubmitError::Gone) => return Err(Fatal(WriteError::Poisoned).into()),
        };
        for (lsn, record) in (first..).zip(records) {
            self.apply(lsn, record);
        }
        Ok(Written::At(first))
    }

    fn apply(&mut self, lsn: u64, record: &Record) {
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let placed = served.folded.state.take(lsn, record);
        served.folded.position.epoch = self.writing.epoch;
        served.folded.position.lsn = lsn;
        for one in placed {
            served.outbound.placed(one.channel.clone(), one.offset, lsn);
            self.news.insert(one.channel);
        }
        self.surplus_due |= matches!(record.body, Body::SessionReady(_));
        if let Some(task) = record.body.task() {
            self.look_at.insert(task.to_owned());
            self.untold.push_back((lsn, task.to_owned()));
            if has_effect(&record.body) {
                self.undurable.insert(task.to_owned(), lsn);
            }
        }
    }

    /// The worker that a switch wants where none stands: ordered in the same batch, which is one wait for the disk and
    /// not two. Without it the next look would order it.
    fn order_with(&self, record: &Record) -> Option<Record> {
        let Body::TaskSwitching(switching) = &record.body else { return None };
        let served = self.shared.borrow();
        let task = served.folded.state.task(&switching.task).filter(|task| may_be_warm(task))?;
        let (epoch, lsn) = self.writing.next();
        Some(Record::new(record.at, warm_order(&task.id, epoch, lsn + 1)))
    }

    /// Everything up to `lsn` is durable: what waited for it may leave.
    pub fn release(&mut self, lsn: u64) {
        let ready = {
            let mut served = self.shared.borrow_mut();
            if let Some(view) = &served.view {
                view.reached(Position { epoch: self.writing.epoch, lsn });
            }
            served.outbound.advance(lsn)
        };
        for waiting in ready {
            if let Some(link) = waiting.link.upgrade() {
                link.reply(waiting.id, Ok(&waiting.result));
            }
        }
        let durable: Vec<String> =
            self.undurable.iter().filter(|(_, at)| **at <= lsn).map(|(task, _)| task.clone()).collect();
        for task in durable {
            self.undurable.remove(&task);
            self.look_at.insert(task);
        }
        self.remove_unused(lsn);
        while self.untold.front().is_some_and(|(at, _)| *at <= lsn) {
            let Some((_, task)) = self.untold.pop_front() else { break };
            self.news.insert(Channel::Conversation(task.clone()));
            self.news.insert(Channel::Task(task));
        }
        self.news.insert(Channel::Tasks);
    }
}

/// What became of a record.
enum Written {
    /// It is submitted and applied.
    At(u64),
    /// The journal's queue is full.
    Full,
    /// It is no record that the journal takes.
    Unfit(WriteError),
}

/// Whether something is done in the world because of it, or not done any more: that waits for the disk.
fn has_effect(body: &Body) -> bool {
    matches!(
        body,
        Body::TaskStopped(_)
            | Body::TurnStarted(_)
            | Body::TurnCancelled(_)
            | Body::OrderRetried(_)
            | Body::TurnSealed(_)
            | Body::WorkerOrdered(_)
            | Body::WorkspaceFixed(_)
            | Body::SessionReady(_)
            | Body::WorkerEnding(_)
            | Body::WorkerEnded(_)
            | Body::RequestTaken(_)
            | Body::PermissionAnswered(_)
            | Body::ModeSet(_)
            | Body::TerminalExited(_)
            | Body::TerminalGone(_)
            | Body::TerminalAsked(_)
            | Body::TerminalSettled(_)
    )
}

fn busy() -> ApiError {
    ApiError::new(Code::Busy, "the journal's queue is full")
}
