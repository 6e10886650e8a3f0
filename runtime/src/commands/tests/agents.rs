//! Commands to tasks with agents.

use super::*;
use crate::acp::modes::{Mode, Modes};
use crate::agent::MESSAGES;
use crate::conversation::{ANSWER_EVENTS_BYTES, OPEN_EVENTS_BYTES};
use crate::record::{OrderedFor, SessionReady, WorkerOrdered};

/// A task whose agent is ready.
fn warm(task: &str) -> Lifetime {
    let mut life = Lifetime::default();
    life.does("task.open", json!({"task": task, "skill": "demo"}));
    order(&mut life, task);
    let mode = |id: &str| Mode { id: id.into(), name: id.into(), description: None };
    let modes = Modes { current_mode_id: "ask".into(), available_modes: vec![mode("ask"), mode("code")] };
    let ready = SessionReady {
        task: task.into(),
        spawn_id: "w".into(),
        session: "s".into(),
        resumed: false,
        resumable: true,
        modes: Some(modes),
        outputs: 2,
    };
    life.take(Record::new(NOW, Body::SessionReady(ready)));
    life
}

fn order(life: &mut Lifetime, task: &str) {
    let (task, spawn_id) = (task.to_owned(), "w".to_owned());
    let ordered = WorkerOrdered { task, spawn_id, number: 1, why: OrderedFor::Warm };
    life.take(Record::new(NOW, Body::WorkerOrdered(ordered)));
}

fn numbers(life: &Lifetime) -> Vec<u64> {
    let agent = life.state.task("x").unwrap().agent.as_ref().unwrap();
    agent.worker.as_ref().unwrap().messages.iter().map(|sent| sent.number).collect()
}

#[test]
fn a_task_with_an_agent_is_creating_until_its_first_session() {
    let mut life = Lifetime::default();
    let opened = life.does("task.open", json!({"task": "x", "skill": "demo"}));
    assert_eq!(opened, json!({"task": "x", "mode": "created", "state": "creating"}));
    life.refuses("task.open", json!({"task": "x", "skill": "demo"}), Code::AlreadyActive);
    life.refuses("task.mode", json!({"task": "x", "mode": "ask"}), Code::TaskNotReady);
    let listed = &life.does("task.list", json!({}))["tasks"][0];
    assert_eq!((&listed["protocol"], &listed["worker"]), (&json!("acp"), &json!("none")));
    order(&mut life, "x");
    assert_eq!(life.does("task.list", json!({}))["tasks"][0]["worker"], "starting");
    let switched = life.does("task.switch", json!({"task": "x"}));
    assert_eq!(switched, json!({"task": "x", "state": "switching"}));
    assert_eq!(life.does("task.cancel", json!({"task": "x"}))["turn"], json!(null));
    life.does("task.prompt", json!({"task": "x", "text": "early"}));
    assert_eq!(numbers(&life), [16, 17]);
    life.does("task.stop", json!({"task": "x"}));
}

/// A person who comes back to the task in focus has its worker started again, once.
#[test]
fn a_switch_to_the_task_in_focus_warms_it_where_no_worker_stands() {
    let mut life = warm("x");
    let mut who = caller(TokenRole::Operator);
    who.focus = Some("x".into());
    let switch = |life: &mut Lifetime, id: u64| {
        let answer = life.call_as("task.switch", &json!({"task": "x"}), &id_at(NOW, id), &who).unwrap();
        answer["state"].clone()
    };
    assert_eq!(switch(&mut life, 900), "ready", "it is warm");
    let ended = crate::record::WorkerEnded { task: "x".into(), spawn_id: "w".into(), error: None };
    life.take(Record::new(NOW, Body::WorkerEnded(ended)));
    assert_eq!(switch(&mut life, 901), "switching");
    let records = life.lsn();
    assert_eq!(switch(&mut life, 901), "switching", "the same again is answered the same");
    assert_eq!(life.lsn(), records);
    assert_eq!(switch(&mut life, 902), "ready", "it is under way");
    let switches = life.records.iter().filter(|record| matches!(record.body, Body::TaskSwitching(_)));
    assert_eq!(switches.count(), 1);
    assert!(life.state.task("x").unwrap().agent.as_ref().unwrap().wanted);
}

#[test]
fn messages_to_an_agent_take_rising_numbers_by_their_records() {
    let mut life = warm("x");
    life.does("task.mode", json!({"task": "x", "mode": "code"}));
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    life.does("task.cancel", json!({"task": "x"}));
    life.does("task.cancel", json!({"task": "x"}));
    assert_eq!(numbers(&life), [16, 17, 18, 19], "mode, mark, prompt, cancel");
    life.does("task.prompt", json!({"task": "x", "text": "b", "queue": true}));
    life.seal("x", StopReason::Cancelled, None);
    life.start_queued("x");
    assert_eq!(numbers(&life), [16, 20, 21], "what only the first turn was about is void");
    life.refuses("task.mode", json!({"task": "x", "mode": "odd"}), Code::InvalidRequest);
}

