//! What each method does: a decision on the state, without changing it. Pure.
//!
//! A refusal is not journaled: nothing happened, and asking again asks again. Only methods marked `write` carry
//! their command id into the journal; reads are asked again.

pub mod agents;
mod list;
mod refusal;
mod tasks;
mod turns;

use crate::command_id::{self, Known};
use crate::params::{self, History};
use crate::record::{Answered, Body, Record};
use crate::state::State;
use crate::task::{Task, TaskCommand};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Caller;
use holdfast_shared::token::TokenRole;
use holdfast_shared::worker::Protocol;
pub use list::LISTED_TASKS;
use refusal::{PROMPTED, named, not_found, refusal};
use serde_json::Value;

/// Bytes of a prompt: one argument of a program is at most 128 KiB on Linux, its end and `sh -c` included.
pub const PROMPT_BYTES: usize = 120 * 1024;
/// A call, as the link brought it.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a str,
    /// Its parameters, an object's text.
    pub params: &'a str,
    /// The command id; looked at for writes only.
    pub command_id: &'a str,
    /// Who calls.
    pub caller: &'a Caller,
}

/// What the world gives to a decision.
#[derive(Clone, Debug)]
pub struct Given {
    /// Now, unix milliseconds.
    pub now_ms: u64,
    /// The name that the record will have, if one is written: epoch and LSN.
    pub next: (u64, u64),
    /// A fresh conversation epoch, 8 hex digits.
    pub fresh_epoch: String,
    /// Whether this runtime is active.
    pub active: bool,
    /// Whether the disk is too full for new commands.
    pub storage_full: bool,
    /// Why no prompt is taken: the disk of workers and workspaces is nearly full. Looked at for prompts only.
    pub no_room: Option<ApiError>,
    /// How long a switch may take until the task is ready.
    pub switch_timeout_ms: u64,
}

/// What can be seen of the world, and is not in the state.
pub trait Seen {
    /// How many output records of a task's open span can have been shown; `None` while nobody knows.
    fn outputs(&self, task: &str) -> Option<u64>;

    /// The request for permission that waits in the task's running turn, its line ending with this record.
    fn permission(&self, task: &str, seq: u64) -> Option<PendingPermission>;

    /// Messages up to this one were taken by the task's worker.
    fn consumed(&self, task: &str) -> u64;

    /// What the workers of a skill speak; `None` where it is not installed.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn protocol(&self, skill: &str) -> Result<Option<Protocol>, String>;
}

/// A request for permission, as far as a decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPermission {
    /// The agent's id of it, as JSON text.
    pub id: String,
    /// The ids of its options.
    pub options: Vec<String>,
}

/// What to do with a call that is not refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Answer with this as soon as the record `lsn` (0: none) is durable.
    Answer {
        /// The result.
        result: Value,
        /// The record it comes from.
        lsn: u64,
    },
    /// Journal this; its command has the answer.
    Write(Box<Record>),
    /// Read a piece of a conversation.
    History(History),
    /// Say how a request for permission ended, of a turn that is over.
    Late(Late),
    /// Say what this runtime is.
    Probe,
}

/// A request for permission of a turn that is over, perhaps: what was shown of that turn says whether it ever was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// The task.
    pub task: String,
    /// The turn.
    pub turn: String,
    /// The record that ends the request's line.
    pub seq: u64,
    /// Its name.
    pub request: String,
}

/// A method of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Open,
    Switch,
    Prompt,
    Dequeue,
    Cancel,
    Stop,
    Answer,
    Mode,
    List,
    History,
    Probe,
}

/// The method that gives a task something to do.
pub const PROMPT: &str = "task.prompt";

const METHODS: [(&str, Method); 11] = [
    ("task.open", Method::Open),
    ("task.switch", Method::Switch),
    (PROMPT, Method::Prompt),
    ("task.dequeue", Method::Dequeue),
    ("task.cancel", Method::Cancel),
    ("task.stop", Method::Stop),
    ("permission.answer", Method::Answer),
    ("task.mode", Method::Mode),
    ("task.list", Method::List),
    ("conversation.history", Method::History),
    ("node.probe", Method::Probe),
];

impl Method {
    fn writes(self) -> bool {
        !matches!(self, Method::List | Method::History | Method::Probe)
    }

    fn allowed_to(self, role: TokenRole) -> bool {
        match role {
            TokenRole::Operator => true,
            TokenRole::Viewer => !self.writes(),
            TokenRole::Probe => self == Method::Probe,
        }
    }
}

