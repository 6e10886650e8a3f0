//! `GET /metrics`: what the kernel is asked for it, and the listener of its own, where one is configured.

use crate::command::Command;
use crate::daemon::Event;
use crate::io::control;
use crate::memory;
use crate::metrics::{CONTENT_TYPE, Measured};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE as TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// Connections served at a time: a scraper or two, and somebody who looks. One more waits in the backlog.
const CONNECTIONS: usize = 4;
/// From a connection's begin to the end of its one answer; then it is closed, whatever it does.
const CONNECTION: Duration = Duration::from_secs(5);
/// Between two attempts to bind an address that cannot be bound, and after an accept that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Answers on this address from now on, as soon as it can be bound. The node does not depend on it.
pub fn listen(address: SocketAddr, events: mpsc::Sender<Event>) {
    tokio::task::spawn_local(async move {
        let listener = bound(address).await;
        tracing::info!(%address, "metrics");
        serve(listener, events).await;
    });
}

async fn bound(address: SocketAddr) -> TcpListener {
    let mut said = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if !std::mem::replace(&mut said, true) => {
                tracing::error!(%address, %error, "supervisor.metrics_listen; it is tried again");
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn serve(listener: TcpListener, events: mpsc::Sender<Event>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let events = events.clone();
                tokio::task::spawn_local(async move {
                    let _ = tokio::time::timeout(CONNECTION, connection(stream, events)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept a scrape");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, events: mpsc::Sender<Event>) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let events = events.clone();
        async move { Ok::<_, Infallible>(answer(&request, &events).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "scrape");
    }
}

/// Only `GET /metrics`, without a look at anything else of the request.
async fn answer(request: &Request<Incoming>, events: &mpsc::Sender<Event>) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match control::ask(Command::Metrics, events).await {
            Ok(Value::String(text)) => text_reply(StatusCode::OK, CONTENT_TYPE, text),
            _ => text_reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the supervisor is ending\n"),
        },
        (_, "/metrics") => {
            let mut reply = text_reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            reply
        }
        _ => text_reply(StatusCode::NOT_FOUND, "text/plain", "only /metrics\n"),
    }
}

fn text_reply(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(text.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(TYPE, HeaderValue::from_static(kind));
    reply
}

/// Adds what the kernel says of these processes (role and pid), of memory and of the home's disk.
pub fn look_at_machine(
    mut measured: Measured,
    pids: &[(&'static str, i32)],
    home: &Path,
    gate: memory::Gate,
) -> Measured {
    let resident = |pid: i32| memory::resident(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
    measured.resident_bytes = pids.iter().filter_map(|(role, pid)| Some((*role, resident(*pid)?))).collect();
    let of = |wanted: &str| {
        measured.resident_bytes.iter().find(|(role, _)| *role == wanted).map(|(_, bytes)| *bytes)
    };
    measured.memory_needed_bytes =
        of("active").map(|active| memory::needed(active, of("candidate").unwrap_or(0), gate));
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok();
    measured.memory_available_bytes = meminfo.and_then(|text| memory::available(&text));
    measured.disk_free_bytes = super::home::free_bytes(home).ok();
    measured
}
