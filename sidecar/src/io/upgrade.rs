//! From an HTTP request to a WebSocket (RFC 6455, 4.2).

use bytes::Bytes;
use holdfast_shared::error::{ApiError, Code};
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The one subprotocol spoken; SDKs may also name none.
const SUBPROTOCOL: &str = "centrifuge-json";

/// The headers of the answer 101.
///
/// # Errors
/// `INVALID_REQUEST` where the request is not a WebSocket's, or wants only subprotocols not spoken here.
pub fn accept(request: &HeaderMap) -> Result<HeaderMap, ApiError> {
    let invalid = |message: &str| ApiError::new(Code::InvalidRequest, message);
    let has = |name, token: &str| {
        let values = request.get_all(name).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|given| given.trim().eq_ignore_ascii_case(token))
    };
    if !has(UPGRADE, "websocket") || !has(CONNECTION, "upgrade") || !has(SEC_WEBSOCKET_VERSION, "13") {
        return Err(invalid("this path is a WebSocket, version 13"));
    }
    let key = request.get(SEC_WEBSOCKET_KEY).ok_or_else(|| invalid("no Sec-WebSocket-Key"))?;
    let mut headers = HeaderMap::new();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let answer = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    headers.insert(SEC_WEBSOCKET_ACCEPT, answer.map_err(|_| invalid("malformed Sec-WebSocket-Key"))?);
    if has(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    } else if request.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Err(invalid("the only subprotocol here is centrifuge-json"));
    }
    Ok(headers)
}

/// The connection after the answer went out, with what was read of it already. `None`: it is gone.
pub async fn handed_over<S>(upgrade: OnUpgrade) -> Option<(S, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = upgrade.await.ok()?.downcast::<TokioIo<S>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}
