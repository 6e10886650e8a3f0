//! A request as its handler gets it: of a protocol that is spoken here, whole, of bounded size, and with who asks.

use super::server::{Limits, Peer};
use super::versions;
use crate::error::{ApiError, Code};
use crate::version::CONTROL;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::upgrade::OnUpgrade;
use serde::de::DeserializeOwned;

/// One request, its body read whole (except where it asks for an upgrade).
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, without `?`; empty when there is none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who asks.
    pub peer: Peer,
    /// The connection itself, when the client asks to upgrade it: resolves after a [`Reply::upgrade`](super::Reply::upgrade).
    pub upgrade: Option<OnUpgrade>,
}

impl Request {
    /// The body as JSON of this type.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with what was wrong and where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        parse(&self.body)
    }
}

/// Reads JSON that came from outside.
///
/// # Errors
/// `INVALID_REQUEST` with what was wrong and where.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::new(Code::InvalidRequest, error.to_string()))
}

/// The refusal of a path or method that is not served.
pub fn unknown_method(request: &Request) -> ApiError {
    ApiError::new(Code::UnknownMethod, format!("no such method: {} {}", request.method, request.path))
}

/// Reads the request whole, within the limits.
///
/// # Errors
/// The refusal: another protocol, too long, too late, broken off.
pub(super) async fn read(
    mut request: hyper::Request<Incoming>,
    peer: Peer,
    limits: &Limits,
) -> Result<Request, ApiError> {
    versions::agree(request.headers(), CONTROL)?;
    let upgrade =
        request.headers().contains_key(hyper::header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let body = match upgrade.is_some() {
        true => Bytes::new(),
        false => tokio::time::timeout(limits.request_within, read_body(body, limits.body_bytes))
            .await
            .map_err(|_| ApiError::new(Code::InvalidRequest, "the body did not come in time"))??,
    };
    Ok(Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
        peer,
        upgrade,
    })
}

async fn read_body(body: Incoming, at_most: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, at_most).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::new(Code::InvalidRequest, format!("the body is longer than {at_most} bytes")))
        }
        Err(error) => Err(ApiError::new(Code::InvalidRequest, format!("read the body: {error}"))),
    }
}
