//! The serving side: who is let in, and how many at a time. Whoever is not gets a refusal and no handler.

use super::connections::{Connection, Connections};
use super::reply::Reply;
use super::request::{Request, read};
use crate::error::{ApiError, Code};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// Peers that may not use a socket and are being told so; one more is closed without a word.
const REFUSALS: usize = 8;
/// How long such a peer has to ask.
const REFUSAL: Duration = Duration::from_secs(1);

/// Who is connected, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process id at the time of connecting.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// In our own group, which the socket's mode lets in where the node is installed.
    pub in_own_group: bool,
}

/// Bounds of one control socket, and who may use it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's body at most; more is refused with `INVALID_REQUEST`.
    pub body_bytes: usize,
    /// Connections served at a time. One more closes the one that has been idle for longest; while a handler works
    /// for each of them it waits.
    pub connections: usize,
    /// From a connection's begin to its first whole request head, and from any head to the end of its body.
    /// Between two requests a connection may be idle for as long as there is room.
    pub request_within: Duration,
    /// Whether a peer may use the socket at all: judged once, before the connection counts as one.
    pub admits: fn(&Peer) -> bool,
}

impl Default for Limits {
    /// 1 MiB of body (a prompt, with room), 64 connections (children, and a few operators), 10 s for what is
    /// written at once on the same machine, own user, own group and root, and no workers.
    fn default() -> Self {
        let admits = |peer: &Peer| match peer.in_own_group {
            true => !crate::peer::is_worker(peer.pid),
            false => crate::peer::is_own(peer.uid, peer.pid),
        };
        let request_within = Duration::from_secs(10);
        Self { body_bytes: 1024 * 1024, connections: 64, request_within, admits }
    }
}

/// Serves until dropped. Everything runs inside this future, on the caller's task: handlers need not be
/// `Send`, and dropping it drops every connection. A handler whose client went away is dropped too.
pub async fn serve<H, F>(listener: UnixListener, limits: Limits, handler: H)
where
    H: Fn(Request) -> F + 'static,
    F: Future<Output = Result<Reply, ApiError>> + 'static,
{
    let handler = Rc::new(handler);
    let connections = Rc::new(Connections::default());
    let mut served = FuturesUnordered::new();
    let mut refusals = FuturesUnordered::new();
    // Admitted, and no room yet.
    let mut next: Option<(UnixStream, Peer)> = None;
    loop {
        if let Some((stream, peer)) = next.take_if(|_| connections.len() < limits.connections) {
            let own = connections.add();
            served.push(connection(stream, peer, limits, handler.clone(), connections.clone(), own));
        } else if next.is_some() {
            connections.make_room();
        }
        tokio::select! {
            accepted = listener.accept(), if next.is_none() => match accepted {
                Ok((stream, _)) => match peer_of(&stream) {
                    Some(peer) if (limits.admits)(&peer) => next = Some((stream, peer)),
                    Some(peer) if refusals.len() < REFUSALS => refusals.push(refuse(stream, peer)),
                    _ => {}
                },
                Err(error) => {
                    tracing::warn!(%error, "accept on a control socket");
                    // Out of descriptors: let those that are served end first.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(()) = served.next() => {}
            Some(()) = refusals.next() => {}
            () = connections.turned_idle(), if next.is_some() => {}
        }
    }
}

fn peer_of(stream: &UnixStream) -> Option<Peer> {
    let credentials = stream.peer_cred().ok()?;
    let in_own_group = crate::peer::is_in_own_group(stream.as_fd(), credentials.gid());
    Some(Peer { pid: credentials.pid().unwrap_or(0), uid: credentials.uid(), in_own_group })
}

/// Tells a peer that may not use the socket so, at its first request.
async fn refuse(stream: UnixStream, peer: Peer) {
    tracing::warn!(pid = peer.pid, uid = peer.uid, "refused on a control socket");
    let service = hyper::service::service_fn(move |_: hyper::Request<Incoming>| async move {
        let error = ApiError::new(Code::Forbidden, format!("pid {} may not use this socket", peer.pid));
        Ok::<_, Infallible>(Reply::error(&error).into_response())
    });
    let answered = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(REFUSAL, answered).await;
}

async fn connection<H, F>(
    stream: UnixStream,
    peer: Peer,
    limits: Limits,
    handler: Rc<H>,
    connections: Rc<Connections>,
    own: Rc<Connection>,
) where
    H: Fn(Request) -> F + 'static,
    F: Future<Output = Result<Reply, ApiError>> + 'static,
{
    let (all, one) = (connections.clone(), own.clone());
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        one.has_asked();
        let (handler, all, one) = (handler.clone(), all.clone(), one.clone());
        async move {
            let reply = match read(request, peer, &limits).await {
                Ok(request) => {
                    let _working = all.works_for(&one);
                    handler(request).await
                }
                Err(error) => Err(error),
            };
            Ok::<_, Infallible>(reply.unwrap_or_else(|error| Reply::error(&error)).into_response())
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    serve_until_closed(served, &own, limits.request_within, peer.pid).await;
    connections.remove(&own);
}

/// Serves a connection until it ends or is to be closed; then an answer under way still leaves.
async fn serve_until_closed<S>(
    served: hyper::server::conn::http1::UpgradeableConnection<TokioIo<UnixStream>, S>,
    own: &Connection,
    first_within: Duration,
    pid: i32,
) where
    S: hyper::service::HttpService<Incoming, ResBody = Full<Bytes>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = own.is_to_close(first_within) => {
            tracing::debug!(pid, "idle control connection closed");
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(own.last_answer(), served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, pid, "control connection");
    }
}
