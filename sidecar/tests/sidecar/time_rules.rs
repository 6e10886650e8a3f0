//! What is answered in time whatever holds, and when a session is closed. Times are shortened by settings.

use crate::browser::Browser;
use crate::fake_runtime::{FakeRuntime, Store};
use crate::process::{Sidecar, wait_for};
use crate::run;
use holdfast_shared::error::Code;
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};
use std::time::Duration;

const CHANNEL: &str = "conversation:x";

fn code(reply: &Value) -> (u64, bool) {
    (reply["error"]["code"].as_u64().unwrap_or_default(), reply["error"]["temporary"] == json!(true))
}

fn is(code: Code) -> (u64, bool) {
    (code.number().into(), code.retryable())
}

#[test]
fn while_holding_everything_is_answered_in_time() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let mut sidecar = Sidecar::start(json!({"subscribe_within_ms": 60, "call_within_ms": 120})).await;
        sidecar.hold().await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        assert_eq!(code(&browser.subscribe(CHANNEL, None).await), is(Code::Unavailable));
        let named = json!({"a": 1, "command_id": "given"});
        assert_eq!(code(&browser.rpc("count", named.clone()).await), is(Code::OutcomePending));
        assert_eq!(code(&browser.rpc("count", json!({})).await), is(Code::OutcomeUnknown));
        let history = browser.command(json!({"history": {"channel": CHANNEL, "limit": 1}})).await;
        assert_eq!(code(&history), is(Code::Unavailable));
        let _a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        let reply = browser.rpc("count", named).await;
        assert_eq!(reply["rpc"]["data"], json!({"count": 1, "params": {"a": 1}}), "the queued one, once");
        assert_eq!(*store.executed.borrow(), ["given"], "the one without an id was forgotten");
        assert!(browser.subscribe(CHANNEL, None).await["subscribe"].is_object());
    });
}

#[test]
fn after_long_holding_commands_are_refused_at_once_and_sockets_kept() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let mut sidecar = Sidecar::start(json!({"hold_unavailable_ms": 50})).await;
        sidecar.hold().await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        let reply = browser.rpc("count", json!({"command_id": "x"})).await;
        assert_eq!(code(&reply), is(Code::Unavailable));
        assert_eq!(code(&browser.subscribe(CHANNEL, None).await), is(Code::Unavailable));
        let _a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        let reply = browser.rpc("count", json!({"command_id": "x"})).await;
        assert_eq!(reply["rpc"]["data"]["count"], json!(1));
    });
}

#[test]
fn a_silent_session_is_closed_and_one_that_answers_pings_is_not() {
    run(async {
        let mut sidecar = Sidecar::start(json!({"ping_ms": 100, "pong_ms": 60})).await;
        sidecar.hold().await;
        let mut silent = Browser::connect(sidecar.address, "operator").await;
        silent.pongs = false;
        let mut lively = Browser::connect(sidecar.address, "operator").await;
        let lively = tokio::task::spawn_local(async move {
            for _ in 0..5 {
                // Time itself is tested: for longer than a silent session lives, this one speaks now and then.
                tokio::time::sleep(Duration::from_millis(50)).await;
                lively.command(json!({"ping": {}})).await;
            }
            lively
        });
        assert_eq!(silent.close_code().await, 3012);
        let mut lively = lively.await.unwrap();
        assert_eq!(lively.command(json!({"ping": {}})).await["ping"], json!({}));
    });
}

#[test]
fn a_session_without_its_first_command_is_closed() {
    run(async {
        let mut sidecar = Sidecar::start(json!({"connect_within_ms": 50})).await;
        sidecar.hold().await;
        let mut fresh = Browser::open(sidecar.address).await;
        assert_eq!(fresh.close_code().await, 3502);
    });
}

#[test]
fn past_the_unanswered_bound_a_session_is_not_read_and_nothing_is_lost() {
    run(async {
        let store = Store::new(&[]);
        let settings = json!({"ping_ms": 200, "pong_ms": 100, "call_within_ms": 60_000});
        let mut sidecar = Sidecar::start(settings).await;
        sidecar.hold().await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        let mut ids = Vec::new();
        for n in 0..100 {
            ids.push(browser.send(json!({"rpc": {"method": "count", "data": {"n": n}}})).await);
        }
        let unanswered = async || {
            let status = sidecar.client.get::<Value>("/v1/status", crate::browser::SOON).await.unwrap();
            status["unanswered"].as_u64().unwrap()
        };
        wait_for(async || (unanswered().await == 32).then_some(())).await;
        // Longer than a silent session would live: pongs lie behind what is not read.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(unanswered().await, 32);
        let _a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        for (n, id) in ids.into_iter().enumerate() {
            let reply = browser.reply(id).await;
            assert_eq!(reply["rpc"]["data"], json!({"count": n + 1, "params": {"n": n}}));
        }
    });
}

#[test]
fn an_expired_token_is_said_and_a_refreshed_one_lives_on() {
    run(async {
        let mut sidecar = Sidecar::start(json!({})).await;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_millis()).unwrap();
        sidecar.token("past", |token| token.expires_at = Some(now - 1));
        for name in ["short", "renewed"] {
            sidecar.token(name, |token| token.expires_at = Some(now + 1500));
        }
        sidecar.token("long", |token| token.principal = "renewed".into());
        sidecar.hold().await;
        let mut past = Browser::open(sidecar.address).await;
        let reply = past.command(json!({"connect": {"token": "past"}})).await;
        assert_eq!(reply["error"]["code"], json!(109));
        let mut short = Browser::open(sidecar.address).await;
        let reply = short.command(json!({"connect": {"token": "short"}})).await;
        assert_eq!(reply["connect"]["expires"], json!(true));
        let mut renewed = Browser::connect(sidecar.address, "renewed").await;
        let reply = renewed.command(json!({"refresh": {"token": "long"}})).await;
        assert!(reply["refresh"]["client"].is_string(), "{reply}");
        assert_eq!(short.close_code().await, 3005);
        assert_eq!(renewed.command(json!({"ping": {}})).await["ping"], json!({}));
        let _ = renewed.send(json!({"refresh": {"token": "operator"}})).await;
        assert_eq!(renewed.close_code().await, 3500, "another principal's");
    });
}
