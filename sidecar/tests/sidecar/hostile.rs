//! Bad input: a coded error or the protocol's close code, and nobody else's session is touched.

use crate::browser::{Browser, open};
use crate::fake_runtime::{FakeRuntime, Store};
use crate::process::Sidecar;
use crate::run;
use holdfast_shared::slot::Slot;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

const CHANNEL: &str = "conversation:x";

#[test]
fn hostile_sessions_are_closed_with_a_code_and_touch_nobody() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let mut sidecar = Sidecar::start(json!({})).await;
        let _a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        let mut bystander = Browser::connect(sidecar.address, "operator").await;
        bystander.subscribe(CHANNEL, None).await;
        let big = "x".repeat(1024 * 1024 + 1);
        let deep = "[".repeat(100_000);
        let cases: [(Message, u16); 10] = [
            (Message::text("not json"), 3501),
            (Message::text("{\"id\":1}"), 3501),
            (Message::text("{\"id\":1,\"rpc\":{\"method\":\"count\"}}"), 3501),
            (Message::text("{\"id\":1,\"connect\":{\"token\":\"wrong\"}}"), 3500),
            (Message::text("{\"id\":1,\"connect\":{}}"), 3500),
            (Message::text("{\"id\":1,\"connect\":{\"token\":\"operator\"}}\n{\"connect\":{}}"), 3501),
            (Message::text("{\"id\":1,\"connect\":{\"token\":7}}"), 3501),
            (Message::binary(vec![1, 2, 3]), 3501),
            (Message::text(deep), 3501),
            (Message::text(big), 1009),
        ];
        for (n, (message, code)) in (1..).zip(cases) {
            let mut hostile = Browser::open(sidecar.address).await;
            hostile.send_raw(message.clone()).await;
            let shown: String = format!("{message:?}").chars().take(80).collect();
            assert_eq!(hostile.close_code().await, code, "{shown}");
            store.publish(CHANNEL, &json!({"n": n}));
            bystander.reach(CHANNEL, n).await;
        }
        let reply = bystander.rpc("nonsense", json!({})).await;
        assert_eq!(reply["error"]["code"], json!(1002));
        for bad in [json!([]), json!("x"), json!({"command_id": 7}), json!({"command_id": "x".repeat(65)})] {
            assert_eq!(bystander.rpc("count", bad).await["error"]["code"], json!(1001));
        }
        assert_eq!(bystander.seen[CHANNEL].len(), 10);
    });
}

#[test]
fn bytes_that_are_no_websocket_frames_end_only_their_own_connection() {
    run(async {
        // Two of these are frames that never become whole: their sessions run out of their first time.
        let mut sidecar = Sidecar::start(json!({"connect_within_ms": 500})).await;
        sidecar.hold().await;
        let mut bystander = Browser::connect(sidecar.address, "operator").await;
        let handshake = "GET /ws HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        for garbage in
            [&b"\xff\xff\xff\xff\xff"[..], b"\x81\x05hello", b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            let mut raw = TcpStream::connect(sidecar.address).await.unwrap();
            raw.write_all(handshake.as_bytes()).await.unwrap();
            raw.write_all(garbage).await.unwrap();
            let mut answer = Vec::new();
            let read = tokio::time::timeout(crate::browser::SOON, raw.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "the connection was ended");
            assert!(answer.starts_with(b"HTTP/1.1 101 "));
        }
        let mut raw = TcpStream::connect(sidecar.address).await.unwrap();
        raw.write_all(b"\x16\x03\x01 not http at all\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(crate::browser::SOON, raw.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(bystander.command(json!({"ping": {}})).await["ping"], json!({}));
    });
}

#[test]
fn other_origins_and_names_do_not_come_in() {
    run(async {
        let mut sidecar = Sidecar::start(json!({"allowed_origins": ["https://app.example"]})).await;
        sidecar.hold().await;
        for (header, value, comes_in) in [
            ("origin", "http://evil.example", false),
            ("origin", "null", false),
            ("host", "evil.example", false),
            ("origin", "http://127.0.0.1", true),
            ("origin", "https://app.example", true),
        ] {
            let stream = TcpStream::connect(sidecar.address).await.unwrap();
            assert_eq!(open(stream, &[(header, value)]).await.is_ok(), comes_in, "{header}: {value}");
        }
        let stream = TcpStream::connect(sidecar.address).await.unwrap();
        let protobuf = open(stream, &[("sec-websocket-protocol", "centrifuge-protobuf")]).await;
        assert!(protobuf.is_err());
    });
}

#[test]
fn a_session_that_asks_and_never_reads_is_held_back_alone() {
    run(async {
        let mut sidecar = Sidecar::start(json!({})).await;
        sidecar.hold().await;
        let mut bystander = Browser::connect(sidecar.address, "operator").await;
        let mut greedy = Browser::connect(sidecar.address, "operator").await;
        let pings: String = (0..20_000).map(|n| format!("{{\"id\":{},\"ping\":{{}}}}\n", n + 10)).collect();
        let flooding = async {
            for _ in 0..200 {
                greedy.try_send_raw(Message::text(pings.clone())).await?;
            }
            Ok::<(), tokio_tungstenite::tungstenite::Error>(())
        };
        let stuck = tokio::time::timeout(std::time::Duration::from_millis(1500), flooding).await;
        let taken = matches!(stuck, Ok(Ok(())));
        assert!(!taken, "80 MB of commands were taken without a reply being read");
        assert_eq!(bystander.command(json!({"ping": {}})).await["ping"], json!({}));
    });
}

#[test]
fn a_revoked_token_ends_its_sessions_only() {
    run(async {
        let mut sidecar = Sidecar::start(json!({})).await;
        sidecar.token("guest", |_| {});
        sidecar.hold().await;
        let mut guest = Browser::connect(sidecar.address, "guest").await;
        let mut other = Browser::connect(sidecar.address, "operator").await;
        sidecar.revoke("guest");
        sidecar.hold().await;
        assert_eq!(guest.close_code().await, 3500);
        assert_eq!(other.command(json!({"ping": {}})).await["ping"], json!({}));
    });
}

#[test]
fn past_the_bound_of_sessions_a_further_one_is_told_so() {
    run(async {
        let mut sidecar = Sidecar::start(json!({"sessions": 2})).await;
        sidecar.hold().await;
        let _first = Browser::connect(sidecar.address, "operator").await;
        let _second = Browser::connect(sidecar.address, "operator").await;
        let mut third = Browser::open(sidecar.address).await;
        assert_eq!(third.close_code().await, 3504);
    });
}

#[test]
fn past_128_subscriptions_a_session_gets_no_more() {
    run(async {
        let channels: Vec<String> = (0..129).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = channels.iter().map(String::as_str).collect();
        let store = Store::new(&names);
        let mut sidecar = Sidecar::start(json!({})).await;
        let _a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        for name in &names[..128] {
            assert!(browser.subscribe(name, None).await["subscribe"].is_object());
        }
        assert_eq!(browser.subscribe(names[128], None).await["error"]["code"], json!(106));
        browser.command(json!({"unsubscribe": {"channel": "c0"}})).await;
        assert!(browser.subscribe(names[128], None).await["subscribe"].is_object());
    });
}
