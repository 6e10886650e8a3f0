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
pub(crate) mod tests {
    use super::*;
    use crate::acp::modes::Modes;
    use crate::acp::usage::Usage;
    use crate::span::StopReason;
    use holdfast_shared::worker::Protocol;
    use serde_json::json;

    /// One record of each kind, with everything optional there.
    pub(crate) fn one_of_each() -> Vec<Record> {
        let (task, turn, spawn_id) = ("x".to_owned(), "t1".to_owned(), "w-1-2".to_owned());
        let bodies = vec![
            Body::NodeBooted(NodeBooted {
                boot_id: "b".into(),
                channel_epoch: "0a0b0c0d".into(),
                cut: vec![CutConversation { task: task.clone(), epoch: "e".into(), outputs: 7 }],
            }),
            Body::TaskOpened(TaskOpened {
                task: task.clone(),
                skill: "command".into(),
                mode: OpenMode::Created,
                conversation_epoch: "01020304".into(),
                protocol: Protocol::Acp,
            }),
            Body::TaskReady(TaskReady { task: task.clone() }),
            Body::TaskStopped(TaskStopped { task: task.clone(), after: 3, number: Some(20) }),
            Body::TurnStarted(TurnStarted {
                task: task.clone(),
                turn: turn.clone(),
                text: "echo \u{2028}\"".into(),
                spawn_id: spawn_id.clone(),
                numbers: Some(TurnNumbers { mark: 16, prompt: 17 }),
            }),
            Body::TurnQueued(TurnQueued {
                task: task.clone(),
                turn: turn.clone(),
                text: "b".into(),
                after: 2,
            }),
            Body::TurnDequeued(TurnDequeued { task: task.clone(), turn: turn.clone(), after: 2 }),
            Body::TurnCancelled(TurnCancelled { task: task.clone(), turn: turn.clone(), number: Some(18) }),
            Body::OrderRetried(OrderRetried {
                task: task.clone(),
                turn: turn.clone(),
                spawn_id: spawn_id.clone(),
                numbers: Some(TurnNumbers { mark: 16, prompt: 17 }),
                same_try: true,
            }),
            Body::SpoolSynced(SpoolSynced {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                outputs: u64::MAX,
            }),
            Body::TurnSealed(TurnSealed {
                task: task.clone(),
                turn: turn.clone(),
                stop_reason: StopReason::Limit,
                exit_code: Some(-1),
                outputs: 9,
                errored: Some("no".into()),
                code: Some("WORKER_DEAD".into()),
                agent: Some(AgentSeal {
                    segment: 2,
                    base: 100,
                    worker_ended: true,
                    detail: Some("why".into()),
                    usage: Some(Usage { used: Some(5), ..Usage::default() }),
                }),
            }),
            Body::SpanFiled(SpanFiled { task: task.clone(), first: 1 }),
            Body::CommandAnswered(CommandAnswered {}),
        ];
        let bodies = bodies.into_iter().chain(one_of_each_of_agents(&task, &turn, &spawn_id));
        bodies.map(|body| Record::new(5, body)).collect()
    }

    fn one_of_each_of_agents(task: &str, turn: &str, spawn_id: &str) -> Vec<Body> {
        let (task, turn, spawn_id) = (task.to_owned(), turn.to_owned(), spawn_id.to_owned());
        let failure = TaskFailure { code: "BOOTSTRAP_FAILED".into(), message: "no".into() };
        let modes = Modes { current_mode_id: "ask".into(), available_modes: Vec::new() };
        vec![
            Body::WorkerOrdered(WorkerOrdered {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                number: 2,
                why: OrderedFor::Retry,
            }),
            Body::WorkspaceFixed(WorkspaceFixed { task: task.clone(), id: "u".into() }),
            Body::SessionReady(SessionReady {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                session: "s".into(),
                resumed: true,
                resumable: true,
                modes: Some(modes),
                outputs: 3,
            }),
            Body::WorkerEnding(WorkerEnding {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                why: EndingFor::Silence,
                number: 19,
                detail: Some("why".into()),
            }),
            Body::WorkerEnded(WorkerEnded {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                error: Some(failure.clone()),
            }),
            Body::RequestTaken(RequestTaken {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                seq: 7,
                id: "\"a\"".into(),
                number: 20,
                consumed: 17,
                terminal: Some(TerminalDeed::Release { terminal: "w-1-2-t7".into() }),
            }),
            Body::PermissionAnswered(PermissionAnswered {
                task: task.clone(),
                turn,
                spawn_id: spawn_id.clone(),
                seq: 8,
                id: "null".into(),
                number: 21,
                outcome: PermissionOutcome::Selected,
                option_id: Some("y".into()),
                by: Some("p".into()),
                after: 8,
                consumed: 17,
            }),
            Body::ModeSet(ModeSet {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                mode: "ask".into(),
                number: 22,
                consumed: 17,
            }),
            Body::ModeSaid(ModeSaid {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                seq: 7,
                news: ModeNews::Refused { number: 22 },
            }),
            Body::TaskSwitching(TaskSwitching { task: task.clone(), deadline: 9 }),
            Body::TaskError(TaskError { task: task.clone(), error: failure }),
            Body::TerminalExited(TerminalExited {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                seq: 9,
                number: 23,
                consumed: 17,
            }),
            Body::TerminalGone(TerminalGone { task: task.clone(), terminal: "w-1-2-t7".into() }),
            Body::PermissionsPending(PermissionsPending {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                pending: 2,
            }),
            Body::TerminalAsked(TerminalAsked {
                task: task.clone(),
                spawn_id: spawn_id.clone(),
                seq: 10,
                id: "\"c\"".into(),
                consumed: 17,
                bytes: 9,
            }),
            Body::TerminalSettled(TerminalSettled {
                task: task.clone(),
                spawn_id,
                seq: 10,
                number: 24,
                consumed: 17,
            }),
            Body::SessionLost(SessionLost { task, after: 3 }),
        ]
    }

