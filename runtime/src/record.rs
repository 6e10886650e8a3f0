//! What the runtime writes into the journal: one decision is one record.
//!
//! A record that answers a command carries that answer, so that effect and answer are durable together or not at
//! all. The payload is a JSON object of the kind's own fields, `at`, and `command` where there is one.

mod agent_fields;
mod fields;

pub use agent_fields::*;
pub use fields::*;
use holdfast_shared::journal::{NewRecord, Record as JournalRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A typed record, without its place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When it was decided, unix milliseconds.
    pub at: u64,
    /// The command it answers.
    pub command: Option<Answered>,
    /// What was decided.
    pub body: Body,
}

/// A command and the answer it got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// In whose name it was given.
    pub principal: String,
    /// The command id, a UUIDv7 in its usual text.
    pub id: String,
    /// SHA-256 of method and parameters ([`crate::command_id::digest`]).
    pub digest: String,
    /// The result.
    pub answer: Value,
}

/// The payload of the journal record.
#[derive(Serialize, Deserialize)]
struct Payload<Fields> {
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Answered>,
    #[serde(flatten)]
    fields: Fields,
}

/// A record of a kind that this release reads, with a payload that it cannot read.
#[derive(Debug, thiserror::Error)]
#[error("journal record of kind {kind}: {error}")]
pub struct Unreadable {
    /// The kind.
    pub kind: String,
    /// The parser's words.
    pub error: serde_json::Error,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $kind:literal;)*) => {
        /// What was decided.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Body { $($(#[$doc])* $variant($variant),)* }

        /// Every kind that this release reads and writes.
        pub const KINDS: &[&str] = &[$($kind,)*];

        impl Body {
            /// The kind's name in the journal.
            pub fn kind(&self) -> &'static str {
                match self { $(Body::$variant(_) => $kind,)* }
            }
        }

        impl Record {
            /// The typed record of a journal record; `None` for a kind that is not the runtime's.
            ///
            /// # Errors
            /// [`Unreadable`] when the payload is not of the kind's form.
            pub fn decode(kind: &str, payload: &[u8]) -> Result<Option<Record>, Unreadable> {
                match kind {
                    $($kind => serde_json::from_slice::<Payload<$variant>>(payload)
                        .map(|p| Some(Record { at: p.at, command: p.command, body: Body::$variant(p.fields) }))
                        .map_err(|error| Unreadable { kind: kind.to_owned(), error }),)*
                    _ => Ok(None),
                }
            }

            /// The record as the journal takes it.
            pub fn encode(&self) -> NewRecord {
                let (at, command) = (self.at, self.command.clone());
                let payload = match &self.body {
                    $(Body::$variant(fields) => serde_json::to_vec(&Payload { at, command, fields }),)*
                };
                let payload = payload.expect("records have string keys and cannot fail to serialize");
                // A release that skipped one of these would place every later event wrongly.
                NewRecord::new(self.body.kind(), payload).must_understand()
            }
        }
    };
}

