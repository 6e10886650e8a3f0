use super::*;
use crate::command_id::tests::id_at;
use crate::conversation::UNFILED_SPANS;
use crate::lifetime::{Lifetime, NOW, caller};
use crate::record;
use crate::span::StopReason;
use crate::task::TASKS;
use crate::turn::QUEUED_PROMPTS;
use serde_json::json;

fn opened(task: &str) -> Lifetime {
    let mut life = Lifetime::default();
    life.does("task.open", json!({"task": task, "skill": "command"}));
    life
}

#[test]
fn a_task_is_created_resumed_and_recovered() {
    let mut life = opened("x");
    let open = || json!({"task": "x", "skill": "command"});
    assert_eq!(life.refuses("task.open", open(), Code::AlreadyActive).details["state"], "ready");
    life.does("task.stop", json!({"task": "x"}));
    let refused = life.refuses("task.prompt", json!({"task": "x", "text": "a"}), Code::TaskNotReady);
    assert!(refused.message.ends_with("`holdfast task open x --skill command` opens it"), "{refused}");
    assert_eq!(life.does("task.open", open()), json!({"task": "x", "mode": "resumed", "state": "ready"}));
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    life.seal("x", StopReason::Failed, Some("no worker"));
    let refused = life.refuses("task.prompt", json!({"task": "x", "text": "a"}), Code::TaskNotReady);
    let why = "no worker; `holdfast task open x --skill command` starts it again";
    assert!(refused.message.ends_with(why), "{refused}");
    assert_eq!(refused.details["error"], "no worker");
    assert_eq!(life.does("task.list", json!({}))["tasks"][0]["error"], "no worker");
    assert_eq!(life.does("task.open", open()), json!({"task": "x", "mode": "recovered", "state": "idle"}));
}

#[test]
fn a_prompt_runs_waits_or_is_refused() {
    let mut life = opened("x");
    let prompt = |queue: bool| json!({"task": "x", "text": "a", "queue": queue});
    assert_eq!(life.does("task.prompt", prompt(true)), json!({"turn": "t1"}), "nothing runs: it runs");
    life.refuses("task.prompt", prompt(false), Code::AlreadyActive);
    for turn in 2..2 + QUEUED_PROMPTS {
        assert_eq!(life.does("task.prompt", prompt(true)), json!({"turn": format!("t{turn}")}));
    }
    life.refuses("task.prompt", prompt(true), Code::Busy);
    life.does("task.dequeue", json!({"task": "x", "turn": "t3"}));
    life.refuses("task.dequeue", json!({"task": "x", "turn": "t3"}), Code::InvalidRequest);
    assert_eq!(life.does("task.prompt", prompt(true)), json!({"turn": "t18"}), "numbers are not used again");
    life.seal("x", StopReason::EndTurn, None);
    life.start_queued("x");
    let running = life.state.task("x").and_then(|task| task.running.clone()).map(|running| running.turn);
    assert_eq!(running.as_deref(), Some("t2"), "first in, first out");
}

#[test]
fn a_cancel_is_for_the_running_turn_and_can_be_given_again() {
    let mut life = opened("x");
    assert_eq!(life.does("task.cancel", json!({"task": "x"})), json!({"task": "x", "turn": null}));
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    for _ in 0..2 {
        assert_eq!(life.does("task.cancel", json!({"task": "x"})), json!({"task": "x", "turn": "t1"}));
    }
    let cancels = life.records.iter().filter(|record| matches!(record.body, Body::TurnCancelled(_))).count();
    assert_eq!(cancels, 1);
}

