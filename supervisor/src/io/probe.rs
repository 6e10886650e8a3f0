//! The probe through the browser's path: WebSocket to the public address, sidecar, link, runtime, and back.

use crate::io::centrifuge_client::{ClientError, Session};
use holdfast_shared::slot::Slot;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Why a probe was not good.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The address did not answer.
    #[error("connect {address}: {source}")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The session failed.
    #[error(transparent)]
    Session(#[from] ClientError),
    /// Another runtime than the one meant answered.
    #[error("{answered} answered instead of {wanted}")]
    Other {
        /// Who answered.
        answered: String,
        /// Who was to.
        wanted: String,
    },
    /// It took too long.
    #[error("no answer within {milliseconds} ms")]
    Late {
        /// The time given.
        milliseconds: u128,
    },
}

/// Probes one runtime; it must be this very instance that answers.
///
/// # Errors
/// See [`ProbeError`].
pub async fn probe(
    address: SocketAddr,
    token: &str,
    slot: Slot,
    instance: &str,
    timeout: Duration,
) -> Result<(), ProbeError> {
    let late = |_| ProbeError::Late { milliseconds: timeout.as_millis() };
    tokio::time::timeout(timeout, ask(address, token, slot, instance)).await.map_err(late)?
}

async fn ask(address: SocketAddr, token: &str, slot: Slot, instance: &str) -> Result<(), ProbeError> {
    let connect = |source| ProbeError::Connect { address, source };
    let stream = TcpStream::connect(address).await.map_err(connect)?;
    stream.set_nodelay(true).map_err(connect)?;
    let mut session = Session::connect(stream, &format!("ws://{address}/ws"), Some(token)).await?;
    let answer = session.rpc("node.probe", &json!({})).await?;
    session.close().await;
    let text = |name: &str| answer.get(name).and_then(|value| value.as_str()).unwrap_or("nobody").to_owned();
    if text("runtime_instance_id") == instance && text("slot") == slot.name() {
        return Ok(());
    }
    Err(ProbeError::Other { answered: text("runtime_instance_id"), wanted: instance.to_owned() })
}
