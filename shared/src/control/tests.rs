use super::*;
use crate::error::{ApiError, Code};
use crate::process::bind_unix;
use hyper::Method;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    words: Vec<String>,
}

async fn handle(request: Request) -> Result<Reply, ApiError> {
    match (&request.method, request.path.as_str()) {
        (&Method::POST, "/v1/echo") => Reply::json(&request.json::<Words>()?),
        (&Method::GET, "/v1/me") => Reply::json(&request.peer.pid),
        (&Method::GET, "/v1/never") => std::future::pending().await,
        (&Method::GET, "/v1/upgrade") => {
            let upgrade = request.upgrade.ok_or_else(|| ApiError::new(Code::InvalidRequest, "no upgrade"))?;
            tokio::task::spawn_local(async move {
                let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
                io.write_all(b"hello").await.unwrap();
            });
            Ok(Reply::upgrade(request.headers.clone()))
        }
        _ => Err(unknown_method(&request)),
    }
}

fn start(directory: &Path, limits: Limits) -> PathBuf {
    let path = directory.join("control.sock");
    let listener = tokio::net::UnixListener::from_std(bind_unix(&path).unwrap()).unwrap();
    tokio::task::spawn_local(serve(listener, limits, handle));
    path
}

fn refused(error: CallError) -> Code {
    match error {
        CallError::Refused(error) => error.code,
        other => panic!("not a refusal: {other}"),
    }
}

async fn with_server<F: Future<Output = ()>>(limits: Limits, check: impl FnOnce(PathBuf) -> F) {
    let directory = tempfile::tempdir().unwrap();
    LocalSet::new().run_until(async { check(start(directory.path(), limits)).await }).await;
}

#[tokio::test]
async fn a_call_is_answered_and_its_refusals_are_coded() {
    with_server(Limits::default(), async |path| {
        let client = Client::new(path);
        let words = Words { words: vec!["a".into()] };
        for _ in 0..3 {
            assert_eq!(client.post::<_, Words>("/v1/echo", &words, SOON).await.unwrap(), words);
        }
        let own = std::process::id();
        assert_eq!(client.get::<u32>("/v1/me", SOON).await.unwrap(), own);
        let unknown = client.get::<()>("/v1/nothing", SOON).await.unwrap_err();
        assert_eq!(refused(unknown), Code::UnknownMethod);
        let malformed = client.post::<_, ()>("/v1/echo", &serde_json::json!({"word": 1}), SOON).await;
        assert_eq!(refused(malformed.unwrap_err()), Code::InvalidRequest);
    })
    .await;
}