#[test]
fn a_stop_ends_the_turn_and_seals_what_waits() {
    let mut life = opened("x");
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    life.does("task.prompt", json!({"task": "x", "text": "b", "queue": true}));
    life.does("task.stop", json!({"task": "x"}));
    life.refuses("task.prompt", json!({"task": "x", "text": "c", "queue": true}), Code::TaskNotReady);
    life.refuses("task.switch", json!({"task": "x"}), Code::TaskNotReady);
    life.seal("x", StopReason::Cancelled, None);
    let listed = &life.does("task.list", json!({}))["tasks"][0];
    assert_eq!((&listed["state"], &listed["queued"]), (&json!("stopped"), &json!([])));
}

#[test]
fn a_switch_to_the_task_in_focus_is_no_event() {
    let mut life = opened("x");
    let switched = life.does("task.switch", json!({"task": "x"}));
    assert_eq!(switched, json!({"task": "x", "state": "switching"}));
    let top = life.state.tasks_log.top();
    let mut who = caller(TokenRole::Operator);
    who.focus = Some("x".into());
    let again = life.call_as("task.switch", &json!({"task": "x"}), &id_at(NOW, 900), &who).unwrap();
    assert_eq!((again, life.state.tasks_log.top()), (json!({"task": "x", "state": "ready"}), top));
}

#[test]
fn what_a_caller_names_is_said_again_only_so_far() {
    let mut life = opened("x");
    let long = "y".repeat(100_000);
    for (method, params, code) in [
        ("task.open", json!({"task": "z", "skill": long}), Code::InvalidRequest),
        ("task.open", json!({"task": "z", "skill": "command", &long: 1}), Code::InvalidRequest),
        ("task.stop", json!({"task": long}), Code::TaskNotFound),
        ("task.dequeue", json!({"task": "x", "turn": long}), Code::InvalidRequest),
        ("permission.answer", json!({"task": "x", "request": long}), Code::InvalidRequest),
        (&long, json!({}), Code::UnknownMethod),
    ] {
        let refused = life.refuses(method, params, code);
        assert!(refused.message.len() < 1200 && refused.message.contains("yyy"), "{}", refused.message.len());
    }
}

#[test]
fn refusals_say_what_helps() {
    let mut life = opened("x");
    let open = life.refuses("task.open", json!({"task": "x", "skill": "command"}), Code::AlreadyActive);
    assert!(open.message.contains("`holdfast task prompt x TEXT`"), "{open}");
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    let prompt = life.refuses("task.prompt", json!({"task": "x", "text": "a"}), Code::AlreadyActive);
    assert!(prompt.message.contains("--queue"), "{prompt}");
    let unknown = life.refuses("task.prompt", json!({"task": "y", "text": "a"}), Code::TaskNotFound);
    assert!(unknown.message.contains("`holdfast task open y`"), "{unknown}");
}

#[test]
fn a_repeat_is_answered_from_the_store_also_where_the_state_would_refuse_it() {
    let mut life = opened("x");
    let (who, id) = (caller(TokenRole::Operator), id_at(NOW, 900));
    let params = json!({"task": "x", "text": "a"});
    let first = life.call_as("task.prompt", &params, &id, &who).unwrap();
    let records = life.lsn();
    life.storage_full = true;
    assert_eq!(life.call_as("task.prompt", &params, &id, &who).unwrap(), first);
    assert_eq!(life.lsn(), records);
    let other = life.call_as("task.stop", &json!({"task": "x"}), &id, &who).unwrap_err();
    assert_eq!(other.code, Code::CommandIdReused);
}

#[test]
fn what_each_role_may_do() {
    let writes = ["task.open", "task.switch", "task.prompt", "task.dequeue", "task.cancel", "task.stop"];
    let reads = ["task.list", "conversation.history", "node.probe"];
    let mut life = opened("x");
    for method in writes.iter().chain(&reads) {
        for role in [TokenRole::Operator, TokenRole::Viewer, TokenRole::Probe] {
            let allowed = match role {
                TokenRole::Operator => true,
                TokenRole::Viewer => reads.contains(method),
                TokenRole::Probe => *method == "node.probe",
            };
            let answer = life.call_as(method, &json!({"nonsense": 1}), &id_at(NOW, 901), &caller(role));
            let code = answer.unwrap_err().code;
            assert_eq!(code == Code::Forbidden, !allowed, "{method} as {role:?}: {code:?}");
        }
    }
    life.refuses("node.destroy", json!({}), Code::UnknownMethod);
}