kinds! {
    /// The machine's boot is another than the journal knew.
    NodeBooted "node.booted";
    /// A task was opened.
    TaskOpened "task.opened";
    /// A task's worker is warm.
    TaskReady "task.ready";
    /// A task is stopped, at once or when its turn has ended.
    TaskStopped "task.stopped";
    /// A turn begins: the work order.
    TurnStarted "turn.started";
    /// A prompt waits behind the running turn.
    TurnQueued "turn.queued";
    /// A waiting prompt was taken back.
    TurnDequeued "turn.dequeued";
    /// The running turn is to end.
    TurnCancelled "turn.cancelled";
    /// The turn's worker never started; another is ordered.
    OrderRetried "order.retried";
    /// So much of a spool is known to be on disk.
    SpoolSynced "spool.synced";
    /// A turn ended; its work order leaves.
    TurnSealed "turn.sealed";
    /// A sealed span is in a file of its own and leaves the live state.
    SpanFiled "span.filed";
    /// A command changed nothing and succeeded.
    CommandAnswered "command.answered";
    /// A task's standing worker is wanted.
    WorkerOrdered "worker.ordered";
    /// The workspace of a task has its identity.
    WorkspaceFixed "workspace.fixed";
    /// A standing worker has its session and takes prompts.
    SessionReady "session.ready";
    /// A standing worker is told to end.
    WorkerEnding "worker.ending";
    /// A standing worker has ended.
    WorkerEnded "worker.ended";
    /// An agent's request will be answered.
    RequestTaken "request.taken";
    /// An agent's permission request is answered.
    PermissionAnswered "permission.answered";
    /// The mode of an agent's session is set.
    ModeSet "mode.set";
    /// An agent said something about its mode.
    ModeSaid "mode.said";
    /// A task is to be warm, by a deadline.
    TaskSwitching "task.switching";
    /// Something about a task failed.
    TaskError "task.error";
    /// A command that an agent waits for has ended.
    TerminalExited "terminal.exited";
    /// A command of an agent is ended and removed.
    TerminalGone "terminal.gone";
    /// So many of an agent's requests for permission wait for people.
    PermissionsPending "permissions.pending";
    /// A command that an agent asks for is to run; its answer is decided on when it is known whether it does.
    TerminalAsked "terminal.asked";
    /// It is known whether a command that an agent asked for runs.
    TerminalSettled "terminal.settled";
    /// Whoever reads the running turn is told that its agent knows nothing of the turns before it.
    SessionLost "session.lost";
}

/// The kind of [`Body::SpanFiled`].
pub const SPAN_FILED: &str = "span.filed";

impl Body {
    /// The task that it is about.
    pub fn task(&self) -> Option<&str> {
        match self {
            Body::TaskOpened(TaskOpened { task, .. })
            | Body::TaskReady(TaskReady { task })
            | Body::TaskStopped(TaskStopped { task, .. })
            | Body::TurnStarted(TurnStarted { task, .. })
            | Body::TurnQueued(TurnQueued { task, .. })
            | Body::TurnDequeued(TurnDequeued { task, .. })
            | Body::TurnCancelled(TurnCancelled { task, .. })
            | Body::OrderRetried(OrderRetried { task, .. })
            | Body::SpoolSynced(SpoolSynced { task, .. })
            | Body::TurnSealed(TurnSealed { task, .. })
            | Body::SpanFiled(SpanFiled { task, .. })
            | Body::WorkerOrdered(WorkerOrdered { task, .. })
            | Body::WorkspaceFixed(WorkspaceFixed { task, .. })
            | Body::SessionReady(SessionReady { task, .. })
            | Body::WorkerEnding(WorkerEnding { task, .. })
            | Body::WorkerEnded(WorkerEnded { task, .. })
            | Body::RequestTaken(RequestTaken { task, .. })
            | Body::PermissionAnswered(PermissionAnswered { task, .. })
            | Body::ModeSet(ModeSet { task, .. })
            | Body::ModeSaid(ModeSaid { task, .. })
            | Body::TaskSwitching(TaskSwitching { task, .. })
            | Body::TaskError(TaskError { task, .. })
            | Body::TerminalExited(TerminalExited { task, .. })
            | Body::TerminalGone(TerminalGone { task, .. })
            | Body::PermissionsPending(PermissionsPending { task, .. })
            | Body::TerminalAsked(TerminalAsked { task, .. })
            | Body::TerminalSettled(TerminalSettled { task, .. })
            | Body::SessionLost(SessionLost { task, .. }) => Some(task),
            Body::NodeBooted(_) | Body::CommandAnswered(_) => None,
        }
    }
}

impl Record {
    /// A record that answers no command.
    pub fn new(at: u64, body: Body) -> Self {
        Self { at, command: None, body }
    }

    /// [`Record::decode`] of a record read from a journal.
    ///
    /// # Errors
    /// As there.
    pub fn of(record: &JournalRecord) -> Result<Option<Record>, Unreadable> {
        Self::decode(&record.kind, &record.payload)
    }
}

#[cfg(test)]
pub(crate) mod tests;
