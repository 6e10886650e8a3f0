//! A probe through the browser's path: one read-only call to a runtime in any role, over a link of its own.

use crate::io::link::{LinkError, dial};
use crate::io::world::World;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::frame::Message;
use holdfast_shared::link::{Caller, Purpose, ToRuntime, ToSidecar};
use holdfast_shared::slot::Slot;
use serde_json::value::RawValue;
use std::time::Duration;

/// What the runtime gets to answer. The supervisor's own patience is shorter.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// The epoch of a probe's frames.
const NO_EPOCH: u64 = 0;

/// Asks the runtime in a slot what it is.
///
/// # Errors
/// `UNAVAILABLE` where it cannot be reached or does not answer, or what it refuses.
pub async fn ask(
    world: &World,
    slot: Slot,
    params: Box<RawValue>,
    caller: Caller,
) -> Result<Box<RawValue>, ApiError> {
    let unreachable = |error: LinkError| ApiError::new(Code::Unavailable, error.to_string());
    let asking = async {
        let mut link = dial(world, slot, NO_EPOCH, Purpose::Probe).await.map_err(unreachable)?;
        let (method, command_id) = ("node.probe".to_owned(), String::new());
        let call = ToRuntime::Call { id: 1, method, params, command_id, caller };
        let received = link.ask(slot, NO_EPOCH, &call).await.map_err(unreachable)?;
        let Message::Json(text) = received.message else { return Err(unreachable(LinkError::Hello(slot))) };
        match serde_json::from_slice(&text) {
            Ok(ToSidecar::Reply { error: Some(error), .. }) => Err(error),
            Ok(ToSidecar::Reply { result: Some(result), .. }) => Ok(result),
            _ => Err(unreachable(LinkError::Hello(slot))),
        }
    };
    let late = |_| ApiError::new(Code::Unavailable, "the probed runtime did not answer in time");
    tokio::time::timeout(ANSWER_WITHIN, asking).await.map_err(late)?
}
