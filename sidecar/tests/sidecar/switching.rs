//! Hold and route: nothing closed, nothing lost, nothing twice.

use crate::browser::Browser;
use crate::fake_runtime::{FakeRuntime, Store};
use crate::process::{Sidecar, refused, wait_for};
use crate::run;
use holdfast_shared::decision::Decision;
use holdfast_shared::error::Code;
use holdfast_shared::slot::Slot;
use holdfast_shared::token::TokenRole;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

const CHANNEL: &str = "conversation:x";

/// Calls `count` again and again while following a channel; ends when told, having read up to the end.
async fn busy(mut browser: Browser, stop: Rc<std::cell::Cell<Option<u64>>>) -> (Browser, Vec<u64>) {
    let mut counts = Vec::new();
    while stop.get().is_none() {
        let reply = browser.rpc("count", json!({})).await;
        counts.push(reply["rpc"]["data"]["count"].as_u64().unwrap_or_else(|| panic!("{reply}")));
    }
    browser.reach(CHANNEL, stop.get().unwrap()).await;
    (browser, counts)
}

#[test]
fn switches_and_cut_links_lose_nothing_and_do_nothing_twice() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let mut sidecar = Sidecar::start(json!({})).await;
        let runtimes = Slot::BOTH.map(|slot| FakeRuntime::start(&sidecar.home, slot, &store, None));
        runtimes[0].set_active(Some(1));
        sidecar.route(Slot::A, 1).await;
        let stop = Rc::new(std::cell::Cell::new(None));
        let mut sessions = Vec::new();
        for _ in 0..8 {
            let mut browser = Browser::connect(sidecar.address, "operator").await;
            browser.subscribe(CHANNEL, Some(("", 0))).await;
            sessions.push(tokio::task::spawn_local(busy(browser, stop.clone())));
        }
        let publisher = tokio::task::spawn_local({
            let store = store.clone();
            async move {
                for n in 1u64.. {
                    store.publish(CHANNEL, &json!({"n": n}));
                    // The pace of the publications; nothing is waited for.
                    tokio::time::sleep(Duration::from_micros(300)).await;
                }
            }
        });
        for epoch in 2..=21u64 {
            let (old, new) = (&runtimes[(epoch % 2) as usize], &runtimes[((epoch + 1) % 2) as usize]);
            if epoch % 3 == 0 {
                old.cut_after(3000 + 977 * epoch as usize);
            }
            let executed = store.executed.borrow().len();
            wait_for(|| async { (store.executed.borrow().len() > executed + 20).then_some(()) }).await;
            sidecar.hold().await;
            old.set_active(None);
            new.set_active(Some(epoch));
            sidecar.route(new.slot, epoch).await;
        }
        publisher.abort();
        let top = store.logs.borrow()[CHANNEL].events.len() as u64;
        stop.set(Some(top));
        let mut all = Vec::new();
        for session in sessions {
            let (browser, counts) = session.await.unwrap();
            assert_eq!(browser.seen[CHANNEL].len() as u64, top);
            assert!(counts.is_sorted(), "answers came in the order of the commands");
            all.extend(counts);
        }
        let executed = store.executed.borrow();
        assert_eq!(executed.iter().collect::<BTreeSet<_>>().len(), executed.len(), "nothing twice");
        let distinct: BTreeSet<&u64> = all.iter().collect();
        assert_eq!((distinct.len(), all.len()), (executed.len(), executed.len()), "each answered once");
    });
}

#[test]
fn unanswered_commands_go_to_the_next_runtime_in_order_of_arrival() {
    run(async {
        let store = Store::new(&[]);
        let mut sidecar = Sidecar::start(json!({})).await;
        let a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        a.mute(true);
        let mut ids = Vec::new();
        for n in 0..10 {
            let data = json!({"n": n, "command_id": format!("id-{n}")});
            ids.push(browser.send(json!({"rpc": {"method": "count", "data": data}})).await);
        }
        wait_for(|| async {
            let status = sidecar.client.get::<Value>("/v1/status", crate::browser::SOON).await.unwrap();
            (status["unanswered"] == json!(10)).then_some(())
        })
        .await;
        let b = FakeRuntime::start(&sidecar.home, Slot::B, &store, Some(2));
        sidecar.hold().await;
        sidecar.route(b.slot, 2).await;
        for (n, id) in ids.into_iter().enumerate() {
            let reply = browser.reply(id).await;
            assert_eq!(reply["rpc"]["data"], json!({"count": n + 1, "params": {"n": n}}));
        }
        let expected: Vec<String> = (0..10).map(|n| format!("id-{n}")).collect();
        assert_eq!(*store.executed.borrow(), expected);
    });
}

#[test]
fn a_lost_link_is_dialled_again_while_the_wish_stands() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let mut sidecar = Sidecar::start(json!({})).await;
        let a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        browser.subscribe(CHANNEL, None).await;
        for n in 1..=20 {
            a.cut();
            store.publish(CHANNEL, &json!({"n": n}));
            browser.reach(CHANNEL, n).await;
            let reply = browser.rpc("echo", json!({"n": n})).await;
            assert_eq!(reply["rpc"]["data"], json!({"params": {"n": n}, "epoch": 1}));
        }
    });
}

