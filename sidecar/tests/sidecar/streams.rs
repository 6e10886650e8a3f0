//! Subscriptions: from now on, from a position, over pieces, at a slow reader's pace.

use crate::browser::Browser;
use crate::fake_runtime::{FakeRuntime, Store};
use crate::process::{Sidecar, wait_for};
use crate::run;
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};

const CHANNEL: &str = "conversation:x";

async fn routed(store: &std::rc::Rc<Store>) -> (Sidecar, FakeRuntime) {
    let mut sidecar = Sidecar::start(json!({})).await;
    let runtime = FakeRuntime::start(&sidecar.home, Slot::A, store, Some(1));
    sidecar.route(Slot::A, 1).await;
    (sidecar, runtime)
}

#[test]
fn a_subscriber_sees_what_comes_and_what_it_names() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        (1..=10).for_each(|n| store.publish(CHANNEL, &json!({"n": n})));
        let (sidecar, _runtime) = routed(&store).await;
        let mut live = Browser::connect(sidecar.address, "operator").await;
        let reply = live.subscribe(CHANNEL, None).await;
        assert_eq!(
            reply["subscribe"],
            json!({"recoverable": true, "positioned": true, "epoch": "e1", "offset": 10})
        );
        let again = live.subscribe(CHANNEL, None).await;
        assert_eq!(again["error"]["code"], json!(105));
        let mut from_start = Browser::connect(sidecar.address, "operator").await;
        let reply = from_start.subscribe(CHANNEL, Some(("", 0))).await;
        assert_eq!(reply["subscribe"]["recovered"], json!(true));
        assert_eq!(reply["subscribe"]["offset"], json!(0));
        assert_eq!(from_start.last[CHANNEL], 10);
        let mut ahead = Browser::connect(sidecar.address, "operator").await;
        let reply = ahead.subscribe(CHANNEL, Some(("e1", 99))).await;
        assert_eq!(
            reply["subscribe"],
            json!({"recoverable": true, "positioned": true, "epoch": "e1", "offset": 10, "was_recovering": true})
        );
        (11..=2000).for_each(|n| store.publish(CHANNEL, &json!({"n": n})));
        for browser in [&mut live, &mut from_start, &mut ahead] {
            browser.reach(CHANNEL, 2000).await;
            let numbers = browser.seen[CHANNEL].iter().map(|data| data["n"].as_u64().unwrap());
            let first = 2001 - browser.seen[CHANNEL].len() as u64;
            assert!(numbers.eq(first..=2000));
        }
        assert!(live.messages < 1000, "publications share messages: {}", live.messages);
        let ended = live.command(json!({"unsubscribe": {"channel": CHANNEL}})).await;
        assert_eq!(ended["unsubscribe"], json!({}));
        store.publish(CHANNEL, &json!({}));
        from_start.reach(CHANNEL, 2001).await;
        let reply = live.command(json!({"ping": {}})).await;
        assert_eq!((reply["ping"].clone(), live.last[CHANNEL]), (json!({}), 2000));
    });
}

#[test]
fn late_joiners_of_a_long_log_are_served_in_pieces_and_share_reads() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let (sidecar, _runtime) = routed(&store).await;
        let mut early = Browser::connect(sidecar.address, "operator").await;
        early.subscribe(CHANNEL, None).await;
        let padding = "x".repeat(500);
        for n in 1..=20_000 {
            store.publish(CHANNEL, &json!({"n": n, "padding": padding}));
            if n % 1000 == 0 {
                early.reach(CHANNEL, n).await;
            }
        }
        let mut joiners = Vec::new();
        for _ in 0..5 {
            joiners.push(Browser::connect(sidecar.address, "operator").await);
        }
        let reply = joiners[0].subscribe(CHANNEL, Some(("e1", 0))).await;
        let first = reply["subscribe"]["publications"].as_array().unwrap();
        let bytes: usize = first.iter().map(|publication| publication.to_string().len()).sum();
        assert!(!first.is_empty() && bytes <= 256 * 1024, "a first piece of {bytes} bytes");
        for joiner in &mut joiners[1..] {
            joiner.subscribe(CHANNEL, Some(("", 0))).await;
        }
        store.publish(CHANNEL, &json!({"n": 20_001}));
        for joiner in &mut joiners {
            joiner.reach(CHANNEL, 20_001).await;
        }
        assert_eq!(joiners[0].seen[CHANNEL].len(), 20_001);
    });
}

#[test]
fn a_reader_that_stands_still_delays_nobody_and_then_gets_everything() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let (sidecar, _runtime) = routed(&store).await;
        let mut still = Browser::connect(sidecar.address, "operator").await;
        still.subscribe(CHANNEL, None).await;
        let mut quick = Browser::connect(sidecar.address, "operator").await;
        quick.subscribe(CHANNEL, None).await;
        let padding = "y".repeat(1000);
        for n in 1..=30_000 {
            store.publish(CHANNEL, &json!({"n": n, "padding": padding}));
            if n % 500 == 0 {
                quick.reach(CHANNEL, n).await;
            }
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.pid())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kilobytes < 60_000, "30 MB went by and {kilobytes} kB are resident");
        still.reach(CHANNEL, 30_000).await;
        assert_eq!(still.seen[CHANNEL].len(), 30_000);
    });
}

