use super::*;
use crate::command_id::tests::id_at;
use crate::lifetime::{Lifetime, NOW, caller};
use crate::span::StopReason;
use holdfast_shared::journal::Record as JournalRecord;
use holdfast_shared::token::TokenRole;
use proptest::prelude::*;

/// Something that happens, by numbers that are made to fit.
#[derive(Clone, Debug)]
enum Happens {
    Command { method: usize, task: usize, id: u64, turn: u64 },
    Output { task: usize, records: u64 },
    Seal { task: usize, reason: usize, errored: bool },
    StartQueued { task: usize },
    Retry { task: usize },
    Filed { task: usize },
    Synced { task: usize },
    PowerCut { left: u64 },
    Agent { what: usize },
}

/// The task with an agent.
const AGENT: &str = "c";

const TASKS: [&str; 3] = ["a", "b", "c"];

fn happens() -> impl Strategy<Value = Happens> {
    let task = || 0..TASKS.len();
    prop_oneof![
        8 => (0usize..7, task(), 0u64..60, 1u64..8)
            .prop_map(|(method, task, id, turn)| Happens::Command { method, task, id, turn }),
        4 => (task(), 1u64..5).prop_map(|(task, records)| Happens::Output { task, records }),
        3 => (task(), 0usize..5, prop::bool::weighted(0.1))
            .prop_map(|(task, reason, errored)| Happens::Seal { task, reason, errored }),
        3 => task().prop_map(|task| Happens::StartQueued { task }),
        1 => task().prop_map(|task| Happens::Retry { task }),
        2 => task().prop_map(|task| Happens::Filed { task }),
        1 => task().prop_map(|task| Happens::Synced { task }),
        1 => (0u64..9).prop_map(|left| Happens::PowerCut { left }),
        5 => (0usize..7).prop_map(|what| Happens::Agent { what }),
    ]
}

fn command(life: &mut Lifetime, method: usize, task: &str, id: u64, turn: u64) {
    let (method, params) = match method {
        0 => {
            let skill = if task == AGENT { "demo" } else { "command" };
            ("task.open", json!({"task": task, "skill": skill}))
        }
        1 => ("task.prompt", json!({"task": task, "text": "p"})),
        2 => ("task.prompt", json!({"task": task, "text": "q", "queue": true})),
        3 => ("task.dequeue", json!({"task": task, "turn": format!("t{turn}")})),
        4 => ("task.cancel", json!({"task": task})),
        5 => ("task.stop", json!({"task": task})),
        _ => ("task.switch", json!({"task": task})),
    };
    let (who, id) = (caller(TokenRole::Operator), id_at(NOW, id));
    let before = life.lsn();
    if let Ok(answer) = life.call_as(method, &params, &id, &who) {
        let records = life.lsn();
        assert!(records <= before + 1, "one decision is one record");
        assert_eq!(life.call_as(method, &params, &id, &who), Ok(answer), "a repeat gets the same answer");
        assert_eq!(life.lsn(), records, "and does nothing");
    }
}

fn happen(life: &mut Lifetime, what: &Happens) {
    let running = |life: &Lifetime, task: &str| life.state.task(task).and_then(|task| task.running.clone());
    match *what {
        Happens::Command { method, task, id, turn } => command(life, method, TASKS[task], id, turn),
        Happens::Output { task, records } if running(life, TASKS[task]).is_some() => {
            *life.outputs.entry(TASKS[task].into()).or_default() += records;
        }
        Happens::Seal { task, reason, errored } => {
            let reasons = [
                StopReason::EndTurn,
                StopReason::Cancelled,
                StopReason::Failed,
                StopReason::Interrupted,
                StopReason::Limit,
            ];
            life.seal(TASKS[task], reasons[reason], errored.then_some("broken"));
        }
        Happens::StartQueued { task } => life.start_queued(TASKS[task]),
        Happens::Retry { task } => {
            if let Some(running) = running(life, TASKS[task])
                && !life.outputs.contains_key(TASKS[task])
            {
                let (task, spawn_id) = (TASKS[task].to_owned(), crate::order::spawn_id(1, life.lsn() + 1));
                let (numbers, same_try) = (running.numbers.map(|_| crate::order::FIRST_TURN), false);
                let retried = record::OrderRetried { task, turn: running.turn, spawn_id, numbers, same_try };
                life.take(Record::new(NOW, Body::OrderRetried(retried)));
            }
        }
        Happens::Filed { task } => {
            let oldest = life.state.task(TASKS[task]).and_then(|task| task.conversation.unfiled.first());
            if let Some(first) = oldest.map(|span| span.first) {
                let task = TASKS[task].to_owned();
                life.take(Record::new(NOW, Body::SpanFiled(record::SpanFiled { task, first })));
            }
        }
        Happens::Synced { task } => {
            if let Some(running) = running(life, TASKS[task]) {
                let outputs = life.outputs.get(TASKS[task]).copied().unwrap_or(0);
                let (task, spawn_id) = (TASKS[task].to_owned(), running.order.spawn_id);
                let synced = record::SpoolSynced { task, spawn_id, outputs };
                life.take(Record::new(NOW, Body::SpoolSynced(synced)));
            }
        }
        Happens::PowerCut { left } => power_cut(life, left),
        Happens::Agent { what } => agent(life, what),
        Happens::Output { .. } => {}
    }
}