/// Decides on a call.
///
/// # Errors
/// The refusal, by the table of codes.
pub fn decide(state: &State, call: &Call<'_>, given: &Given, seen: &impl Seen) -> Result<Decision, ApiError> {
    let found = METHODS.iter().find(|(name, _)| *name == call.method);
    let Some((_, method)) = found else {
        return Err(ApiError::new(
            Code::UnknownMethod,
            format!("there is no method {:?}", named(call.method)),
        ));
    };
    if !method.allowed_to(call.caller.role) {
        return Err(ApiError::new(
            Code::Forbidden,
            format!("this token does not allow {}", named(call.method)),
        ));
    }
    check_scope(call)?;
    if method.writes() {
        return decide_write(state, *method, call, given, seen);
    }
    match method {
        // It shows what was decided last, and so waits for that.
        Method::List => {
            let result = list::list(state, params::parse(call.params)?);
            Ok(Decision::Answer { result, lsn: given.next.1.saturating_sub(1) })
        }
        Method::History => history(state, params::parse(call.params)?),
        _ => params::parse(call.params).map(|params::Nothing {}| Decision::Probe),
    }
}

/// A token for some tasks names one of them in whatever it asks: nothing else shows no other.
fn check_scope(call: &Call<'_>) -> Result<(), ApiError> {
    let scope = &call.caller.scope;
    if scope.is_all() {
        return Ok(());
    }
    let named: Named = serde_json::from_str(call.params).unwrap_or_default();
    match named.task.or(named.conversation) {
        Some(task) if scope.has_task(&task) => Ok(()),
        _ => {
            Err(ApiError::new(Code::Forbidden, format!("this token's scope does not allow {}", call.method)))
        }
    }
}

/// What a call is about.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Named {
    task: Option<String>,
    conversation: Option<String>,
}

fn decide_write(
    state: &State,
    method: Method,
    call: &Call<'_>,
    given: &Given,
    seen: &impl Seen,
) -> Result<Decision, ApiError> {
    if !given.active {
        return Err(ApiError::new(Code::NotActive, "this runtime is not the active one"));
    }
    let digest = command_id::digest(call.method, &params::parse(call.params)?);
    let principal = &call.caller.principal;
    match state.commands.look_up(principal, call.command_id, &digest, given.now_ms)? {
        Known::Answered(kept) => {
            return Ok(Decision::Answer { result: kept.answer.clone(), lsn: kept.lsn });
        }
        Known::New(_) => {}
    }
    if method == Method::Answer
        && let Some(late) = agents::late(state, &params::parse(call.params)?)?
    {
        return Ok(Decision::Late(late));
    }
    let (body, answer) = match method {
        Method::Open => tasks::open(state, params::parse(call.params)?, given, seen),
        Method::Switch => tasks::switch(state, params::parse(call.params)?, call.caller, given),
        Method::Prompt => turns::prompt(state, params::parse(call.params)?, given, seen),
        Method::Dequeue => turns::dequeue(state, params::parse(call.params)?, seen),
        Method::Cancel => turns::cancel(state, params::parse(call.params)?),
        Method::Answer => agents::answer(state, params::parse(call.params)?, call.caller, seen),
        Method::Mode => agents::set_mode(state, params::parse(call.params)?, seen),
        _ => turns::stop(state, params::parse(call.params)?, seen),
    }?;
    // Last, so that a mistake is called a mistake also while the disk is full. What may be filling the disk can be
    // cancelled: one small record for each running turn, from the reserve that serves its seal too.
    if given.storage_full && !matches!(body, Body::TurnCancelled(_)) {
        return Err(ApiError::new(Code::StorageFull, "the disk is too full for new commands"));
    }
    let (principal, id) = (principal.clone(), call.command_id.to_owned());
    let command = Some(Answered { principal, id, digest, answer });
    Ok(Decision::Write(Box::new(Record { at: given.now_ms, command, body })))
}

type Written = Result<(Body, Value), ApiError>;

fn history(state: &State, history: History) -> Result<Decision, ApiError> {
    history.check()?;
    match state.task(&history.conversation) {
        Some(_) => Ok(Decision::History(history)),
        None => Err(not_found(&history.conversation)),
    }
}

fn admitted<'a>(state: &'a State, id: &str, command: TaskCommand, done: &str) -> Result<&'a Task, ApiError> {
    let task = state.task(id).ok_or_else(|| not_found(id))?;
    task.admits(command).map_err(|code| refusal(code, task, done))?;
    Ok(task)
}

#[cfg(test)]
mod tests;
