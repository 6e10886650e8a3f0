//! Calls that wait for an answer of the runtime, in order of arrival, with their time rules. Pure.
//!
//! A call is sent at once while routed, and again in this order to every runtime that becomes active, until
//! one answers. Whoever asked is answered in time whatever happens: see [`Pending::overdue`].

use crate::session::SessionId;
use holdfast_shared::error::Code;
use holdfast_shared::link::{Caller, ToRuntime};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// Calls queued at most, all sessions together: every session's share of 32 for 500 busy sessions. Past it
/// new ones are refused with `BUSY`.
pub const PENDING_CALLS: usize = 16_384;
/// Bytes of queued calls at most, all sessions together.
pub const PENDING_BYTES: usize = 64 * 1024 * 1024;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A session's command.
    Session {
        /// The session.
        session: SessionId,
        /// The command's number in it.
        command: u32,
    },
    /// An HTTP request.
    Http(u64),
}

/// A call as it was read.
#[derive(Debug)]
pub struct Call {
    /// Who waits; `None`: nobody any more, it is only to take effect.
    pub asker: Option<Asker>,
    /// Method.
    pub method: String,
    /// Parameters, without `command_id`.
    pub params: Box<RawValue>,
    /// Given by the client, or made.
    pub command_id: String,
    /// The client gave the id, so it can ask again.
    pub given: bool,
    /// In whose name.
    pub caller: Caller,
    /// When the sidecar read it, since its start.
    pub read_at: Duration,
}

impl Call {
    fn bytes(&self) -> usize {
        self.params.get().len() + self.method.len() + self.command_id.len()
    }
}

/// All calls without an answer.
#[derive(Debug, Default)]
pub struct Pending {
    /// By the number they have on the link, which grows with their arrival.
    calls: BTreeMap<u64, Call>,
    bytes: usize,
    /// Calls below this number were sent on the present link.
    sent_below: u64,
    /// Calls below this number have been looked at by [`Pending::overdue`].
    reminded_below: u64,
}