#[test]
fn the_first_answer_to_a_permission_wins() {
    let mut life = warm("x");
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    let ask = |option: Value| json!({"task": "x", "request": "t1.9", "option": option});
    life.refuses("permission.answer", ask(json!("yes")), Code::InvalidRequest);
    let pending = PendingPermission { id: "\"p\"".into(), options: vec!["yes".into(), "no".into()] };
    life.permissions.insert(("x".into(), 9), pending);
    life.refuses("permission.answer", ask(json!("odd")), Code::InvalidRequest);
    for other in ["-9", "9", "t1.-9", "t1.09", "t1.+9", "t2.9", "t1.t1.9", ".9", "t1."] {
        let answer = json!({"task": "x", "request": other, "option": "yes"});
        life.refuses("permission.answer", answer, Code::InvalidRequest);
    }
    let won = life.does("permission.answer", ask(json!("yes")));
    assert_eq!((&won["won"], &won["outcome"]), (&json!(true), &json!("selected")));
    let late = life.does("permission.answer", ask(json!(null)));
    let told =
        json!({"task": "x", "request": "t1.9", "outcome": "selected", "option_id": "yes", "won": false});
    assert_eq!(late, told);
    life.seal("x", StopReason::EndTurn, None);
    life.permissions.clear();
    assert_eq!(life.does("permission.answer", ask(json!("no")))["won"], false, "after the turn too");

    life.does("task.prompt", json!({"task": "x", "text": "b"}));
    let pending = PendingPermission { id: "\"q\"".into(), options: vec!["yes".into(), "no".into()] };
    life.permissions.insert(("x".into(), 9), pending);
    assert_eq!(life.does("permission.answer", ask(json!("no")))["won"], false, "that is the first turn's");
    let mine = json!({"task": "x", "request": "t2.9", "option": "yes"});
    assert_eq!(life.does("permission.answer", mine)["won"], true);
}

#[test]
fn answers_have_room_of_their_own_in_a_turn_that_is_full_of_events() {
    let mut life = warm("x");
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    let pending = |seq: u64| {
        let asked = PendingPermission { id: "1".into(), options: vec!["yes".into()] };
        ((String::from("x"), seq), asked)
    };
    life.permissions.extend((7..10).map(pending));
    let bytes = |life: &mut Lifetime, bytes| {
        life.state.tasks.get_mut("x").unwrap().conversation.open_bytes = bytes;
    };
    let ask = |seq: u64| json!({"task": "x", "request": format!("t1.{seq}"), "option": "yes"});
    bytes(&mut life, OPEN_EVENTS_BYTES + 1);
    life.refuses("task.prompt", json!({"task": "x", "text": "b", "queue": true}), Code::Busy);
    assert_eq!(life.does("permission.answer", ask(7))["won"], true);
    bytes(&mut life, OPEN_EVENTS_BYTES + ANSWER_EVENTS_BYTES + 1);
    life.refuses("permission.answer", ask(8), Code::Busy);
    assert_eq!(life.does("permission.answer", ask(7))["won"], false, "whoever is late is told");
    life.does("task.cancel", json!({"task": "x"}));
}

#[test]
fn an_answer_to_a_turn_that_is_over_is_looked_up_where_its_turn_was() {
    let mut life = warm("x");
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    let ask = |request: &str| json!({"task": "x", "request": request, "option": "yes"});
    life.seal("x", StopReason::EndTurn, None);
    assert_eq!(life.does("permission.answer", ask("t1.9")), "late");
    for never in ["t2.9", "t0.9", "t01.9", "1.9", "t1.09"] {
        life.refuses("permission.answer", ask(never), Code::InvalidRequest);
    }
    life.does("task.stop", json!({"task": "x"}));
    assert_eq!(life.does("permission.answer", ask("t1.9")), "late", "also where the task is stopped");
}

#[test]
fn an_agent_that_reads_nothing_is_not_told_without_end() {
    let mut life = warm("x");
    for _ in 0..MESSAGES {
        life.does("task.mode", json!({"task": "x", "mode": "code"}));
    }
    life.refuses("task.mode", json!({"task": "x", "mode": "code"}), Code::Busy);
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_prompts_and_all_else() {
    let mut life = warm("x");
    life.does("task.open", json!({"task": "y", "skill": "command"}));
    life.no_room = Some(ApiError::new(Code::StorageFull, "no room"));
    let records = life.lsn();
    for (task, queue) in [("x", false), ("x", true), ("y", false)] {
        let prompt = json!({"task": task, "text": "a", "queue": queue});
        assert!(life.refuses("task.prompt", prompt, Code::StorageFull).retryable);
    }
    assert_eq!(life.lsn(), records, "nothing is journaled");
    life.does("task.mode", json!({"task": "x", "mode": "code"}));
    life.does("task.stop", json!({"task": "x"}));
}

#[test]
fn a_scope_of_one_task_allows_answers_to_no_other() {
    let mut life = warm("x");
    let mut who = caller(TokenRole::Operator);
    who.scope = holdfast_shared::token::Scope { tasks: vec!["y".into()] };
    for (method, params) in [
        ("permission.answer", json!({"task": "x", "request": "1"})),
        ("task.mode", json!({"task": "x", "mode": "code"})),
    ] {
        let refused = life.call_as(method, &params, &id_at(NOW, 902), &who).unwrap_err();
        assert_eq!(refused.code, Code::Forbidden);
    }
}
