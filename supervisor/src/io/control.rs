//! The supervisor's control socket: requests typed and given to the loop, which answers them.

use crate::attempt::Operation;
use crate::command::Command;
use crate::daemon::Event;
use crate::metrics;
use holdfast_shared::control::{Limits, Reply, Request, serve, unknown_method};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::bind_unix;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use tokio::sync::{mpsc, oneshot};

/// Where an answer goes.
pub type Responder = oneshot::Sender<Result<Value, ApiError>>;

/// Serves the control socket from now on.
///
/// # Errors
/// When the socket cannot be bound.
pub fn listen(home: &Home, events: mpsc::Sender<Event>) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(bind_unix(&home.control(Role::Supervisor))?)?;
    tokio::task::spawn_local(serve(listener, Limits::default(), move |request| {
        answer(request, events.clone())
    }));
    Ok(())
}

async fn answer(request: Request, events: mpsc::Sender<Event>) -> Result<Reply, ApiError> {
    let command = command(&request)?;
    let is_text = command == Command::Metrics;
    match ask(command, &events).await? {
        Value::String(text) if is_text => Ok(Reply::with_body(StatusCode::OK, metrics::CONTENT_TYPE, text)),
        value => Reply::json(&value),
    }
}

/// Has a command answered by the loop.
///
/// # Errors
/// Its refusal; `UNAVAILABLE` when the loop has ended.
pub async fn ask(command: Command, events: &mpsc::Sender<Event>) -> Result<Value, ApiError> {
    let (responder, answer) = oneshot::channel();
    let gone = || ApiError::new(Code::Unavailable, "the supervisor is ending");
    events.send(Event::Command(command, responder)).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

/// The request as a command; unknown paths, methods and fields are refused.
fn command(request: &Request) -> Result<Command, ApiError> {
    Ok(match (&request.method, request.path.as_str()) {
        (&Method::GET, "/v1/status") => Command::Status,
        (&Method::POST, "/v1/switch") => Command::Switch(or_default(request)?),
        (&Method::POST, "/v1/rollback") => Command::Rollback(or_default(request)?),
        (&Method::POST, "/v1/update") => Command::Update(request.json()?),
        (&Method::GET, "/v1/attempts") => Command::Attempts,
        (&Method::POST, "/v1/update/cancel") => Command::Operate(Operation::Cancel),
        (&Method::POST, "/v1/update/defer") => Command::Operate(Operation::Defer),
        (&Method::POST, "/v1/update/promote") => Command::Operate(Operation::PromoteRoot),
        (&Method::POST, "/v1/stop") => Command::Stop(or_default(request)?),
        (&Method::GET, "/v1/tokens") => Command::ListTokens,
        (&Method::POST, "/v1/tokens") => Command::NewToken(request.json()?),
        (&Method::DELETE, "/v1/tokens") => Command::RevokeToken(request.json()?),
        (&Method::GET, "/v1/slots") => Command::Slots,
        (&Method::GET, "/v1/events") => Command::Events,
        (&Method::GET, "/metrics") => Command::Metrics,
        (&Method::GET, "/v1/skills") => Command::ListSkills,
        (&Method::POST, "/v1/skills") => Command::InstallSkill(request.json()?),
        (&Method::DELETE, "/v1/skills") => Command::RemoveSkill(request.json()?),
        (&Method::POST, "/v1/workers") => Command::Spawn(request.json()?),
        _ => return Err(unknown_method(request)),
    })
}

fn or_default<T: DeserializeOwned + Default>(request: &Request) -> Result<T, ApiError> {
    if request.body.is_empty() { Ok(T::default()) } else { request.json() }
}
