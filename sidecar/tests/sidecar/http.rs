//! HTTP: the page, the public status, the command table; and local principals on the control socket.

use crate::browser::{Browser, SOON, open};
use crate::fake_runtime::{FakeRuntime, Store};
use crate::process::{Sidecar, refused};
use crate::run;
use holdfast_shared::error::Code;
use holdfast_shared::home::Role;
use holdfast_shared::process::connect_unix;
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CHANNEL: &str = "conversation:x";

/// Status and body of one request.
async fn request(address: SocketAddr, head: &str, body: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!(
        "{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn without_a_token_nothing_but_the_page_and_the_public_status_answers() {
    run(async {
        let mut sidecar = Sidecar::start(json!({})).await;
        let at = sidecar.address;
        let status = "GET /supervisor/public/update-status HTTP/1.1";
        assert_eq!(request(at, status, "").await.0, 503, "not told yet");
        sidecar.hold().await;
        let (code, head, body) = request(at, status, "").await;
        assert_eq!((code, body), (200, json!({"update": {"state": "idle"}})));
        assert!(head.contains("cache-control: no-cache"), "{head}");
        assert_eq!(request(at, "GET /healthz HTTP/1.1", "").await.0, 200);
        let (code, head, _) = request(at, "GET / HTTP/1.1", "").await;
        assert_eq!(code, 200);
        assert!(head.contains("content-type: text/html") && head.contains("default-src 'none'"), "{head}");
        let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let known = format!("GET / HTTP/1.1\r\nif-none-match: {etag}");
        assert_eq!(request(at, &known, "").await.0, 304);
        for (head, expected) in [
            ("POST /api/v1/rpc/task.list HTTP/1.1", 401),
            ("POST /api/v1/rpc/task.list HTTP/1.1\r\nauthorization: Bearer wrong", 401),
            ("GET /api/v1/history/node HTTP/1.1", 401),
            ("GET /console/../../etc/passwd HTTP/1.1", 404),
            ("GET /yws/doc HTTP/1.1", 501),
            ("GET /nothing HTTP/1.1", 404),
            ("DELETE / HTTP/1.1", 404),
            ("GET /ws HTTP/1.1", 400),
            ("GET / HTTP/1.1\r\norigin: http://evil.example", 403),
        ] {
            assert_eq!(request(at, head, "").await.0, expected, "{head}");
        }
    });
}

#[test]
fn http_requests_wait_during_a_switch() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        (1..=5).for_each(|n| store.publish(CHANNEL, &json!({"n": n})));
        let mut sidecar = Sidecar::start(json!({})).await;
        sidecar.hold().await;
        let at = sidecar.address;
        let call = "POST /api/v1/rpc/count HTTP/1.1\r\nauthorization: Bearer operator";
        let waiting = tokio::task::spawn_local(async move { request(at, call, "{\"a\": 1}").await });
        let read = "GET /api/v1/history/conversation%3Ax?offset=3 HTTP/1.1\r\nauthorization: Bearer operator";
        let reading = tokio::task::spawn_local(async move { request(at, read, "").await });
        let _a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        let (status, _, body) = waiting.await.unwrap();
        assert_eq!((status, body), (200, json!({"count": 1, "params": {"a": 1}})));
        let (status, _, body) = reading.await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(body["offset"], json!(5));
        assert_eq!(body["publications"][0], json!({"offset": 4, "data": {"n": 4}}));
        let unknown = "POST /api/v1/rpc/nonsense HTTP/1.1\r\nauthorization: Bearer operator";
        let (status, _, body) = request(at, unknown, "").await;
        assert_eq!(
            (status, &body["code"], &body["retryable"]),
            (404, &json!("UNKNOWN_METHOD"), &json!(false))
        );
        let (status, _, body) = request(at, call, "{").await;
        assert_eq!((status, &body["code"]), (400, &json!("INVALID_REQUEST")));
    });
}

#[test]
fn past_1024_waiting_requests_a_further_one_is_told_so() {
    run(async {
        let mut sidecar = Sidecar::start(json!({"call_within_ms": 60_000})).await;
        sidecar.hold().await;
        let at = sidecar.address;
        let call = "POST /api/v1/rpc/count HTTP/1.1\r\nauthorization: Bearer operator";
        let waiting: Vec<_> =
            (0..1025).map(|_| tokio::task::spawn_local(async move { request(at, call, "").await })).collect();
        crate::process::wait_for(|| async { waiting.iter().any(|one| one.is_finished()).then_some(()) })
            .await;
        let _a = FakeRuntime::start(&sidecar.home, Slot::A, &Store::new(&[]), Some(1));
        sidecar.route(Slot::A, 1).await;
        let mut statuses = std::collections::BTreeMap::new();
        for one in waiting {
            *statuses.entry(one.await.unwrap().0).or_insert(0) += 1;
        }
        assert_eq!(statuses, [(200, 1024), (429, 1)].into());
    });
}

#[test]
fn local_principals_need_no_token() {
    run(async {
        let store = Store::new(&[CHANNEL]);
        let mut sidecar = Sidecar::start(json!({})).await;
        let _a = FakeRuntime::start(&sidecar.home, Slot::A, &store, Some(1));
        sidecar.route(Slot::A, 1).await;
        let answer: Value =
            sidecar.client.post("/v1/rpc/count", &json!({"command_id": "one"}), SOON).await.unwrap();
        assert_eq!(answer, json!({"count": 1, "params": {}}));
        let unknown = sidecar.client.post::<_, Value>("/v1/rpc/nonsense", &json!({}), SOON).await;
        assert_eq!(refused(unknown), Code::UnknownMethod);
        let stream = connect_unix(&sidecar.home.control(Role::Sidecar)).unwrap();
        let mut local = open(stream, &[]).await.unwrap();
        assert!(local.command(json!({"connect": {}})).await["connect"].is_object());
        local.subscribe(CHANNEL, Some(("", 0))).await;
        store.publish(CHANNEL, &json!({"n": 1}));
        local.reach(CHANNEL, 1).await;
        assert_eq!(local.rpc("echo", json!({})).await["rpc"]["data"]["epoch"], json!(1));
    });
}

#[test]
fn told_to_stop_it_says_so_to_everyone() {
    run(async {
        let mut sidecar = Sidecar::start(json!({})).await;
        sidecar.hold().await;
        let mut browser = Browser::connect(sidecar.address, "operator").await;
        sidecar.signal(libc::SIGTERM);
        assert_eq!(browser.close_code().await, 3001);
        assert!(sidecar.wait_exit());
    });
}