#[test]
fn a_channel_that_begins_anew_is_said_and_can_be_followed_again() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        (1..=5).for_each(|n| store.publish(CHANNEL, &json!({"n": n})));
        let (sidecar, _runtime) = routed(&store).await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        browser.subscribe(CHANNEL, Some(("e1", 5))).await;
        store.lose(CHANNEL, "e2");
        assert_eq!(browser.ended(CHANNEL).await, 2500);
        let reply = browser.subscribe(CHANNEL, Some(("e1", 5))).await;
        assert_eq!(
            reply["subscribe"],
            json!({"recoverable": true, "positioned": true, "epoch": "e2", "offset": 0, "was_recovering": true})
        );
        store.publish(CHANNEL, &json!({"n": 1}));
        browser.reach(CHANNEL, 1).await;
    });
}

#[test]
fn the_node_channel_is_there_whatever_is_down() {
    run(async {
        let mut sidecar = Sidecar::start(json!({})).await;
        sidecar.node_event(json!({"type": "started"}));
        sidecar.hold().await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        let reply = browser.subscribe("node", Some(("", 0))).await;
        assert_eq!(reply["subscribe"]["epoch"], json!("journal-1"));
        assert_eq!(browser.seen["node"], [json!({"type": "started"})]);
        sidecar.node_event(json!({"type": "switching"}));
        let report = sidecar.hold().await;
        assert_eq!((report.node_offset, report.node_epoch.as_str()), (2, "journal-1"));
        browser.reach("node", 2).await;
        let state = browser.rpc("node.state", json!({})).await;
        assert_eq!(state["rpc"]["data"], json!({"update": {"state": "idle"}}));
        let history =
            browser.command(json!({"history": {"channel": "node", "limit": 1, "reverse": true}})).await;
        assert_eq!(
            history["history"],
            json!({"epoch": "journal-1", "offset": 2, "publications": [{"offset": 2, "data": {"type": "switching"}}]})
        );
        let history = browser.command(json!({"history": {"channel": "node", "limit": -1}})).await;
        assert_eq!(history["history"]["publications"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn history_reads_forward_and_backward() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        (1..=50).for_each(|n| store.publish(CHANNEL, &json!({"n": n})));
        let (sidecar, _runtime) = routed(&store).await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        let offsets = |reply: &Value| -> Vec<u64> {
            let publications = reply["history"]["publications"].as_array();
            publications.into_iter().flatten().map(|p| p["offset"].as_u64().unwrap()).collect()
        };
        for (fields, expected) in [
            (json!({"limit": 0}), vec![]),
            (json!({"limit": 2}), vec![1, 2]),
            (json!({"limit": 2, "since": {"offset": 30, "epoch": "e1"}}), vec![31, 32]),
            (json!({"limit": 3, "since": {"offset": 48, "epoch": ""}}), vec![49, 50]),
            (json!({"limit": 2, "reverse": true}), vec![50, 49]),
            (json!({"limit": 2, "reverse": true, "since": {"offset": 3, "epoch": ""}}), vec![2, 1]),
            (json!({"limit": 2, "reverse": true, "since": {"offset": 1, "epoch": ""}}), vec![]),
        ] {
            let mut request = fields.clone();
            request["channel"] = json!(CHANNEL);
            let reply = browser.command(json!({"history": request})).await;
            assert_eq!(reply["history"]["offset"], json!(50), "{fields}: {reply}");
            assert_eq!(offsets(&reply), expected, "{fields}");
        }
        let wrong = json!({"channel": CHANNEL, "limit": 1, "since": {"offset": 1, "epoch": "other"}});
        let reply = browser.command(json!({"history": wrong})).await;
        assert_eq!(reply["error"]["code"], json!(112));
    });
}

#[test]
fn an_unknown_channel_is_refused_and_a_lingering_one_is_found_again() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let (sidecar, runtime) = routed(&store).await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        let reply = browser.subscribe("nonsense", None).await;
        assert_eq!(reply["error"]["code"], json!(1003));
        assert_eq!(reply["error"]["message"], json!("UNKNOWN_CHANNEL: no such channel: nonsense"));
        let reply = browser.subscribe("", None).await;
        assert_eq!(reply["error"]["code"], json!(107));
        let reply = browser.command(json!({"presence": {"channel": CHANNEL}})).await;
        assert_eq!(reply["error"]["code"], json!(108));
        browser.subscribe(CHANNEL, None).await;
        store.publish(CHANNEL, &json!({"n": 1}));
        browser.reach(CHANNEL, 1).await;
        drop(browser);
        runtime.cut();
        drop(runtime);
        wait_for(|| async {
            let status = sidecar.client.get::<Value>("/v1/status", crate::browser::SOON).await.unwrap();
            (status["sessions"] == json!(0) && status["link_up"] == json!(false)).then_some(())
        })
        .await;
        let mut reload = Browser::connect(sidecar.address, "operator").await;
        let reply = reload.subscribe(CHANNEL, Some(("e1", 0))).await;
        assert_eq!(reply["subscribe"]["recovered"], json!(true), "from the hot tail, with no runtime at all");
        assert_eq!(reload.last[CHANNEL], 1);
    });
}