    #[test]
    fn every_kind_survives_its_payload_with_and_without_a_command() {
        let records = one_of_each();
        let kinds: Vec<&str> = records.iter().map(|record| record.body.kind()).collect();
        assert_eq!(kinds, KINDS, "one of each");
        for mut record in records {
            for command in [None, Some(answered())] {
                record.command = command;
                let new = record.encode();
                assert_eq!(Record::decode(&new.kind, &new.payload).unwrap(), Some(record.clone()));
            }
        }
    }

    fn answered() -> Answered {
        Answered {
            principal: "p".into(),
            id: "i".into(),
            digest: "d".into(),
            answer: json!({"a": [1.5, null]}),
        }
    }

    /// As the release before agents wrote them: these never change.
    const BEFORE_AGENTS: [(&str, &str); 6] = [
        (
            "task.opened",
            r#"{"at":1,"task":"x","skill":"command","mode":"created","conversation_epoch":"01020304"}"#,
        ),
        ("task.stopped", r#"{"at":1,"task":"x","after":3}"#),
        ("turn.started", r#"{"at":1,"task":"x","turn":"t1","text":"a","spawn_id":"w-1-2"}"#),
        ("turn.cancelled", r#"{"at":1,"task":"x","turn":"t1"}"#),
        ("order.retried", r#"{"at":1,"task":"x","turn":"t1","spawn_id":"w-1-3"}"#),
        (
            "turn.sealed",
            r#"{"at":1,"task":"x","turn":"t1","stop_reason":"end_turn","exit_code":0,"outputs":2}"#,
        ),
    ];

    #[test]
    fn records_of_the_release_before_agents_are_read_and_written_as_they_were() {
        for (kind, payload) in BEFORE_AGENTS {
            let record = Record::decode(kind, payload.as_bytes()).unwrap().unwrap();
            assert_eq!(String::from_utf8(record.encode().payload).unwrap(), payload);
        }
    }

    /// As releases wrote them before a command that is asked for had kinds of its own: read so for ever.
    const COMMANDS_BEFORE: [(&str, &str); 3] = [
        (
            "request.taken",
            r#"{"at":1,"task":"x","spawn_id":"w-1-2","seq":7,"id":"1","number":16,"consumed":15,"terminal":{"does":"create","bytes":9}}"#,
        ),
        (
            "request.taken",
            r#"{"at":1,"task":"x","spawn_id":"w-1-2","seq":8,"id":"2","number":0,"consumed":15,"terminal":{"does":"create","bytes":9}}"#,
        ),
        ("terminal.exited", r#"{"at":1,"task":"x","spawn_id":"w-1-2","seq":8,"number":17,"consumed":15}"#),
    ];

    #[test]
    fn commands_that_were_asked_for_under_earlier_kinds_are_read() {
        let mut agent = crate::agent::Agent::default();
        agent.order("w-1-2", 1, 0);
        for (kind, payload) in COMMANDS_BEFORE {
            match Record::decode(kind, payload.as_bytes()).unwrap().unwrap().body {
                Body::RequestTaken(taken) => agent.take(&taken),
                Body::TerminalExited(exited) => agent.exited(&exited),
                other => panic!("{other:?}"),
            }
        }
        let worker = agent.worker.unwrap();
        assert_eq!(worker.messages.iter().map(|sent| sent.number).collect::<Vec<u64>>(), [16, 17]);
        assert_eq!((worker.needed(0), worker.waiting), ([7, 8].into(), Vec::new()));
        let terminals: Vec<&str> = agent.terminals.iter().map(|one| one.spawn_id.as_str()).collect();
        assert_eq!(terminals, ["w-1-2-t7", "w-1-2-t8"]);
    }

    #[test]
    fn fields_of_later_releases_are_passed_over_and_a_damaged_payload_is_named() {
        let later = br#"{"at":1,"task":"x","first":2,"more":[1]}"#;
        assert!(Record::decode("span.filed", later).unwrap().is_some());
        assert!(Record::decode("other.kind", b"{").unwrap().is_none());
        let error = Record::decode("span.filed", br#"{"at":1,"task":"x"}"#).unwrap_err().to_string();
        assert!(error.starts_with("journal record of kind span.filed: missing field `first`"), "{error}");
    }
}
