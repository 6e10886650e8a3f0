//! The control socket: what the supervisor wishes, and local principals.

use crate::daemon::{Event, WishedPut};
use crate::io::world::World;
use crate::io::{upgrade, websocket};
use crate::session::Entrance;
use crate::tokens;
use holdfast_shared::control::{self, Limits, Reply, Request, unknown_method};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Caller;
use holdfast_shared::wished::{WishedReport, WishedState};
use hyper::Method;
use serde_json::value::RawValue;
use std::rc::Rc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

/// Bytes of a wished state at most: all tokens, and 256 events of the node.
const BODY_BYTES: usize = 16 * 1024 * 1024;
/// Connections at most: a terminal per person, and the local clients of a demonstration.
const CONNECTIONS: usize = 1024;

/// Serves until dropped.
pub async fn serve(world: Rc<World>, listener: UnixListener) {
    let limits = Limits { body_bytes: BODY_BYTES, connections: CONNECTIONS, ..Limits::default() };
    control::serve(listener, limits, move |request| answer(world.clone(), request)).await;
}

async fn answer(world: Rc<World>, request: Request) -> Result<Reply, ApiError> {
    let path = request.path.clone();
    match (&request.method, path.as_str()) {
        (&Method::PUT, "/v1/wished") => Reply::json(&put(&world, request.json()?).await?),
        (&Method::GET, "/v1/status") => Reply::json(&status(&world).await?),
        (&Method::GET, "/ws") => open_socket(world, request),
        (&Method::POST, path) => match path.strip_prefix("/v1/rpc/") {
            Some(method) => rpc(&world, &request, method).await,
            None => Err(unknown_method(&request)),
        },
        _ => Err(unknown_method(&request)),
    }
}

async fn put(world: &World, wished: WishedState) -> Result<WishedReport, ApiError> {
    let (answer, answered) = oneshot::channel();
    send(world, Event::Wished(Box::new(WishedPut { wished, answer }))).await?;
    answered.await.map_err(|_| stopping())?
}

async fn status(world: &World) -> Result<WishedReport, ApiError> {
    let (answer, answered) = oneshot::channel();
    send(world, Event::Status(answer)).await?;
    answered.await.map_err(|_| stopping())
}

async fn send(world: &World, event: Event) -> Result<(), ApiError> {
    world.events.send(event).await.map_err(|_| stopping())
}

fn stopping() -> ApiError {
    ApiError::new(Code::Unavailable, "the sidecar is stopping")
}

async fn rpc(world: &Rc<World>, request: &Request, method: &str) -> Result<Reply, ApiError> {
    let identity = tokens::local(request.peer.uid);
    let caller =
        Caller { principal: identity.principal, role: identity.role, scope: identity.scope, focus: None };
    let params: Option<Box<RawValue>> =
        if request.body.trim_ascii().is_empty() { None } else { Some(request.json()?) };
    let result = world.ask(|exchange, ticket, now| {
        exchange.call_http(ticket, caller, method, params.as_deref(), now);
    });
    Ok(Reply::with_body(hyper::StatusCode::OK, "application/json", result.await?))
}

fn open_socket(world: Rc<World>, mut request: Request) -> Result<Reply, ApiError> {
    let headers = upgrade::accept(&request.headers)?;
    let upgrade = request.upgrade.take().ok_or_else(|| unknown_method(&request))?;
    let entrance = Entrance::Local { uid: request.peer.uid };
    tokio::task::spawn_local(async move {
        if let Some((stream, read)) = upgrade::handed_over::<UnixStream>(upgrade).await {
            websocket::serve(world, stream, read, entrance).await;
        }
    });
    Ok(Reply::upgrade(headers))
}