#[test]
fn a_passive_runtime_refuses_writes_and_a_full_disk_new_ones() {
    let mut life = opened("x");
    life.storage_full = true;
    life.refuses("task.stop", json!({"task": "x"}), Code::StorageFull);
    life.refuses("task.stop", json!({"task": "y"}), Code::TaskNotFound);
    life.does("task.list", json!({}));
    life.passive = true;
    life.refuses("task.stop", json!({"task": "x"}), Code::NotActive);
    life.does("task.list", json!({}));
}

#[test]
fn on_a_full_disk_a_running_turn_is_cancelled_once() {
    let mut life = opened("x");
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    life.storage_full = true;
    life.does("task.cancel", json!({"task": "x"}));
    life.refuses("task.cancel", json!({"task": "x"}), Code::StorageFull);
}

#[test]
fn bad_requests_name_the_field() {
    let mut life = opened("x");
    let long = "x".repeat(PROMPT_BYTES + 1);
    for (method, params, field) in [
        ("task.open", json!({"task": "../etc", "skill": "command"}), "task: "),
        ("task.open", json!({"task": "y", "skill": "other"}), "skill: "),
        ("task.open", json!({"task": "y", "skill": "command", "root": "/"}), "root: "),
        ("task.prompt", json!({"task": "x", "text": long}), "text: "),
        ("task.prompt", json!({"task": "x", "text": "a\0b"}), "text: "),
        ("task.dequeue", json!({"task": "x", "turn": 1}), "turn: "),
        ("task.list", json!({"limit": -1}), "limit: "),
        ("conversation.history", json!({"conversation": "x", "since": 5}), "since: "),
        ("node.probe", json!({"deep": true}), "deep: "),
    ] {
        let error = life.refuses(method, params, Code::InvalidRequest);
        assert!(error.message.starts_with(field), "{method}: {error}");
    }
    let call = life.call_as("task.stop", &json!({"task": "x"}), "not an id", &caller(TokenRole::Operator));
    assert!(call.unwrap_err().message.starts_with("command_id: "));
}

#[test]
fn a_list_is_given_in_pieces() {
    let mut life = Lifetime::default();
    for task in ["a", "b", "c"] {
        life.does("task.open", json!({"task": task, "skill": "command"}));
    }
    let first = life.does("task.list", json!({"limit": 2}));
    assert_eq!((&first["tasks"][1]["task"], &first["more"]), (&json!("b"), &json!(true)));
    let rest = life.does("task.list", json!({"after": "b"}));
    assert_eq!((&rest["tasks"][0]["task"], &rest["more"]), (&json!("c"), &json!(false)));
}

#[test]
fn the_bounds_on_tasks_and_unfiled_turns_are_seen() {
    let mut life = Lifetime::default();
    for number in 0..TASKS {
        life.does("task.open", json!({"task": format!("t{number}"), "skill": "command"}));
    }
    life.refuses("task.open", json!({"task": "one-more", "skill": "command"}), Code::Busy);
    for _ in 0..UNFILED_SPANS {
        life.does("task.prompt", json!({"task": "t0", "text": "a"}));
        life.seal("t0", StopReason::EndTurn, None);
    }
    life.refuses("task.prompt", json!({"task": "t0", "text": "a"}), Code::StorageFull);
    life.take(Record::new(NOW, Body::SpanFiled(record::SpanFiled { task: "t0".into(), first: 1 })));
    life.does("task.prompt", json!({"task": "t0", "text": "a"}));
}