/// No room for another call.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Pending {
    /// Queues a call under a number above all before.
    ///
    /// # Errors
    /// [`Full`] past the bounds.
    pub fn push(&mut self, number: u64, call: Call) -> Result<(), Full> {
        if self.calls.len() >= PENDING_CALLS || self.bytes + call.bytes() > PENDING_BYTES {
            return Err(Full);
        }
        self.bytes += call.bytes();
        self.calls.insert(number, call);
        Ok(())
    }

    /// A new link: everything is to be sent again, in order of arrival.
    pub fn resend_all(&mut self) {
        self.sent_below = 0;
    }

    /// The next call to send.
    pub fn next_to_send(&mut self) -> Option<ToRuntime> {
        let (&id, call) = self.calls.range(self.sent_below..).next()?;
        self.sent_below = id + 1;
        Some(ToRuntime::Call {
            id,
            method: call.method.clone(),
            params: call.params.clone(),
            command_id: call.command_id.clone(),
            caller: call.caller.clone(),
        })
    }

    /// Whether there is something to send.
    pub fn has_unsent(&self) -> bool {
        self.calls.range(self.sent_below..).next().is_some()
    }

    /// The call has its answer.
    pub fn answered(&mut self, number: u64) -> Option<Call> {
        let call = self.calls.remove(&number)?;
        self.bytes -= call.bytes();
        Some(call)
    }

    /// Nobody waits for it any more; it stays queued.
    pub fn abandon(&mut self, gone: impl Fn(Asker) -> bool) {
        for call in self.calls.values_mut() {
            if call.asker.is_some_and(&gone) {
                call.asker = None;
            }
        }
    }

    /// Those read at or before `read_by` whose askers must now be told: `OUTCOME_PENDING` where the client
    /// gave an id (the call stays queued under it), else `OUTCOME_UNKNOWN` (it is forgotten).
    pub fn overdue(&mut self, read_by: Duration) -> Vec<(Asker, Code)> {
        let mut told = Vec::new();
        while let Some((&number, call)) = self.calls.range_mut(self.reminded_below..).next() {
            if call.read_at > read_by {
                break;
            }
            self.reminded_below = number + 1;
            let code = if call.given { Code::OutcomePending } else { Code::OutcomeUnknown };
            told.extend(call.asker.take().map(|asker| (asker, code)));
            if !call.given {
                self.answered(number);
            }
        }
        told
    }

    /// When the next call will be overdue: the time it was read.
    pub fn oldest_waiting(&self) -> Option<Duration> {
        self.calls.range(self.reminded_below..).next().map(|(_, call)| call.read_at)
    }

    /// Those still waited for, taken out: there is no runtime for too long. What was promised to stay queued
    /// under its id stays.
    pub fn give_up(&mut self) -> Vec<Asker> {
        let waiting: Vec<u64> =
            self.calls.iter().filter(|(_, call)| call.asker.is_some()).map(|(number, _)| *number).collect();
        waiting.into_iter().filter_map(|number| self.answered(number)?.asker).collect()
    }

    /// Calls queued.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none is queued.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::token::TokenRole;

    fn call(ticket: u64, given: bool, read_at_ms: u64) -> Call {
        Call {
            asker: Some(Asker::Http(ticket)),
            method: "task.open".into(),
            params: RawValue::from_string("{}".into()).unwrap(),
            command_id: format!("c{ticket}"),
            given,
            caller: Caller {
                principal: "operator".into(),
                role: TokenRole::Operator,
                focus: None,
                scope: Default::default(),
            },
            read_at: Duration::from_millis(read_at_ms),
        }
    }

    fn sent(pending: &mut Pending) -> Vec<u64> {
        std::iter::from_fn(|| pending.next_to_send())
            .map(|message| match message {
                ToRuntime::Call { id, .. } => id,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn unanswered_calls_are_sent_again_in_order_of_arrival() {
        let mut pending = Pending::default();
        for number in 1..=4 {
            pending.push(number, call(number, true, 0)).unwrap();
        }
        assert_eq!(sent(&mut pending), [1, 2, 3, 4]);
        assert!(!pending.has_unsent());
        assert!(pending.answered(2).is_some() && pending.answered(2).is_none());
        pending.resend_all();
        pending.push(5, call(5, false, 0)).unwrap();
        assert_eq!(sent(&mut pending), [1, 3, 4, 5]);
    }

    #[test]
    fn past_its_time_a_call_with_an_id_stays_queued_and_one_without_is_forgotten() {
        let mut pending = Pending::default();
        pending.push(1, call(1, true, 10)).unwrap();
        pending.push(2, call(2, false, 20)).unwrap();
        pending.push(3, call(3, true, 30)).unwrap();
        assert_eq!(pending.oldest_waiting(), Some(Duration::from_millis(10)));
        let told = pending.overdue(Duration::from_millis(20));
        assert_eq!(told, [(Asker::Http(1), Code::OutcomePending), (Asker::Http(2), Code::OutcomeUnknown)]);
        assert_eq!(pending.overdue(Duration::from_millis(20)), []);
        assert_eq!(sent(&mut pending), [1, 3]);
        assert_eq!(pending.give_up(), [Asker::Http(3)]);
        assert_eq!(pending.len(), 1, "the promised one stays");
    }

    #[test]
    fn abandoned_calls_take_effect_without_an_answer() {
        let mut pending = Pending::default();
        pending.push(1, call(1, false, 10)).unwrap();
        pending.abandon(|asker| asker == Asker::Http(1));
        assert_eq!(sent(&mut pending), [1]);
        assert_eq!(pending.overdue(Duration::from_millis(99)), []);
        assert!(pending.is_empty());
    }

    #[test]
    fn past_its_bounds_it_takes_no_more() {
        let mut pending = Pending::default();
        for number in 0..PENDING_CALLS as u64 {
            pending.push(number, call(number, true, 0)).unwrap();
        }
        assert_eq!(pending.push(99_999, call(1, true, 0)), Err(Full));
        pending.answered(0);
        assert_eq!(pending.push(99_999, call(1, true, 0)), Ok(()));
        let mut pending = Pending::default();
        let mut large = call(1, true, 0);
        large.params = RawValue::from_string(format!("\"{}\"", "x".repeat(PENDING_BYTES))).unwrap();
        assert_eq!(pending.push(1, large), Err(Full));
    }
}