/// Something of the standing worker, if it can be.
fn agent(life: &mut Lifetime, what: usize) {
    let Some(task) = life.state.task(AGENT) else { return };
    let Some(agent) = &task.agent else { return };
    let (task, running) = (AGENT.to_owned(), task.running.clone());
    let body = match (&agent.worker, what) {
        (None, _) if running.is_none() => Body::WorkerOrdered(record::WorkerOrdered {
            task,
            spawn_id: crate::order::spawn_id(1, life.lsn() + 1),
            number: 1,
            why: record::OrderedFor::Warm,
        }),
        (Some(worker), 0) => Body::SessionReady(record::SessionReady {
            task,
            spawn_id: worker.spawn_id.clone(),
            session: "s".into(),
            resumed: false,
            resumable: true,
            modes: None,
            outputs: 2,
        }),
        (Some(worker), 1) => Body::RequestTaken(record::RequestTaken {
            task,
            spawn_id: worker.spawn_id.clone(),
            seq: life.lsn(),
            id: "1".into(),
            number: worker.next,
            consumed: worker.next.saturating_sub(3),
            terminal: None,
        }),
        (Some(worker), 2) => {
            let Some(running) = running else { return };
            Body::PermissionAnswered(record::PermissionAnswered {
                task,
                turn: running.turn,
                spawn_id: worker.spawn_id.clone(),
                seq: life.lsn(),
                id: "1".into(),
                number: worker.next,
                outcome: record::PermissionOutcome::Selected,
                option_id: Some("y".into()),
                by: None,
                after: life.outputs.get(AGENT).copied().unwrap_or(0),
                consumed: 0,
            })
        }
        (Some(worker), 3) => Body::WorkerEnding(record::WorkerEnding {
            task,
            spawn_id: worker.spawn_id.clone(),
            why: record::EndingFor::Lru,
            number: worker.next,
            detail: None,
        }),
        (Some(worker), 4) if running.is_none() => {
            Body::WorkerEnded(record::WorkerEnded { task, spawn_id: worker.spawn_id.clone(), error: None })
        }
        (Some(worker), 6) if running.is_some() => {
            let (spawn_id, pending) = (worker.spawn_id.clone(), life.lsn() % 3);
            Body::PermissionsPending(record::PermissionsPending { task, spawn_id, pending })
        }
        (_, 5) => Body::WorkspaceFixed(record::WorkspaceFixed { task, id: "u".into() }),
        _ => return,
    };
    life.take(Record::new(NOW, body));
}

fn power_cut(life: &mut Lifetime, left: u64) {
    let mut cut = Vec::new();
    for (task, outputs) in &mut life.outputs {
        *outputs = left.min(*outputs);
        let epoch = format!("cut-{}", life.records.len());
        cut.push(record::CutConversation { task: task.clone(), epoch, outputs: *outputs });
    }
    let booted = record::NodeBooted {
        boot_id: format!("boot-{}", life.records.len()),
        channel_epoch: format!("epoch-{}", life.records.len()),
        cut,
    };
    life.take(Record::new(NOW, Body::NodeBooted(booted)));
}

