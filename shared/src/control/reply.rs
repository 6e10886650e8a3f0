//! A handler's answer, and a refusal, as HTTP. Each names the protocol's versions that are spoken here.

use super::versions;
use crate::error::{ApiError, Code};
use crate::version::CONTROL;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// What a handler answers.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    /// 200 with a JSON body.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when the value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(value)
            .map_err(|error| ApiError::new(Code::InternalError, format!("write the answer: {error}")))?;
        Ok(Self::with_body(StatusCode::OK, "application/json", body))
    }

    /// 200 with `{}`.
    pub fn empty() -> Self {
        Self::with_body(StatusCode::OK, "application/json", "{}")
    }

    /// Any status and body.
    pub fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: body.into() }
    }

    /// 101: the connection is handed over by [`Request::upgrade`](super::Request::upgrade). Give the headers of the new protocol.
    pub fn upgrade(headers: HeaderMap) -> Self {
        Self { status: StatusCode::SWITCHING_PROTOCOLS, headers, body: Bytes::new() }
    }

    /// An error as JSON with its status.
    pub fn error(error: &ApiError) -> Self {
        let status =
            StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(error).unwrap_or_default();
        Self::with_body(status, "application/json", body)
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(versions::VERSIONS, versions::value(CONTROL));
        response
    }
}
