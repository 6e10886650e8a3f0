//! Calls, for sessions and HTTP requests alike, and all answers.

use super::commands::split_command_id;
use super::{Effect, Exchange, Now, temporarily};
use crate::pending::{Asker, Call};
use crate::protocol::{self, CommandError};
use crate::reads::{ReadSpec, Reader};
use bytes::Bytes;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Caller;
use serde_json::value::RawValue;

/// A result on its way to whoever asked.
#[derive(Debug)]
pub enum Answer {
    /// Of a method.
    Rpc(Box<RawValue>),
    /// Of a history command: its fields.
    History(Vec<u8>),
}

/// What is said past a call's time.
pub(super) fn outcome(code: Code) -> ApiError {
    ApiError::new(
        code,
        match code {
            Code::OutcomePending => "not answered yet; it stays queued, ask again with the same command_id",
            _ => "not answered in time; it may or may not take effect",
        },
    )
}

/// What is said when there has been no runtime for long.
pub(super) fn unavailable() -> ApiError {
    temporarily("no runtime is serving; nothing was queued")
}

impl Exchange {
    /// An HTTP request calls a method.
    pub fn call_http(
        &mut self,
        ticket: u64,
        caller: Caller,
        method: &str,
        data: Option<&RawValue>,
        now: Now,
    ) {
        self.call(Asker::Http(ticket), caller, method, data, now);
    }

    /// An HTTP request's client is gone; what it commanded is still carried out.
    pub fn abandon(&mut self, ticket: u64) {
        self.pending.abandon(|asker| asker == Asker::Http(ticket));
        self.histories.retain(|_, history| history.asker != Asker::Http(ticket));
        self.forget_readers();
    }

    pub(super) fn call(
        &mut self,
        asker: Asker,
        caller: Caller,
        method: &str,
        data: Option<&RawValue>,
        now: Now,
    ) {
        if let Some(result) = self.own_method(method) {
            return self.answer(asker, result.map(Answer::Rpc));
        }
        let (params, given) = match split_command_id(data) {
            Ok(split) => split,
            Err(error) => return self.answer(asker, Err(error)),
        };
        if self.unavailable(now) {
            return self.answer(asker, Err(unavailable()));
        }
        let call = Call {
            asker: Some(asker),
            method: method.to_owned(),
            params,
            given: given.is_some(),
            command_id: given.unwrap_or_else(&mut self.make_id),
            caller,
            read_at: now.since_start,
        };
        let number = self.number();
        match self.pending.push(number, call) {
            Ok(()) => self.effects.push(Effect::WakeLink),
            Err(_) => {
                self.answer(asker, Err(ApiError::new(Code::Busy, "too many commands wait for an answer")))
            }
        }
    }

    /// The runtime answered a call.
    pub(super) fn replied(&mut self, number: u64, result: Result<Box<RawValue>, ApiError>) {
        if matches!(&result, Err(error) if error.code == Code::NotActive) {
            // It was fenced before it took this call; the next active runtime gets it.
            return;
        }
        if let Err(error) = &result
            && let Some((spec, readers)) = self.reads.answered(number)
        {
            return readers.into_iter().for_each(|reader| self.read_failed(&spec, reader, error));
        }
        let Some(call) = self.pending.answered(number) else { return };
        let Some(asker) = call.asker else { return };
        if let (Asker::Session { session, .. }, "task.switch", Ok(_)) = (asker, call.method.as_str(), &result)
            && let Some(session) = self.sessions.get_mut(&session)
        {
            session.focus = focus_of(&call.params);
        }
        self.answer(asker, result.map(Answer::Rpc));
    }

    /// Answers whoever asked; nothing happens when they are gone.
    pub(super) fn answer(&mut self, asker: Asker, result: Result<Answer, ApiError>) {
        match asker {
            Asker::Http(ticket) => {
                let result = result.map(|answer| match answer {
                    Answer::Rpc(value) => Bytes::from(Box::<str>::from(value).into_string()),
                    Answer::History(fields) => Bytes::from(fields),
                });
                self.effects.push(Effect::Answer { ticket, result });
            }
            Asker::Session { session: id, command } => {
                let reply = match result {
                    Ok(Answer::Rpc(value)) => protocol::rpc_reply(command, &value),
                    Ok(Answer::History(fields)) => history_reply(command, &fields),
                    Err(error) => protocol::error_reply(command, &CommandError::from(error)),
                };
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.answered(command, reply);
                    self.wake(id);
                }
            }
        }
    }

    pub(super) fn read(&mut self, spec: ReadSpec, reader: Reader) {
        let number = self.number();
        self.reads.ask(number, spec, reader);
        self.effects.push(Effect::WakeLink);
    }

    fn read_failed(&mut self, spec: &ReadSpec, reader: Reader, error: &ApiError) {
        match reader {
            Reader::History { asker, number } => {
                self.histories.remove(&number);
                self.answer(asker, Err(error.clone()));
            }
            Reader::Subscription { session, serial } => self.piece_failed(session, serial, spec, error),
        }
    }

    pub(super) fn forget_readers(&mut self) {
        let (sessions, histories) = (&mut self.sessions, &self.histories);
        self.reads.forget(|reader| match reader {
            Reader::History { number, .. } => !histories.contains_key(number),
            Reader::Subscription { session, serial } => {
                sessions.get_mut(session).is_none_or(|open| open.subscription(*serial).is_none())
            }
        });
    }
}

fn history_reply(command: u32, fields: &[u8]) -> Bytes {
    let mut text = format!(r#"{{"id":{command},"history":"#).into_bytes();
    text.extend_from_slice(fields);
    text.push(b'}');
    Bytes::from(text)
}

fn focus_of(params: &RawValue) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Focus {
        task: String,
    }
    serde_json::from_str::<Focus>(params.get()).ok().map(|focus| focus.task)
}