#[test]
fn old_decisions_and_passive_runtimes_are_refused() {
    run(async {
        let store = Store::new(&[]);
        let mut sidecar = Sidecar::start(json!({})).await;
        let a = FakeRuntime::start(&sidecar.home, Slot::A, &store, None);
        let report = sidecar.hold().await;
        assert!(!report.link_up && report.sessions == 0);
        assert_eq!(report.listening, sidecar.address.to_string());
        let route = json!({"wish": "route", "slot": "a", "epoch": 3});
        assert_eq!(refused(sidecar.wish(route.clone()).await), Code::NotActive);
        a.set_active(Some(2));
        assert_eq!(refused(sidecar.wish(route.clone()).await), Code::NotActive);
        a.set_active(Some(3));
        assert!(sidecar.wish(route.clone()).await.unwrap().link_up);
        assert!(sidecar.wish(route.clone()).await.unwrap().link_up, "repeated");
        let old = Decision { generation: 1, sequence: 1 };
        assert_eq!(refused(sidecar.put(old, json!({"wish": "hold"})).await), Code::StaleDecision);
        let older = Decision { generation: 0, sequence: 99 };
        assert_eq!(refused(sidecar.put(older, json!({"wish": "hold"})).await), Code::StaleDecision);
        assert!(
            sidecar.client.get::<Value>("/v1/status", crate::browser::SOON).await.unwrap()["link_up"]
                == json!(true)
        );
    });
}

#[test]
fn past_16_wishes_waiting_for_their_route_a_further_one_is_told_so() {
    run(async {
        let sidecar = Rc::new(Sidecar::start(json!({})).await);
        let decision = Decision { generation: 1, sequence: 1 };
        let wishes: Vec<_> = (0..17)
            .map(|_| {
                let sidecar = sidecar.clone();
                let wish = json!({"wish": "route", "slot": "a", "epoch": 1});
                tokio::task::spawn_local(async move { sidecar.put(decision, wish).await })
            })
            .collect();
        wait_for(|| async { wishes.iter().any(|wish| wish.is_finished()).then_some(()) }).await;
        let _a = FakeRuntime::start(&sidecar.home, Slot::A, &Store::new(&[]), Some(1));
        let mut busy = 0;
        for wish in wishes {
            match wish.await.unwrap() {
                Ok(report) => assert!(report.link_up),
                refusal => busy += usize::from(refused(refusal) == Code::Busy),
            }
        }
        assert_eq!(busy, 1);
    });
}

#[test]
fn a_newer_wish_takes_the_place_of_one_that_still_waits() {
    run(async {
        let sidecar = Rc::new(Sidecar::start(json!({})).await);
        let waiting = tokio::task::spawn_local({
            let sidecar = sidecar.clone();
            async move {
                let decision = Decision { generation: 1, sequence: 1 };
                sidecar.put(decision, json!({"wish": "route", "slot": "a", "epoch": 1})).await
            }
        });
        wait_for(|| async {
            let status = sidecar.client.get::<Value>("/v1/status", crate::browser::SOON).await.unwrap();
            (status["wish"] == json!("route")).then_some(())
        })
        .await;
        let decision = Decision { generation: 1, sequence: 2 };
        assert!(sidecar.put(decision, json!({"wish": "hold"})).await.is_ok());
        assert_eq!(refused(waiting.await.unwrap()), Code::StaleDecision);
    });
}

#[test]
fn a_probe_goes_to_its_own_slot_whatever_is_routed() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let mut sidecar = Sidecar::start(json!({})).await;
        sidecar.token("probe-b", |token| {
            token.role = TokenRole::Probe;
            token.probe_slot = Some(Slot::B);
        });
        sidecar.hold().await;
        let mut probe = Browser::connect(sidecar.address, "probe-b").await;
        let reply = probe.rpc("node.probe", json!({})).await;
        assert_eq!(reply["error"]["code"], json!(Code::Unavailable.number()), "nobody is there");
        let _b = FakeRuntime::start(&sidecar.home, Slot::B, &store, Some(7));
        let reply = probe.rpc("node.probe", json!({})).await;
        assert_eq!(reply["rpc"]["data"], json!({"epoch": 7}));
        for refused in [
            probe.rpc("count", json!({})).await,
            probe.subscribe(CHANNEL, None).await,
            probe.command(json!({"history": {"channel": CHANNEL}})).await,
        ] {
            assert_eq!(refused["error"]["code"], json!(103));
        }
    });
}

#[test]
fn the_focus_of_a_session_travels_with_its_commands() {
    run(async {
        let store = Store::new(&[]);
        let mut sidecar = Sidecar::start(json!({})).await;
        let a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        browser.rpc("echo", json!({})).await;
        assert_eq!(a.last_focus(), None);
        browser.rpc("task.switch", json!({"task": "t7"})).await;
        browser.rpc("echo", json!({})).await;
        assert_eq!(a.last_focus().as_deref(), Some("t7"));
    });
}