#[test]
fn a_span_full_of_events_takes_no_more_prompts_until_its_turn_ends() {
    let mut life = opened("x");
    let prompt = || json!({"task": "x", "text": "a".repeat(PROMPT_BYTES), "queue": true});
    life.does("task.prompt", prompt());
    for turn in 2..1000 {
        if life.state.task("x").unwrap().conversation.is_full() {
            break;
        }
        life.does("task.prompt", prompt());
        if turn > 2 && !life.state.task("x").unwrap().conversation.is_full() {
            life.does("task.dequeue", json!({"task": "x", "turn": format!("t{turn}")}));
        }
    }
    life.refuses("task.prompt", prompt(), Code::Busy);
    life.refuses("task.dequeue", json!({"task": "x", "turn": "t2"}), Code::Busy);
    life.seal("x", StopReason::EndTurn, None);
    life.start_queued("x");
    life.does("task.prompt", prompt());
}

#[test]
fn between_two_turns_no_event_is_lost() {
    let mut life = opened("x");
    let prompt = || json!({"task": "x", "text": "a", "queue": true});
    life.does("task.prompt", prompt());
    life.does("task.prompt", prompt());
    life.seal("x", StopReason::EndTurn, None);
    life.refuses("task.prompt", prompt(), Code::Busy);
    life.refuses("task.dequeue", json!({"task": "x", "turn": "t2"}), Code::Busy);
    life.refuses("task.stop", json!({"task": "x"}), Code::Busy);
    life.start_queued("x");
    life.does("task.prompt", prompt());
    life.does("task.stop", json!({"task": "x"}));
}

#[test]
fn no_place_is_picked_while_nobody_knows_how_much_was_shown() {
    let mut life = opened("x");
    life.does("task.prompt", json!({"task": "x", "text": "a"}));
    life.does("task.prompt", json!({"task": "x", "text": "b", "queue": true}));
    let before = life.state.clone();
    life.outputs_unknown = true;
    let placing = [
        ("task.prompt", json!({"task": "x", "text": "c", "queue": true})),
        ("task.dequeue", json!({"task": "x", "turn": "t2"})),
        ("task.stop", json!({"task": "x"})),
    ];
    for (method, params) in &placing {
        assert!(life.refuses(method, params.clone(), Code::Unavailable).retryable, "{method}");
    }
    assert_eq!(life.state, before);
    life.does("task.cancel", json!({"task": "x"}));
    life.outputs_unknown = false;
    for (method, params) in placing {
        life.does(method, params);
    }
}

#[test]
fn a_token_for_one_task_names_it_in_whatever_it_asks() {
    let mut life = Lifetime::default();
    life.does("task.open", json!({"task": "other", "skill": "command"}));
    let mut who = caller(TokenRole::Operator);
    who.scope.tasks.push("demo".into());
    let mut ids = 500..;
    let mut call = |life: &mut Lifetime, method: &str, params| {
        let id = id_at(NOW, ids.next().unwrap());
        life.call_as(method, &params, &id, &who)
    };
    call(&mut life, "task.open", json!({"task": "demo", "skill": "command"})).unwrap();
    call(&mut life, "task.prompt", json!({"task": "demo", "text": "a"})).unwrap();
    call(&mut life, "conversation.history", json!({"conversation": "demo"})).unwrap();
    for (method, params) in [
        ("task.open", json!({"task": "more", "skill": "command"})),
        ("task.prompt", json!({"task": "other", "text": "a"})),
        ("task.stop", json!({"task": "other"})),
        ("conversation.history", json!({"conversation": "other"})),
        ("task.list", json!({})),
        ("task.stop", json!({})),
    ] {
        assert_eq!(call(&mut life, method, params).unwrap_err().code, Code::Forbidden, "{method}");
    }
    // One more name than a method knows does not help.
    let both = call(&mut life, "conversation.history", json!({"conversation": "other", "task": "demo"}));
    assert_eq!(both.unwrap_err().code, Code::InvalidRequest);
}

mod agents;
