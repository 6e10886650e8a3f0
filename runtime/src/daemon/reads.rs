//! Calls that need no record: refusals, reads, probes.

use super::{IncomingCall, now_ms};
use crate::commands::{self, Call, Decision, Given, Late};
use crate::io::served::{Served, Shared};
use crate::params::History;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::PIECE_BYTES;
use serde_json::{Value, json};
use std::rc::Rc;

/// Events of one `conversation.history` answer.
const HISTORY_EVENTS: usize = 1000;

/// Answers a call to a runtime that is not active: reads and probes only. What came for the active that it was
/// stays unanswered: its link is being closed, and the sidecar asks the next active.
pub fn call_passive(shared: &Shared, call: &IncomingCall) {
    if call.link.is_route() {
        return;
    }
    let given = Given {
        now_ms: now_ms(),
        next: (0, 0),
        fresh_epoch: String::new(),
        active: false,
        storage_full: false,
        no_room: None,
        switch_timeout_ms: 0,
    };
    let decided = decide(&shared.borrow(), call, &given);
    answer_read(shared, call, decided);
}

pub(super) fn decide(served: &Served, call: &IncomingCall, given: &Given) -> Result<Decision, ApiError> {
    let request = Call {
        method: &call.method,
        params: call.params.get(),
        command_id: &call.command_id,
        caller: &call.caller,
    };
    commands::decide(&served.folded.state, &request, given, served)
}

/// Answers whatever needs no record.
pub(super) fn answer_read(shared: &Shared, call: &IncomingCall, decided: Result<Decision, ApiError>) {
    let answer = match decided {
        Err(error) => Err(error),
        Ok(Decision::Answer { result, .. }) => Ok(result),
        Ok(Decision::History(history)) => read_history(&mut shared.borrow_mut(), &history),
        Ok(Decision::Late(late)) => return answer_late(shared, call, late),
        Ok(Decision::Probe) => Ok(probe(&shared.borrow())),
        // A write is decided on only by the active, which takes it before this.
        Ok(Decision::Write(_)) => Err(ApiError::new(Code::NotActive, "this runtime is not the active one")),
    };
    match answer {
        Ok(result) => call.link.reply(call.id, Ok(&result)),
        Err(error) => call.link.reply(call.id, Err(error)),
    }
}

/// Whoever asked is answered in turn, or gone by then.
fn answer_late(shared: &Shared, call: &IncomingCall, late: Late) {
    let mut served = shared.borrow_mut();
    let answer = served.late_permission(late);
    let (link, id) = (Rc::downgrade(&call.link), call.id);
    let reply = move |answer: Result<Value, ApiError>| {
        if let Some(link) = link.upgrade() {
            link.reply(id, answer.as_ref().map_err(Clone::clone));
        }
    };
    served.late.give(Box::new(reply), answer);
}

fn probe(served: &Served) -> Value {
    let report = served.report();
    json!({
        "runtime_instance_id": report.runtime_instance_id, "slot": report.slot, "epoch": report.epoch,
        "role": report.transition_role, "last": report.last, "healthy": report.healthy,
    })
}

fn read_history(served: &mut Served, history: &History) -> Result<Value, ApiError> {
    let name = format!("conversation:{}", history.conversation);
    let (epoch, offset) = history.since.as_ref().map_or(("", 0), |since| (&*since.epoch, since.offset));
    let limit = history.limit.map_or(HISTORY_EVENTS, |limit| (limit as usize).min(HISTORY_EVENTS));
    let piece = served.piece(&name, epoch, offset, limit, PIECE_BYTES as usize)?;
    let publications: Vec<Value> = piece
        .publications
        .iter()
        .map(|one| {
            let data: Value = serde_json::from_slice(&one.data).unwrap_or(Value::Null);
            json!({"offset": one.offset, "data": data})
        })
        .collect();
    Ok(json!({
        "epoch": piece.epoch, "offset": piece.top, "recovered": piece.recovered, "publications": publications,
    }))
}