fn in_journal(lsn: u64, record: &Record) -> JournalRecord {
    let new = record.encode();
    let (kind, must_understand) = (new.kind.into_owned(), new.must_understand);
    JournalRecord { epoch: 1, lsn, kind, must_understand, payload: new.payload }
}

fn check(life: &Lifetime) {
    for task in life.state.tasks.values() {
        let conversation = &task.conversation;
        let mut next = None;
        for span in conversation.unfiled.iter().chain(&conversation.open) {
            assert_eq!(span.check(), Ok(()), "{span:?}");
            assert!(next.is_none_or(|next| next == span.first), "spans follow each other");
            next = span.total().map(|total| total + 1);
        }
        assert_eq!(conversation.open.is_some(), task.running.is_some(), "a span is open while a turn runs");
        assert!(task.permissions() == 0 || task.running.is_some(), "nobody waits outside of a turn");
        assert!(task.queue.len() <= crate::turn::QUEUED_PROMPTS);
        assert!(task.queue.is_empty() || task.standing == Standing::Open, "nothing waits in vain");
        if let Some(agent) = &task.agent {
            let numbers: Vec<u64> = agent
                .worker
                .iter()
                .flat_map(|worker| worker.messages.iter().map(|sent| sent.number).chain([worker.next]))
                .collect();
            assert!(numbers.is_sorted_by(|one, next| one < next), "numbers rise: {numbers:?}");
            let ordered = task.running.as_ref().map(|running| running.order.spawn_id.as_str());
            assert!(ordered.is_none() || ordered == task.worker(), "a turn runs in the standing worker");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever happens, and wherever a crash comes: the fold of what was written is the state that was.
    #[test]
    fn fold_is_live_state_is_state_after_a_crash(
        events in prop::collection::vec(happens(), 1..80), checkpoint in 0usize..200, crash in 0usize..200,
    ) {
        let mut life = Lifetime::default();
        let mut states = vec![life.state.clone()];
        for event in &events {
            let before = life.lsn();
            happen(&mut life, event);
            check(&life);
            prop_assert!(life.lsn() <= before + 1);
            if life.lsn() > before {
                states.push(life.state.clone());
            }
        }
        let crash = crash % states.len();
        let checkpoint = checkpoint % (crash + 1);
        let mut recovered = State::empty();
        for (lsn, record) in (1u64..).zip(&life.records).take(crash) {
            if lsn == checkpoint as u64 + 1 {
                recovered = State::load(State::VERSION, &recovered.save()).unwrap();
            }
            recovered.apply(&in_journal(lsn, record));
        }
        prop_assert_eq!(&recovered, &states[crash]);
        prop_assert_eq!(recovered.unreadable, None);
    }
}

#[test]
fn one_record_is_one_event_of_each_channel_it_concerns() {
    let mut life = Lifetime::default();
    life.does("task.open", json!({"task": "x", "skill": "command"}));
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    life.does("task.prompt", json!({"task": "x", "text": "b", "queue": true}));
    life.outputs.insert("x".into(), 4);
    life.does("task.stop", json!({"task": "x"}));
    life.seal("x", StopReason::Cancelled, None);
    let task = life.state.task("x").expect("opened");
    assert_eq!((life.state.tasks_log.top(), task.log.top()), (5, 5));
    let events = life.state.tasks_log.read(0, 5, 9, 1 << 20).expect("kept");
    let said: Vec<(String, String)> = events
        .iter()
        .map(|one| serde_json::from_slice::<Value>(&one.data).expect("JSON"))
        .map(|event| (event["type"].to_string(), event["state"].to_string()))
        .collect();
    let expected = [
        ("task.opened", "ready"),
        ("turn.started", "active"),
        ("turn.queued", "active"),
        ("task.stopped", "active"),
        ("turn.sealed", "stopped"),
    ];
    assert_eq!(said, expected.map(|(kind, state)| (format!("{kind:?}"), format!("{state:?}"))));
    let span = &task.conversation.unfiled[0];
    let events: Vec<&str> = span.events.iter().filter_map(|event| event.data["type"].as_str()).collect();
    assert_eq!(events, ["turn.started", "turn.queued", "turn.sealed", "turn.sealed"]);
    assert_eq!(task.conversation.total, 8);
}

#[test]
fn only_a_seal_with_a_code_owes_those_who_look_an_error() {
    let failed = |code: Option<&str>| {
        let mut life = Lifetime::default();
        life.does("task.open", json!({"task": "x", "skill": "demo"}));
        life.does("task.prompt", json!({"task": "x", "text": "a"}));
        let sealed = record::TurnSealed {
            task: "x".into(),
            turn: "t1".into(),
            stop_reason: StopReason::Failed,
            exit_code: None,
            outputs: 0,
            errored: Some("broken".into()),
            code: code.map(str::to_owned),
            agent: Some(record::AgentSeal { worker_ended: true, ..record::AgentSeal::default() }),
        };
        life.take(Record::new(NOW, Body::TurnSealed(sealed)));
        let task = life.state.task("x").expect("opened");
        assert_eq!(task.standing, Standing::Errored("broken".into()));
        task.agent.as_ref().expect("an agent's").failed.clone()
    };
    // As a release before codes sealed: its turn was over long before this one reads it.
    assert_eq!(failed(None), None);
    assert_eq!(failed(Some("WORKER_DEAD")).expect("owed").code, "WORKER_DEAD");
}

#[test]
fn a_record_that_cannot_be_read_is_remembered_and_named() {
    let mut state = State::empty();
    let payload = br#"{"at":1}"#.to_vec();
    let record =
        JournalRecord { epoch: 1, lsn: 7, kind: "turn.sealed".into(), must_understand: true, payload };
    state.apply(&record);
    assert!(
        state
            .unreadable
            .as_deref()
            .is_some_and(|why| why.starts_with("record 7: journal record of kind turn.sealed"))
    );
    assert_eq!(State::load(1, &state.save()).expect("its own"), state, "in checkpoints too");
    assert!(matches!(State::load(2, b"{}"), Err(LoadError::Version { found: 2, newest: 1 })));
    assert!(matches!(State::load(1, b"{"), Err(LoadError::Malformed { .. })));
}

/// A checkpoint as the release before agents wrote it: it never changes.
const BEFORE_AGENTS: &str = r#"{"tasks":{"x":{"id":"x","skill":"command","standing":"open","turns":3,"running":{"turn":"t2","state":"ordered","order":{"spawn_id":"w-1-4","number":1,"text":"echo","synced_outputs":3}},"queue":[{"turn":"t3","text":"q"}],"conversation":{"epoch":"01020304","total":3,"open":{"conversation":"x","epoch":"01020304","first":4,"turn":"t2","worker":"w-1-4","events":[{"after":0,"data":{"type":"turn.started","turn":"t2","text":"echo","at":2}}]},"open_bytes":0,"unfiled":[{"conversation":"x","epoch":"01020304","first":1,"turn":"t1","worker":"w-1-2","events":[{"after":0,"data":{"type":"turn.started","turn":"t1","text":"a","at":1}},{"after":1,"data":{"type":"turn.sealed","turn":"t1","stop_reason":"end_turn","exit_code":0,"at":2}}],"sealed":{"stop_reason":"end_turn","exit_code":0,"sealed_at":2,"outputs":1}}]},"log":{"top":1,"events":[{"type":"task.opened"}]},"created_at":1,"updated_at":2}},"commands":COMMANDS,"tasks_log":{"top":0,"events":[]},"members_log":{"top":0,"events":[]},"channel_epoch":"0a0b0c0d","boot_id":"b","unreadable":null}"#;

#[test]
fn a_checkpoint_of_the_release_before_agents_is_loaded() {
    let commands = serde_json::to_string(&CommandIds::default()).expect("JSON");
    let text = BEFORE_AGENTS.replace("COMMANDS", &commands);
    let state = State::load(1, text.as_bytes()).expect("it is read");
    let task = state.task("x").expect("it is there");
    assert_eq!((task.protocol, &task.agent, task.worker()), (Protocol::Command, &None, Some("w-1-4")));
    assert_eq!((task.synced_outputs(), task.conversation.top(4)), (3, 8));
    assert_eq!(task.conversation.unfiled[0].check(), Ok(()));
    assert_eq!(State::load(1, &state.save()).expect("its own"), state);
}
