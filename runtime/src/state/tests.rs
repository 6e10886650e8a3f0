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
}

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
    ]
}

fn command(life: &mut Lifetime, method: usize, task: &str, id: u64, turn: u64) {
    let (method, params) = match method {
        0 => ("task.open", json!({"task": task, "skill": "command"})),
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
                let retried = record::OrderRetried { task, turn: running.turn, spawn_id };
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
        Happens::Output { .. } => {}
    }
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
        assert!(task.queue.len() <= crate::turn::QUEUED_PROMPTS);
        assert!(task.queue.is_empty() || task.standing == Standing::Open, "nothing waits in vain");
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