#[tokio::test]
async fn versions_without_one_in_common_are_refused_and_curl_says_none() {
    with_server(Limits::default(), async |path| {
        for (header, status) in
            [("", 200), ("holdfast-control: 1-7\r\n", 200), ("holdfast-control: 900-901\r\n", 409)]
        {
            let mut stream = crate::process::connect_unix(&path).unwrap();
            let request = format!("GET /v1/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains("holdfast-control: 1-1\r\n"), "{answer}");
            assert_eq!(answer.contains("VERSION_MISMATCH"), status == 409, "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_past_its_bound_is_refused() {
    with_server(Limits { body_bytes: 64, ..Limits::default() }, async |path| {
        let words = Words { words: vec!["a".repeat(100)] };
        let long = Client::new(&path).post::<_, Words>("/v1/echo", &words, SOON).await.unwrap_err();
        assert_eq!(refused(long), Code::InvalidRequest);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_not_admitted_is_refused() {
    with_server(Limits { admits: |_| false, ..Limits::default() }, async |path| {
        let error = Client::new(&path).get::<u32>("/v1/me", SOON).await.unwrap_err();
        assert_eq!(refused(error), Code::Forbidden);
    })
    .await;
}

#[tokio::test]
async fn a_late_answer_is_a_timeout_and_others_are_answered_meanwhile() {
    with_server(Limits::default(), async |path| {
        let client = Client::new(path);
        let never = client.get::<()>("/v1/never", Duration::from_millis(200));
        let (never, me) = tokio::join!(never, client.get::<u32>("/v1/me", SOON));
        assert!(matches!(never, Err(CallError::Timeout { .. })));
        me.unwrap();
    })
    .await;
}

async fn silent(path: &Path, count: usize) -> Vec<tokio::net::UnixStream> {
    let connected = (0..count).map(|_| crate::process::connect_unix(path).unwrap()).collect();
    // Whoever comes next is behind them in the kernel's queue.
    tokio::task::yield_now().await;
    connected
}

/// Waits until the other side closes.
async fn closed(stream: &mut tokio::net::UnixStream) {
    let end = tokio::time::timeout(SOON, stream.read_to_end(&mut Vec::new())).await;
    let _ = end.expect("closed in time");
}

#[tokio::test]
async fn silent_connections_do_not_shut_out_a_caller() {
    let long = Limits { request_within: Duration::from_secs(600), ..Limits::default() };
    with_server(long, async move |path| {
        let connections = long.connections;
        let mut silent = silent(&path, connections).await;
        let caller = Client::new(&path);
        caller.get::<u32>("/v1/me", SOON).await.unwrap();
        closed(&mut silent[0]).await;
        // The caller's own is not the oldest, and goes on.
        caller.get::<u32>("/v1/me", SOON).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_makes_room_and_a_busy_one_does_not() {
    with_server(Limits { connections: 1, ..Limits::default() }, async |path| {
        let (first, second) = (Client::new(&path), Client::new(&path));
        for client in [&first, &second, &first, &second] {
            client.get::<u32>("/v1/me", SOON).await.unwrap();
        }
        let busy = tokio::task::spawn_local(async move { first.get::<()>("/v1/never", SOON).await });
        // Its request has taken the room when another no longer gets it.
        let deadline = tokio::time::Instant::now() + SOON;
        while second.get::<u32>("/v1/me", Duration::from_millis(100)).await.is_ok() {
            assert!(tokio::time::Instant::now() < deadline);
        }
        busy.abort();
        second.get::<u32>("/v1/me", SOON).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_head_or_body_that_does_not_come_ends_its_connection() {
    let short = Limits { request_within: Duration::from_millis(50), ..Limits::default() };
    with_server(short, async |path| {
        for sent in ["", "GET /v1/me HTTP/1.1\r\nhost:"] {
            let mut slow = crate::process::connect_unix(&path).unwrap();
            slow.write_all(sent.as_bytes()).await.unwrap();
            closed(&mut slow).await;
        }
        let mut slow = crate::process::connect_unix(&path).unwrap();
        slow.write_all(b"POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
        let mut answer = [0u8; 12];
        tokio::time::timeout(SOON, slow.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400");
        closed(&mut slow).await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_is_judged_once_and_takes_no_room_when_it_is_refused() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static JUDGED: AtomicUsize = AtomicUsize::new(0);
    let admits = |_: &Peer| JUDGED.fetch_add(1, Ordering::Relaxed) != 1;
    with_server(Limits { admits, connections: 1, ..Limits::default() }, async |path| {
        let first = Client::new(&path);
        first.get::<u32>("/v1/me", SOON).await.unwrap();
        let refusal = Client::new(&path).get::<u32>("/v1/me", SOON).await.unwrap_err();
        assert_eq!(refused(refusal), Code::Forbidden);
        first.get::<u32>("/v1/me", SOON).await.unwrap();
        assert_eq!(JUDGED.load(Ordering::Relaxed), 2, "the first is still connected");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_came_back_is_called_on_a_new_connection() {
    let directory = tempfile::tempdir().unwrap();
    let client = Client::new(directory.path().join("control.sock"));
    assert!(client.get::<u32>("/v1/me", SOON).await.unwrap_err().was_not_sent());
    for _ in 0..2 {
        let local = LocalSet::new();
        local
            .run_until(async {
                start(directory.path(), Limits::default());
                client.get::<u32>("/v1/me", SOON).await.unwrap();
            })
            .await;
        drop(local);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_is_handed_over_by_upgrade() {
    with_server(Limits::default(), async |path| {
        let mut stream = crate::process::connect_unix(&path).unwrap();
        let request = "GET /v1/upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    })
    .await;
}
