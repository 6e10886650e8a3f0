//! The asking side.

use super::versions;
use crate::error::ApiError;
use crate::process::connect_unix;
use crate::version::CONTROL;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Idle connections kept: one for ordinary calls, one for a call made while another waits.
const IDLE_CONNECTIONS: usize = 2;

/// Bytes of an answer at most (the longest one is a `node` channel with its events).
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The other side refused; nothing was done unless the code says otherwise.
    #[error(transparent)]
    Refused(ApiError),
    /// Nobody listens there; nothing was sent.
    #[error("nobody answers at {socket}: {source}")]
    Unreachable {
        /// The socket.
        socket: String,
        /// What the system said.
        source: io::Error,
    },
    /// No answer in time; it may have been done.
    #[error("{request} on {socket}: no answer within {milliseconds} ms")]
    Timeout {
        /// Method and path.
        request: String,
        /// The socket.
        socket: String,
        /// How long was waited.
        milliseconds: u128,
    },
    /// The connection broke or the answer was not understood; it may have been done.
    #[error("{request} on {socket}: {reason}")]
    Broken {
        /// Method and path.
        request: String,
        /// The socket.
        socket: String,
        /// What happened.
        reason: String,
    },
}

impl CallError {
    /// Whether it is certain that the other side has not seen the request.
    pub fn was_not_sent(&self) -> bool {
        matches!(self, CallError::Unreachable { .. })
    }
}

/// Calls one control socket. Connections are kept and made anew when broken; calls may overlap. Needs a
/// tokio runtime.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Client {
    /// A client of the socket at this path; connects at the first call.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), idle: Mutex::new(Vec::new()) }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Calls a method and reads its answer, all within `timeout`. Dropping the future closes its connection.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<B, R>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        timeout: Duration,
    ) -> Result<R, CallError>
    where
        B: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let name = format!("{method} {path}");
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| self.broken(&name, error))?,
            None => Vec::new(),
        };
        self.send(method, path, Bytes::from(bytes), timeout).await
    }

    /// [`Client::call`] with a body that is no JSON.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send<R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<R, CallError> {
        let name = format!("{method} {path}");
        let exchange = self.exchange(&name, method, path, body);
        let (status, answer) = tokio::time::timeout(timeout, exchange).await.map_err(|_| {
            let socket = self.path.display().to_string();
            CallError::Timeout { request: name.clone(), socket, milliseconds: timeout.as_millis() }
        })??;
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|error| self.broken(&name, error));
        }
        match serde_json::from_slice(&answer) {
            Ok(refusal) => Err(CallError::Refused(refusal)),
            Err(_) => Err(self.broken(&name, format!("status {status}"))),
        }
    }

    /// `GET` without a body.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get<R: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Result<R, CallError> {
        self.call::<(), R>(Method::GET, path, None, timeout).await
    }

    /// `POST` with a JSON body.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post<B, R>(&self, path: &str, body: &B, timeout: Duration) -> Result<R, CallError>
    where
        B: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.call(Method::POST, path, Some(body), timeout).await
    }

    /// Connects ahead of the first call, so that it costs one round trip only.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] when nobody listens.
    pub async fn warm(&self) -> Result<(), CallError> {
        if self.idle().iter().any(|sender| !sender.is_closed()) {
            return Ok(());
        }
        let sender = self.connect().await?;
        self.put_back(sender);
        Ok(())
    }

    async fn exchange(
        &self,
        name: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| self.broken(name, error))?;
        request.headers_mut().insert(HOST, hyper::header::HeaderValue::from_static("holdfast"));
        let json = hyper::header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        request.headers_mut().insert(versions::VERSIONS, versions::value(CONTROL));
        loop {
            let kept = self.take_idle();
            let was_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = Limited::new(body, ANSWER_BYTES).collect().await;
                    let body = body.map_err(|error| self.broken(name, error))?;
                    self.put_back(sender);
                    return Ok((head.status, body.to_bytes()));
                }
                // A kept connection had ended before anything was written: try the next, at last a new one.
                Err(mut failed) if was_kept && failed.message().is_some() => {
                    request = failed.take_message().ok_or_else(|| self.broken(name, "lost request"))?;
                }
                Err(failed) => return Err(self.broken(name, failed.into_error())),
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, CallError> {
        let unreachable = |source| CallError::Unreachable { socket: self.path.display().to_string(), source };
        let stream = connect_unix(&self.path).map_err(unreachable)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| unreachable(io::Error::other(error)))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "control connection");
            }
        });
        Ok(sender)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle();
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn put_back(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle();
        if idle.len() < IDLE_CONNECTIONS && !sender.is_closed() {
            idle.push(sender);
        }
    }

    fn broken(&self, name: &str, reason: impl std::fmt::Display) -> CallError {
        CallError::Broken {
            request: name.to_owned(),
            socket: self.path.display().to_string(),
            reason: reason.to_string(),
        }
    }
}
