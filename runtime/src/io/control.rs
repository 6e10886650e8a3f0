//! The control socket: what the supervisor asks and orders (`shared::runtime_control`).

use crate::daemon::{Event, Flags, Ordered};
use crate::io::served::Shared;
use crate::role::Order;
use holdfast_shared::control::{self, Limits, Reply, Request, unknown_method};
use holdfast_shared::decision::Decision;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::runtime_control::{Activate, Ask, Fence, SetRole};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

/// Serves until dropped.
pub async fn serve(listener: UnixListener, shared: Shared, events: mpsc::Sender<Event>) {
    let handler = move |request| handle(request, shared.clone(), events.clone());
    control::serve(listener, Limits::default(), handler).await;
}

async fn handle(request: Request, shared: Shared, events: mpsc::Sender<Event>) -> Result<Reply, ApiError> {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/status") => Reply::json(&shared.borrow().report()),
        ("POST", "/v1/ask") => {
            let Ask { decision, settled } = request.json()?;
            order(&events, decision, Order::Ask, Flags { settled, ..Flags::default() }).await
        }
        ("POST", "/v1/fence") => {
            let Fence { decision, epoch } = request.json()?;
            order(&events, decision, Order::Fence { epoch }, Flags::default()).await
        }
        ("POST", "/v1/activate") => {
            let Activate { decision, epoch, first } = request.json()?;
            order(&events, decision, Order::Activate { epoch }, Flags { first, ..Flags::default() }).await
        }
        ("POST", "/v1/role") => {
            let SetRole { decision, role } = request.json()?;
            order(&events, decision, Order::SetRole(role), Flags::default()).await
        }
        _ => Err(unknown_method(&request)),
    }
}

async fn order(
    events: &mpsc::Sender<Event>,
    decision: Decision,
    order: Order,
    flags: Flags,
) -> Result<Reply, ApiError> {
    let (reply, answer) = oneshot::channel();
    let gone = || ApiError::new(Code::Unavailable, "this runtime is ending");
    let ordered = Ordered { decision, order, flags, reply };
    events.send(Event::Ordered(ordered)).await.map_err(|_| gone())?;
    Reply::json(&answer.await.map_err(|_| gone())??)
}
