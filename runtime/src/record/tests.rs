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
        Body::TurnQueued(TurnQueued { task: task.clone(), turn: turn.clone(), text: "b".into(), after: 2 }),
        Body::TurnDequeued(TurnDequeued { task: task.clone(), turn: turn.clone(), after: 2 }),
        Body::TurnCancelled(TurnCancelled { task: task.clone(), turn: turn.clone(), number: Some(18) }),
        Body::OrderRetried(OrderRetried {
            task: task.clone(),
            turn: turn.clone(),
            spawn_id: spawn_id.clone(),
            numbers: Some(TurnNumbers { mark: 16, prompt: 17 }),
            same_try: true,
        }),
        Body::SpoolSynced(SpoolSynced { task: task.clone(), spawn_id: spawn_id.clone(), outputs: u64::MAX }),
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
            withdrawn: true,
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
            withdrawn: true,
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
            withdrawn: false,
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
    Answered { principal: "p".into(), id: "i".into(), digest: "d".into(), answer: json!({"a": [1.5, null]}) }
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
    ("turn.sealed", r#"{"at":1,"task":"x","turn":"t1","stop_reason":"end_turn","exit_code":0,"outputs":2}"#),
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
